//! Waits until a typed text appears where the program reads and the screen is at rest; takes the text back if
//! it does not appear.

use std::time::{Duration, Instant};

use super::typist::{EMPTIED, FIRST_POLL, ROWS, Typist, mode, next_poll};
use crate::model::error::{Error, Kind, Result};
use crate::model::screen::{Screen, TypedText};
use crate::sys::clock::Deadline;
use crate::sys::journal;

/// How long a text may take to appear while the screen does not change.
pub(super) const APPEARS_WITHIN: Duration = Duration::from_secs(5);

/// How long a text may take to appear while the screen changes: a long text takes time in a busy program.
const APPEARS_AT_LAST: Duration = Duration::from_secs(60);

/// Bounds for the rest after a text. The screen is at rest after no output for twice the time that the text
/// took to appear: a program that draws slowly also reads slowly.
pub(super) const LEAST_REST: Duration = Duration::from_millis(3);
const LONGEST_REST: Duration = Duration::from_secs(1);

/// The least rest after a fast run of keys. Programs without bracketed paste recognise a paste by its speed,
/// and treat an Enter that follows too soon as a line break (seen up to 120 ms).
pub(super) const REST_AFTER_KEYS: Duration = Duration::from_millis(250);

/// The longest wait for a screen that does not come to rest, for instance because of a spinner.
pub(super) const RESTLESS: Duration = Duration::from_millis(1500);

/// Print a progress line if typing a text takes longer than this.
pub(super) const SHOW_PROGRESS: Duration = Duration::from_secs(1);

/// A text on the screen.
pub(super) struct Shown {
    pub(super) screen: Screen,
    /// How long the text took to appear: how slow the program is now.
    pub(super) took: Duration,
}

impl Typist<'_> {
    /// Waits until the text is on the screen and the screen is at rest. Returns `None` if the text does not
    /// appear.
    pub(super) fn wait_until_shown(
        &self,
        typed: &TypedText,
        least_rest: impl Fn() -> Duration,
        before: &Screen,
    ) -> Result<Option<Shown>> {
        let (start, limit) = (Instant::now(), Deadline::after(APPEARS_AT_LAST));
        let (mut patience, mut again) = (Deadline::after(APPEARS_WITHIN), FIRST_POLL);
        let mut last: Option<Screen> = None;
        let mut is_told = false;
        loop {
            let wrote = self.output_within(Deadline::after(again).min(patience));
            let elapsed = start.elapsed();
            let screen = self.input.read_screen()?;
            self.check_takes_keys(&screen, "Enter was not pressed after the text")?;
            if typed.shows(before, &screen) {
                let rest = least_rest().max(rest_for(elapsed));
                let screen = self.wait_until_at_rest(typed, rest, before, screen)?;
                return Ok(Some(Shown { screen, took: elapsed }));
            }
            if elapsed > SHOW_PROGRESS && !is_told {
                is_told = true;
                journal::progress!("waiting for the program of {} to show the text", self.id);
            }
            if last.as_ref() != Some(&screen) || mode(&screen).unread > 0 {
                patience = Deadline::after(APPEARS_WITHIN).min(limit);
            } else if patience.passed() {
                return Ok(None);
            }
            if limit.passed() {
                return Ok(None);
            }
            last = Some(screen);
            again = next_poll(again, wrote);
        }
    }

    /// Waits until the program has printed nothing for `rest`. Returns the last screen that shows the text.
    pub(super) fn wait_until_at_rest(
        &self,
        typed: &TypedText,
        rest: Duration,
        before: &Screen,
        mut screen: Screen,
    ) -> Result<Screen> {
        let deadline = Deadline::after(RESTLESS.max(rest));
        while self.output_within(Deadline::after(rest)) && !deadline.passed() {
            let now = self.input.read_screen()?;
            self.check_takes_keys(&now, "Enter was not pressed after the text")?;
            if typed.shows(before, &now) {
                screen = now;
            }
        }
        Ok(screen)
    }

    /// Takes the typed text back if that is safe, and returns the error that says so. Only the kernel's line
    /// editor is safe: a program that reads single keys may give any key another meaning.
    pub(super) fn take_back(&self, before: &Screen, what: &str) -> Error {
        let Ok(screen) = self.input.read_screen() else { return self.ended_error() };
        let mode = mode(&screen);
        if mode.unread > 0 {
            return Error::new(
                Kind::Deadline,
                format!(
                    "the program of {} has not read the text yet; Enter was not pressed{}",
                    self.id,
                    screen.last_rows(ROWS)
                ),
            )
            .hint(format!("the program may still read it: 'forge capture {}' shows the screen", self.id));
        }
        let is_back = mode.canonical && self.input.byte(mode.kill).is_ok() && {
            let now = self.changed_since(&screen, EMPTIED);
            now.is_ok_and(|now| now.before_cursor() == before.before_cursor())
        };
        self.not_shown_error(&if is_back { format!("{what}, and was taken back") } else { what.to_owned() })
    }

    pub(super) fn not_shown_error(&self, what: &str) -> Error {
        let rows = self.input.read_screen().map(|screen| screen.last_rows(ROWS)).unwrap_or_default();
        Error::new(Kind::NotShown, format!("{what}; Enter was not pressed in {}{rows}", self.id))
            .hint("'--key' presses a single key; '--blind' types to a program that shows nothing")
    }
}

/// How long the program must print nothing for the screen to be at rest, if the text took `appeared` to
/// appear.
fn rest_for(appeared: Duration) -> Duration {
    (appeared * 2).clamp(LEAST_REST, LONGEST_REST)
}
