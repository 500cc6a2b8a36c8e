//! The end of a session's program.

use serde::{Deserialize, Serialize};

/// The end of one run of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The run that ended: `Mark::since_us`.
    pub since_us: u64,
    /// When the program ended, in microseconds since 1970.
    pub at_us: u64,
    pub status: Option<i32>,
    /// The number of the signal that ended the program.
    pub signal: Option<i32>,
    /// Whether the session ends with its program. It does not if it has other panes, or if the user's tmux
    /// configuration keeps dead panes.
    #[serde(default)]
    pub over: bool,
    /// The cause, if it says more than status and signal do.
    #[serde(default)]
    pub cause: Option<EndCause>,
}

/// A cause from outside that ended a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndCause {
    /// The kernel killed the program because memory ran out.
    OutOfMemory,
    /// The tmux server ended.
    ServerEnded,
    /// The supervisor ended it because its tmux server did not answer until the deadline.
    ServerWedged,
    /// The supervisor ended it because it gave no sign of life until the deadline.
    Stuck,
}

impl End {
    /// The end of a run whose result is unknown, noticed at `at_us` (microseconds since 1970).
    pub fn unknown(since_us: u64, at_us: u64, cause: Option<EndCause>) -> Self {
        Self { since_us, at_us, status: None, signal: None, over: true, cause }
    }

    /// Whether systemd would call the end clean: status 0, or a signal that asks a program to end
    /// (systemd.service(5), `SuccessExitStatus=`). An end with a cause from outside is never clean.
    pub fn is_clean(&self) -> bool {
        const ASKING: [i32; 4] = [1, 2, 13, 15]; // HUP, INT, PIPE, TERM
        match (self.cause, self.status, self.signal) {
            (None, Some(status), _) => status == 0,
            (None, None, Some(signal)) => ASKING.contains(&signal),
            _ => false,
        }
    }

    /// The exit status as a shell gives it: 128 plus the number for a signal, 125 if unknown.
    pub fn shell_status(&self) -> u8 {
        let status = self.status.or(self.signal.map(|signal| 128 + signal)).unwrap_or(125);
        u8::try_from(status & 0xff).unwrap_or(125)
    }

    /// `exit status 3`, `signal 9 (SIGKILL)`.
    pub fn words(&self) -> String {
        match self.cause {
            Some(EndCause::OutOfMemory) => return "an out-of-memory kill".to_owned(),
            Some(EndCause::ServerEnded) => return "the end of its tmux server".to_owned(),
            Some(EndCause::ServerWedged) => return "a tmux server that did not answer".to_owned(),
            Some(EndCause::Stuck) => return "no sign of life".to_owned(),
            None => {}
        }
        match (self.status, self.signal) {
            (Some(status), _) => format!("exit status {status}"),
            (None, Some(signal)) => signal_words(signal),
            (None, None) => "an unknown result".to_owned(),
        }
    }
}

/// `signal 9 (SIGKILL)`
pub(in crate::model) fn signal_words(signal: i32) -> String {
    match signal_name(signal) {
        Some(name) => format!("signal {signal} ({name})"),
        None => format!("signal {signal}"),
    }
}

/// The names of the signals that end programs in practice (signal(7), x86 and ARM numbers).
fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_has_the_status_that_a_shell_gives() {
        let end = |status, signal| End { status, signal, ..End::unknown(0, 0, None) };
        assert_eq!(end(Some(3), None).shell_status(), 3);
        assert_eq!(end(None, Some(9)).shell_status(), 137);
        assert_eq!(end(None, None).shell_status(), 125);
        assert_eq!(end(None, Some(9)).words(), "signal 9 (SIGKILL)");
        assert!(end(None, Some(15)).is_clean() && !end(Some(1), None).is_clean());
        let oom = End { cause: Some(EndCause::OutOfMemory), ..end(None, Some(15)) };
        assert!(!oom.is_clean() && oom.words() == "an out-of-memory kill");
    }
}
