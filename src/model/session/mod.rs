//! A session as it is found on the machine, and how its program ended.

pub mod activity;
pub mod command;
pub mod condition;
pub mod environment;
pub mod limits;
pub mod name;
pub mod restore;
pub mod resume;
pub mod spec;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use activity::{Activity, Source};
use name::SessionId;

use super::process::ProcessId;

/// What forge notes on the cgroup of a session's slice while it lives, as an extended
/// attribute: it cannot outlive the session, so it is never stale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The tmux server.
    pub server_pid: u32,
    /// When the server started, in clock ticks since boot (field 22 of `proc_pid_stat(5)`): with
    /// the pid it names one process for ever.
    pub server_start: u64,
    /// The pane that runs the session's program, as tmux names it: `%0`.
    pub pane: String,
    /// The session's program.
    pub pane_pid: u32,
    /// When the program's process started, as for the server.
    pub pane_start: u64,
    /// The socket.
    pub socket: PathBuf,
    /// When the session started, in microseconds since 1970.
    pub since_us: u64,
    /// Whether the spawn came to its end. A session without it whose spawn is gone was
    /// abandoned half-way.
    pub up: bool,
}

impl Mark {
    /// The tmux server's process.
    pub fn server(&self) -> ProcessId {
        ProcessId { pid: self.server_pid, start: self.server_start }
    }

    /// The process of the session's program.
    pub fn program(&self) -> ProcessId {
        ProcessId { pid: self.pane_pid, start: self.pane_start }
    }
}

/// How a session's program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Which run of the session it was: [`Mark::since_us`].
    pub since_us: u64,
    /// When it ended, in microseconds since 1970.
    pub at_us: u64,
    /// The exit status, where it exited.
    pub status: Option<i32>,
    /// The signal's number, where one ended it.
    pub signal: Option<i32>,
    /// Whether the session goes with its program: not where other panes were opened in it, or
    /// the user's configuration keeps dead panes.
    #[serde(default)]
    pub over: bool,
    /// What ended it, where that is more than status and signal say.
    #[serde(default)]
    pub cause: Option<EndCause>,
}

/// What ended a program from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndCause {
    /// The kernel, for want of memory.
    OutOfMemory,
    /// Its tmux server ended.
    ServerEnded,
    /// Its supervisor, after the deadline for a server that does not answer.
    ServerWedged,
    /// Its supervisor, after the deadline for a session that does nothing.
    Stuck,
}

impl End {
    /// An end that was noticed at that time (in microseconds since 1970), of a run that nothing
    /// tells the result of.
    pub fn unknown(since_us: u64, at_us: u64, cause: Option<EndCause>) -> Self {
        Self { since_us, at_us, status: None, signal: None, over: true, cause }
    }

    /// Whether systemd would call it a clean end: status 0, or a signal that asks to end
    /// (systemd.service(5), `SuccessExitStatus=`). Never one that came from outside.
    pub fn is_clean(&self) -> bool {
        const ASKING: [i32; 4] = [1, 2, 13, 15]; // HUP, INT, PIPE, TERM
        match (self.cause, self.status, self.signal) {
            (None, Some(status), _) => status == 0,
            (None, None, Some(signal)) => ASKING.contains(&signal),
            _ => false,
        }
    }

    /// The exit status that a shell would give: a signal is 128 and its number.
    pub fn shell_status(&self) -> u8 {
        let status = self.status.or(self.signal.map(|signal| 128 + signal)).unwrap_or(125);
        u8::try_from(status & 0xff).unwrap_or(125)
    }

    /// In words: `exit status 3`, `signal 9 (SIGKILL)`.
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

/// A signal in words: `signal 9 (SIGKILL)`.
pub(super) fn signal_words(signal: i32) -> String {
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

/// The state of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its spawn is under way.
    Starting,
    /// Server and program are alive.
    Running,
    /// Something of it is left, and its program or its server is not: nobody can reach it.
    Dead,
    /// The server accepts and does not answer.
    Wedged,
    /// It is being ended.
    Stopping,
    /// systemd says that its unit failed.
    Failed,
    /// All its processes are frozen.
    Frozen,
}

impl State {
    /// The word for people and bots.
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Dead => "dead",
            Self::Wedged => "wedged",
            Self::Stopping => "stopping",
            Self::Failed => "failed",
            Self::Frozen => "frozen",
        }
    }
}

/// One session, as `list` and `status` show it. What is not known is null, and the shape stays.
#[derive(Debug, Clone, Serialize)]
pub struct Session {
    /// The id.
    pub session: SessionId,
    /// The state.
    pub state: State,
    /// When it started, RFC 3339 in UTC.
    pub since: Option<String>,
    /// The socket.
    pub socket: PathBuf,
    /// The tmux server.
    pub server_pid: Option<u32>,
    /// The program.
    pub pane_pid: Option<u32>,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Where it was started.
    pub cwd: Option<PathBuf>,
    /// Memory of the whole slice; null where the kernel does not count it.
    pub memory_bytes: Option<u64>,
    /// CPU time of the whole slice, in microseconds.
    pub cpu_usec: Option<u64>,
    /// Processes in the slice.
    pub tasks: u64,
    /// Whether a terminal is attached.
    pub attached: bool,
    /// Whether a supervisor looks after it.
    pub supervised: bool,
    /// What its program does, where it runs.
    pub activity: Activity,
    /// Since when, RFC 3339 in UTC, where a supervisor saw it begin.
    pub activity_since: Option<String>,
    /// Where that is known from.
    pub activity_source: Option<Source>,
    /// What its program asks, by the lines of its screen.
    #[serde(skip)]
    pub question: Option<String>,
    /// Seconds since something was typed or printed in its pane; the kernel counts them in
    /// steps of 8.
    pub idle_s: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_as_a_shell_tells_them() {
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
