//! Presses Enter after a text that is in the input line, and finds out whether the program took the text.

use std::time::Duration;

use super::appears::{RESTLESS, Shown};
use super::typist::{FIRST_POLL, Typist, UNSTEADY, mode, next_poll};
use crate::model::error::{Kind, Result};
use crate::model::screen::typing::{Sent, TextFate};
use crate::model::screen::{After, Screen, TypedText};
use crate::sys::clock::{Deadline, pause};

/// The rest before forge presses Enter a second time: the first Enter also counts as part of the fast run of
/// keys.
const REST_BEFORE_AGAIN: Duration = Duration::from_secs(1);

/// How long the text may stay in the input line while the program does not read the Enter.
const LEAVES_UNREAD: Duration = Duration::from_secs(15);

/// How long the text may stay in the input line after the program has read the Enter: in a fast program.
const LEAVES_AFTER_READ: Duration = Duration::from_secs(3);

/// The same as a multiple of the time that the text took to appear. (Measured: Codex 0.171.0 on an overloaded
/// machine drew the input box without the text more than 3 s after it had read the Enter.)
const LEAVES_AFTER_SHOWN: u32 = 8;

/// How long an input box may be covered, for instance while a program redraws its screen.
const MAY_BE_COVERED: Duration = Duration::from_millis(700);

/// How long a text must be gone to count as gone. A program may draw its screen in several steps.
const STAYS_GONE: Duration = Duration::from_millis(10);

impl Typist<'_> {
    /// Presses Enter after a text in the input line, and sets the text's fate in `sent`. If the program
    /// treated the first Enter as a line break, presses Enter a second time.
    pub(super) fn press_enter(&self, typed: &TypedText, shown: Shown, sent: &mut Sent) -> Result<Screen> {
        const MOST: u32 = 2;
        let mut screen = shown.screen;
        loop {
            let pressed = self.press_enter_once(typed, screen)?;
            sent.attempts += 1;
            let (after, now) = self.wait_for_effect(typed, &pressed, shown.took)?;
            let Some(now) = now else {
                // The text has ended the session.
                sent.fate = TextFate::Submitted;
                return Ok(pressed);
            };
            if after == After::Broken && sent.attempts < MOST {
                screen = self.rest_after_line_break(&pressed, typed, now)?;
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

    /// Presses Enter while the text is where forge saw it. Returns the screen at that moment.
    ///
    /// # Errors
    /// [`Kind::NotShown`] if the text leaves its place, or the screen keeps changing for 3 seconds.
    fn press_enter_once(&self, typed: &TypedText, mut screen: Screen) -> Result<Screen> {
        let (deadline, first) = (Deadline::after(UNSTEADY), screen.clone());
        loop {
            self.check_takes_keys(&screen, "Enter was not pressed after the text")?;
            self.discard_output();
            if self.input.enter_if(&screen, typed.token(&screen))? {
                return Ok(screen);
            }
            let now = self.input.read_screen()?;
            if typed.stands_still(&first, &now) {
                screen = now;
            } else {
                // The program may be about to draw the text again.
                pause(FIRST_POLL);
            }
            if deadline.passed() {
                return Err(
                    self.take_back(&first, "the text was typed, and then left its place on the screen")
                );
            }
        }
    }

    /// Waits until the program has drawn the line break and the screen is at rest, before a second Enter.
    fn rest_after_line_break(
        &self,
        pressed: &Screen,
        typed: &TypedText,
        mut screen: Screen,
    ) -> Result<Screen> {
        let deadline = Deadline::after(RESTLESS.max(REST_BEFORE_AGAIN));
        while self.output_within(Deadline::after(REST_BEFORE_AGAIN)) && !deadline.passed() {
            let now = self.input.read_screen()?;
            self.check_takes_keys(&now, "Enter was not pressed a second time")?;
            if typed.after(pressed, &now) == After::Broken {
                screen = now;
            }
        }
        Ok(screen)
    }

    /// Waits for the effect of Enter on the text. Two equal readings are sure, and so is a cursor below its old
    /// place; otherwise the program must print nothing for [`STAYS_GONE`]. `appeared` is how long the text took to
    /// appear. Also returns the screen; `None` if the session has ended.
    fn wait_for_effect(
        &self,
        typed: &TypedText,
        pressed: &Screen,
        appeared: Duration,
    ) -> Result<(After, Option<Screen>)> {
        let read = (appeared * LEAVES_AFTER_SHOWN).clamp(LEAVES_AFTER_READ, LEAVES_UNREAD);
        let (soon, late) = (Deadline::after(read), Deadline::after(LEAVES_UNREAD));
        let mut covered = None;
        let was_canonical = mode(pressed).canonical;
        let (mut again, mut last) = (FIRST_POLL, None);
        loop {
            let wrote = self.output_within(Deadline::after(again));
            let screen = match self.input.read_screen() {
                Ok(screen) if !screen.dead => screen,
                Err(error) if error.kind == Kind::Deadline => return Err(error),
                _ => return Ok((After::Left, None)),
            };
            let after = match typed.after(pressed, &screen) {
                // The kernel has passed the line to the program.
                After::Stands | After::Broken if was_canonical && screen != *pressed => After::Left,
                after => after,
            };
            let is_sure = last == Some(after) || screen.is_below(pressed);
            if [After::Left, After::Broken].contains(&after)
                && (is_sure || !self.output_within(Deadline::after(STAYS_GONE)))
            {
                return Ok((after, Some(screen)));
            }
            let deadline = match after {
                _ if mode(&screen).unread > 0 => late,
                After::Covered => *covered.get_or_insert_with(|| Deadline::after(MAY_BE_COVERED)),
                _ => soon,
            };
            if deadline.passed() {
                return Ok((after, Some(screen)));
            }
            last = Some(after);
            again = next_poll(again, wrote);
        }
    }
}
