//! A text appears where the program reads, and comes to rest; or it does not, and is taken back.

use std::time::{Duration, Instant};

use super::text::EMPTIED;
use super::{AGAIN, ROWS, Typist, mode};
use crate::model::error::{Error, Kind, Result};
use crate::model::screen::{Screen, TypedText};
use crate::sys::clock::Deadline;

/// How long a text may take to appear while nothing changes, and altogether. A long one into a busy program
/// takes its time.
pub(super) const APPEARS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// The screen is at rest when nothing was printed for twice the time that the text took to appear, within
/// these bounds: a program that draws slowly reads slowly.
pub(super) const REST: (Duration, Duration) = (Duration::from_millis(3), Duration::from_secs(1));

/// The same behind a fast run of keys. Programs without bracketed paste tell a paste from a person by its
/// speed, and take an Enter right behind it for a line break (120 ms were seen).
pub(super) const REST_AFTER_KEYS: Duration = Duration::from_millis(250);

/// A screen that does not come to rest, as one with a spinner, is waited for no longer than that.
pub(super) const RESTLESS: Duration = Duration::from_millis(1500);

impl Typist<'_> {
    /// Waits until the text is on the screen, and the screen at rest. `None`: it does not appear.
    pub(super) fn appears(
        &self,
        typed: &TypedText,
        least_rest: impl Fn() -> Duration,
        before: &Screen,
    ) -> Result<Option<Screen>> {
        let (start, limit) = (Instant::now(), Deadline::after(APPEARS.1));
        let (mut patience, mut again) = (Deadline::after(APPEARS.0), AGAIN.0);
        let mut last: Option<Screen> = None;
        loop {
            let wrote = self.output_within(Deadline::after(again).min(patience));
            let elapsed = start.elapsed();
            let look = self.input.look()?;
            self.check_takes_keys(&look, "Enter was not pressed behind the text")?;
            if typed.shows(before, &look) {
                let rest = least_rest().max(rest_for(elapsed));
                return self.at_rest(typed, rest, before, look).map(Some);
            }
            if last.as_ref() != Some(&look) || mode(&look).unread > 0 {
                patience = Deadline::after(APPEARS.0).min(limit);
            } else if patience.passed() {
                return Ok(None);
            }
            if limit.passed() {
                return Ok(None);
            }
            last = Some(look);
            again = if wrote { AGAIN.0 } else { AGAIN.1.min(again * 2) };
        }
    }

    /// Waits until nothing is printed any more.
    pub(super) fn at_rest(
        &self,
        typed: &TypedText,
        rest: Duration,
        before: &Screen,
        mut look: Screen,
    ) -> Result<Screen> {
        let deadline = Deadline::after(RESTLESS.max(rest));
        while self.output_within(Deadline::after(rest)) && !deadline.passed() {
            let now = self.input.look()?;
            self.check_takes_keys(&now, "Enter was not pressed behind the text")?;
            if typed.shows(before, &now) {
                look = now;
            }
        }
        Ok(look)
    }

    /// Takes back what was typed where that is safe, and says what was done. The kernel's own line editor is safe;
    /// a program that reads single keys may take any key for something else.
    pub(super) fn taken_back(&self, before: &Screen, what: &str) -> Error {
        let Ok(look) = self.input.look() else { return self.ended() };
        let mode = mode(&look);
        if mode.unread > 0 {
            return Error::new(
                Kind::Deadline,
                format!(
                    "the program of {} has not read the text yet; Enter was not pressed{}",
                    self.id,
                    look.last_rows(ROWS)
                ),
            )
            .hint(format!("it may still read it: 'forge capture {}' shows the screen", self.id));
        }
        let is_back = mode.canonical && self.input.byte(mode.kill).is_ok() && {
            let now = self.changed_since(&look, EMPTIED);
            now.is_ok_and(|now| now.before_cursor() == before.before_cursor())
        };
        self.not_shown(&if is_back { format!("{what}, and was taken back") } else { what.to_owned() })
    }

    pub(super) fn not_shown(&self, what: &str) -> Error {
        let rows = self.input.look().map(|look| look.last_rows(ROWS)).unwrap_or_default();
        Error::new(Kind::NotShown, format!("{what}; Enter was not pressed in {}{rows}", self.id))
            .hint("'--key' presses a single key; '--blind' types to a program that shows nothing")
    }
}

/// How long nothing may be printed before the screen is at rest, where the text took that long to appear.
fn rest_for(appeared: Duration) -> Duration {
    (appeared * 2).clamp(REST.0, REST.1)
}
