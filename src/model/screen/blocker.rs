//! Decides when a question at the start of a program is one that waits for the user.

use std::time::Duration;

use super::prompts::Prompts;

/// How long the question must stand on a screen that does not change. A program may show a log-in dialog or a
/// question for a moment, until it has read its settings; such a screen goes away by itself. The trust questions of
/// Claude Code 2.1.332 and Codex 0.171.0 stand still from the first moment (measured: the start fails 4 s after its
/// begin).
const LASTS: Duration = Duration::from_secs(3);

/// On how many screens in a row the question must stand: a program or a tmux server that does not run for a while
/// on a busy machine changes nothing either.
const LOOKS: u32 = 4;

/// The screen of a starting session on which a pattern keeps the session from being ready.
#[derive(Debug, Default)]
pub struct Blocker(Option<BlockedScreen>);

#[derive(Debug)]
struct BlockedScreen {
    text: String,
    /// The pattern with its key, for a message.
    pattern: String,
    since: Duration,
    looks: u32,
}

impl Blocker {
    /// Adds a screen, captured at that time since the program's start. Returns whether a question waits for the
    /// user: `not_ready` or `asking` has matched for [`LASTS`], and the screen has not changed.
    ///
    /// A program that goes on drawing, such as a log-in that counts down or shows a spinner, may go on by itself.
    pub fn waits_for_user(&mut self, prompts: &Prompts, screen: &str, elapsed: Duration) -> bool {
        let Some(pattern) = prompts.blocking(screen) else {
            self.0 = None;
            return false;
        };
        match &mut self.0 {
            Some(blocked) if blocked.text == screen => blocked.looks += 1,
            other => {
                let (text, pattern) = (screen.to_owned(), pattern.to_string());
                *other = Some(BlockedScreen { text, pattern, since: elapsed, looks: 1 });
            }
        }
        let blocked = self.0.as_ref();
        blocked
            .is_some_and(|blocked| blocked.looks >= LOOKS && elapsed.saturating_sub(blocked.since) >= LASTS)
    }

    /// The pattern that matched the last screen, with its key.
    pub fn pattern(&self) -> Option<&str> {
        self.0.as_ref().map(|blocked| blocked.pattern.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::screen::prompts::{PatternKey, ScreenPattern};

    const TRUST: &str = "Do you trust this folder?\n> 1. Yes";

    fn waits(screens: &[(&str, u64)]) -> (bool, Option<String>) {
        let of = |key, text| ScreenPattern::parse(key, text).ok();
        let prompts = Prompts {
            ready: of(PatternKey::Ready, "^> "),
            not_ready: of(PatternKey::NotReady, "Do you trust"),
            asking: of(PatternKey::Asking, r"\[y/N\]"),
            working: None,
        };
        let mut blocker = Blocker::default();
        let waits = screens.iter().fold(false, |_, (screen, ms)| {
            blocker.waits_for_user(&prompts, screen, Duration::from_millis(*ms))
        });
        (waits, blocker.pattern().map(str::to_owned))
    }

    #[test]
    fn a_question_that_stands_still_waits_for_the_user() {
        let stands: Vec<_> = [0, 50, 150, 350, 750, 1550, 3150].map(|ms| (TRUST, ms)).into();
        assert_eq!(waits(&stands), (true, Some("'Do you trust' (not_ready)".to_owned())));
        assert!(!waits(&stands[..6]).0, "not for long enough");
        let asks: Vec<_> = [0, 1000, 2000, 3000].map(|ms| ("Update? [y/N]", ms)).into();
        assert_eq!(waits(&asks), (true, Some(r"'\[y/N\]' (asking)".to_owned())));
    }

    #[test]
    fn a_question_that_goes_away_does_not() {
        let (once, later) = ((TRUST, 0), (TRUST, 4000));
        assert!(!waits(&[once, ("", 1000), ("> ", 2000), ("", 3000), later]).0);
        assert!(!waits(&[once, later]).0, "nobody looked in between");
        let counts = ["Do you trust 3", "Do you trust 2", "Do you trust 1", "Do you trust 0"];
        let counts: Vec<_> = counts.into_iter().zip([0, 1500, 3000, 4500]).collect();
        assert!(!waits(&counts).0, "it counts down");
        assert_eq!(waits(&[("> ", 0)]), (false, None));
    }
}
