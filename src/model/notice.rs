//! Notices: messages to people about a boot, a failure, a disturbance, a question or the end of a turn.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::health::Probe;
use crate::model::session::name::SessionId;
use crate::model::session::restore::Restored;
use crate::model::session::resume::resumed_words;

/// The subject of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoticeKind {
    /// A boot.
    Boot,
    /// A unit that failed and is not restarted.
    Failure,
    /// A disturbance that `forge-guard-watch.service` saw.
    Disturbed,
    /// A question of a session's program.
    Asking,
    /// The end of a turn: `forge report done`.
    Done,
    /// A session's program that ended, and not cleanly. forge may start it again.
    Crashed,
    /// `forge notify test`.
    Test,
}

impl NoticeKind {
    /// The kinds that are sent where the configuration does not say which.
    pub const USUAL: [Self; 4] = [Self::Boot, Self::Failure, Self::Disturbed, Self::Asking];

    pub fn word(self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::Failure => "failure",
            Self::Disturbed => "disturbed",
            Self::Asking => "asking",
            Self::Done => "done",
            Self::Crashed => "crashed",
            Self::Test => "test",
        }
    }
}

/// The text that a hook gave for a notice, in a file until the notice is sent: it may be private, so neither a
/// command line nor the attributes of a control group may hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeText {
    /// [`ActivityReport::since`](crate::model::session::activity::ActivityReport::since) of the report.
    pub since: u64,
    pub text: String,
}

/// A message. Commands and webhooks get it as JSON, Telegram gets its text.
#[derive(Debug, Clone, Serialize)]
pub struct Notice {
    pub kind: NoticeKind,
    pub host: String,
    pub user: String,
    /// RFC 3339 in UTC.
    pub at: Option<String>,
    /// The message for people.
    pub text: String,
    pub probe: Option<Probe>,
    /// The restore after the boot.
    pub restore: Option<Restored>,
    /// The unit that failed.
    pub unit: Option<String>,
    /// The session whose program asks its user something, is done or crashed.
    pub session: Option<SessionId>,
}

/// The results of a restore, a line each, and their counts.
pub fn restore_lines(restored: &Restored) -> Vec<String> {
    let mut lines = Vec::new();
    for again in &restored.restored {
        let resumed = resumed_words(again.resume_id.as_deref(), again.fresh.as_deref());
        lines.push(format!("restored {}{resumed}", again.session));
    }
    for failed in &restored.failed {
        lines.push(format!("not restored: {}: {}", failed.session, failed.error));
    }
    lines.push(format!("{} restored, {} failed", restored.restored.len(), restored.failed.len()));
    lines
}

/// The longest text of one Telegram message, in UTF-16 units (Bot API, sendMessage).
pub const TELEGRAM_LIMIT: usize = 4096;

/// Splits a text into messages, at the ends of lines if possible.
pub fn split(text: &str, limit: usize) -> Vec<String> {
    let length = |text: &str| text.encode_utf16().count();
    let mut messages = vec![String::new()];
    for line in text.split_inclusive('\n') {
        let left = limit - messages.last().map_or(0, |last| length(last));
        if length(line) <= left {
            messages.last_mut().into_iter().for_each(|last| last.push_str(line));
        } else if length(line) <= limit {
            messages.push(line.to_owned());
        } else {
            for c in line.chars() {
                if messages.last().is_none_or(|last| length(last) + c.len_utf16() > limit) {
                    messages.push(String::new());
                }
                messages.last_mut().into_iter().for_each(|last| last.push(c));
            }
        }
    }
    messages.retain(|message| !message.trim().is_empty());
    messages
}

/// The pauses between tries while a network comes up: two minutes altogether.
pub fn pauses() -> impl Iterator<Item = Duration> {
    [1, 2, 4, 8, 15, 30, 30, 30].into_iter().map(Duration::from_secs)
}

/// Why one try to deliver a message failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Another try may help: no network, no answer, a busy server.
    ForNow(String),
    /// Another try would fail too: a wrong token, an address that is not valid.
    ForGood(String),
}

/// Whether an HTTP status is worth another try.
pub fn is_for_now(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_split_at_lines_without_loss() {
        let text: String = (0..1000).fold(String::new(), |text, n| format!("{text}line {n} 🦀\n"));
        let messages = split(&text, TELEGRAM_LIMIT);
        assert!(messages.len() > 1);
        assert!(messages.iter().all(|message| message.encode_utf16().count() <= TELEGRAM_LIMIT));
        assert!(messages.iter().all(|message| message.starts_with("line ") && message.ends_with('\n')));
        assert_eq!(messages.concat(), text);
    }

    #[test]
    fn a_line_that_is_too_long_is_split_between_characters() {
        let line = "🦀".repeat(5000);
        let messages = split(&line, TELEGRAM_LIMIT);
        assert_eq!(messages.len(), 3);
        assert_eq!(messages.concat(), line);
        assert_eq!(split("short", 10), ["short"]);
        assert!(split("", 10).is_empty() && split("\n\n", 10).is_empty());
    }

    #[test]
    fn retries_stop_after_two_minutes() {
        assert_eq!(pauses().sum::<Duration>(), Duration::from_secs(120));
        assert!(is_for_now(503) && is_for_now(429) && !is_for_now(401) && !is_for_now(404));
    }
}
