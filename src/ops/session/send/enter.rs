//! Enter behind a text that stands there, and what becomes of the text.

use std::time::Duration;

use super::appears::RESTLESS;
use super::{AGAIN, Typist, UNSTEADY, mode};
use crate::model::error::{Kind, Result};
use crate::model::screen::typing::{Sent, TextFate};
use crate::model::screen::{After, Screen, TypedText};
use crate::sys::clock::{Deadline, pause};

/// The rest before Enter is pressed once more: the first one counts as a key of the fast run, too.
const REST_BEFORE_AGAIN: Duration = Duration::from_secs(1);

/// How long the text may stand in the input line after Enter: when the program has read it, and when it has
/// not.
const LEAVES: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(15));

/// How long an input box may be covered, as while a program draws its screen anew.
const COVERED: Duration = Duration::from_millis(700);

/// How long a text that has gone must be gone. A screen is not always drawn in one go.
const GONE: Duration = Duration::from_millis(10);

impl Typist<'_> {
    /// Presses Enter behind a text that stands there, once more where the first was taken for a line break, and
    /// looks what becomes of the text.
    pub(super) fn entered(&self, typed: &TypedText, mut look: Screen, sent: &mut Sent) -> Result<Screen> {
        const MOST: u32 = 2;
        loop {
            let pressed = self.enter(typed, look)?;
            sent.attempts += 1;
            let (after, now) = self.left(typed, &pressed)?;
            let Some(now) = now else {
                // The text ended the session.
                sent.fate = TextFate::Submitted;
                return Ok(pressed);
            };
            if after == After::Broken && sent.attempts < MOST {
                look = self.at_rest_below(&pressed, typed, now)?;
                continue;
            }
            let asks = !self.request.answer && self.question(&now).is_some();
            sent.fate = match after {
                After::Left if !asks => TextFate::Submitted,
                After::Left | After::Covered => TextFate::Unconfirmed,
                After::Stands | After::Broken => TextFate::Typed,
            };
            sent.stands_still = sent.fate == TextFate::Typed;
            return Ok(now);
        }
    }

    /// Presses Enter while the text stands where it was seen; returns the look that it was pressed at.
    fn enter(&self, typed: &TypedText, mut look: Screen) -> Result<Screen> {
        let (deadline, first) = (Deadline::after(UNSTEADY), look.clone());
        loop {
            self.check_takes_keys(&look, "Enter was not pressed behind the text")?;
            self.take_output();
            if self.input.enter_if(&look, typed.token(&look))? {
                return Ok(look);
            }
            let now = self.input.look()?;
            if typed.stands_still(&first, &now) {
                look = now;
            } else {
                // It may be drawn in a moment.
                pause(AGAIN.0);
            }
            if deadline.passed() {
                return Err(
                    self.taken_back(&first, "the text was typed, and then left the place where it stood")
                );
            }
        }
    }

    /// Waits before Enter is pressed once more, and until the line break is drawn.
    fn at_rest_below(&self, pressed: &Screen, typed: &TypedText, mut look: Screen) -> Result<Screen> {
        let deadline = Deadline::after(RESTLESS.max(REST_BEFORE_AGAIN));
        while self.output_within(Deadline::after(REST_BEFORE_AGAIN)) && !deadline.passed() {
            let now = self.input.look()?;
            self.check_takes_keys(&now, "Enter was not pressed once more")?;
            if typed.after(pressed, &now) == After::Broken {
                look = now;
            }
        }
        Ok(look)
    }

    /// What became of the text since Enter was pressed; without a look where the session has ended.
    fn left(&self, typed: &TypedText, pressed: &Screen) -> Result<(After, Option<Screen>)> {
        let (soon, late) = (Deadline::after(LEAVES.0), Deadline::after(LEAVES.1));
        let mut covered = None;
        let was_canonical = mode(pressed).canonical;
        let (mut again, mut last) = (AGAIN.0, None);
        loop {
            let wrote = self.output_within(Deadline::after(again));
            let look = match self.input.look() {
                Ok(look) if !look.dead => look,
                Err(error) if error.kind == Kind::Deadline => return Err(error),
                _ => return Ok((After::Left, None)),
            };
            let after = match typed.after(pressed, &look) {
                // The kernel has passed the line on.
                After::Stands | After::Broken if was_canonical && look != *pressed => After::Left,
                after => after,
            };
            let is_sure = last == Some(after) || look.is_below(pressed);
            if [After::Left, After::Broken].contains(&after)
                && (is_sure || !self.output_within(Deadline::after(GONE)))
            {
                return Ok((after, Some(look)));
            }
            let deadline = match after {
                _ if mode(&look).unread > 0 => late,
                After::Covered => *covered.get_or_insert_with(|| Deadline::after(COVERED)),
                _ => soon,
            };
            if deadline.passed() {
                return Ok((after, Some(look)));
            }
            last = Some(after);
            again = if wrote { AGAIN.0 } else { AGAIN.1.min(again * 2) };
        }
    }
}
