//! A session as it is found on the machine, and what its state is.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::name::SessionId;

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
}

impl End {
    /// Whether systemd would call it a clean end: status 0, or a signal that asks to end
    /// (systemd.service(5), `SuccessExitStatus=`).
    pub fn is_clean(&self) -> bool {
        const ASKING: [i32; 4] = [1, 2, 13, 15]; // HUP, INT, PIPE, TERM
        match (self.status, self.signal) {
            (Some(status), _) => status == 0,
            (None, Some(signal)) => ASKING.contains(&signal),
            (None, None) => false,
        }
    }

    /// The exit status that a shell would give: a signal is 128 and its number.
    pub fn shell_status(&self) -> u8 {
        let status = self.status.or(self.signal.map(|signal| 128 + signal)).unwrap_or(125);
        u8::try_from(status & 0xff).unwrap_or(125)
    }

    /// In words: `exit status 3`, `signal 9 (SIGKILL)`.
    pub fn words(&self) -> String {
        match (self.status, self.signal) {
            (Some(status), _) => format!("exit status {status}"),
            (None, Some(signal)) => match signal_name(signal) {
                Some(name) => format!("signal {signal} ({name})"),
                None => format!("signal {signal}"),
            },
            (None, None) => "an unknown result".to_owned(),
        }
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

/// What the socket of a live server says when asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It answered.
    Answers,
    /// It accepts and does not answer.
    Silent,
    /// Nobody listens.
    Refused,
    /// There is no socket.
    Missing,
}

/// What was seen of a session, for [`classify`].
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// `ActiveState=` of the scope, `inactive` where there is none.
    pub scope: Active,
    /// `ActiveState=` of the slice.
    pub slice: Active,
    /// `frozen` in the slice's `cgroup.events`.
    pub frozen: bool,
    /// Whether the spawn came to its end.
    pub up: bool,
    /// Whether the spawn is still under way.
    pub spawning: bool,
    /// Whether the server's process lives.
    pub server_alive: bool,
    /// Whether the program's process lives.
    pub program_alive: bool,
    /// What the server says.
    pub answer: Answer,
}

/// `ActiveState=` of a unit, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Active {
    /// active, reloading
    Active,
    /// activating
    Activating,
    /// deactivating
    Deactivating,
    /// failed
    Failed,
    /// inactive, or not loaded
    Inactive,
}

impl Active {
    /// Reads the manager's word.
    pub fn from_word(word: &str) -> Self {
        match word {
            "active" | "reloading" | "refreshing" => Self::Active,
            "activating" => Self::Activating,
            "deactivating" => Self::Deactivating,
            "failed" => Self::Failed,
            _ => Self::Inactive,
        }
    }
}

/// The state of a session, from what was seen of it. When in doubt it is alive: `dead` needs
/// the program's process or the server's to be gone, and a missing socket alone changes nothing.
pub fn classify(facts: Facts) -> State {
    if facts.scope == Active::Deactivating || facts.slice == Active::Deactivating {
        return State::Stopping;
    }
    if facts.scope == Active::Failed {
        return State::Failed;
    }
    if facts.frozen {
        return State::Frozen;
    }
    if facts.spawning && !facts.up {
        return State::Starting;
    }
    if facts.scope == Active::Inactive || !facts.up || !facts.server_alive || !facts.program_alive {
        return State::Dead;
    }
    if facts.answer == Answer::Silent {
        return State::Wedged;
    }
    State::Running
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
    /// Seconds since something was typed or printed in its pane; the kernel counts them in
    /// steps of 8.
    pub idle_s: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEALTHY: Facts = Facts {
        scope: Active::Active,
        slice: Active::Active,
        frozen: false,
        up: true,
        spawning: false,
        server_alive: true,
        program_alive: true,
        answer: Answer::Answers,
    };

    #[test]
    fn each_state_has_its_facts() {
        let table = [
            (HEALTHY, State::Running),
            (Facts { answer: Answer::Silent, ..HEALTHY }, State::Wedged),
            (Facts { answer: Answer::Missing, ..HEALTHY }, State::Running),
            (Facts { program_alive: false, ..HEALTHY }, State::Dead),
            (Facts { server_alive: false, answer: Answer::Refused, ..HEALTHY }, State::Dead),
            (Facts { scope: Active::Inactive, ..HEALTHY }, State::Dead),
            (Facts { scope: Active::Deactivating, ..HEALTHY }, State::Stopping),
            (Facts { slice: Active::Deactivating, ..HEALTHY }, State::Stopping),
            (Facts { scope: Active::Failed, ..HEALTHY }, State::Failed),
            (Facts { frozen: true, answer: Answer::Silent, ..HEALTHY }, State::Frozen),
            (Facts { up: false, spawning: true, program_alive: false, ..HEALTHY }, State::Starting),
            (Facts { up: false, ..HEALTHY }, State::Dead),
        ];
        for (facts, state) in table {
            assert_eq!(classify(facts), state, "{facts:?}");
        }
    }

    #[test]
    fn ends_are_told_as_a_shell_tells_them() {
        let end = |status, signal| End { since_us: 0, at_us: 0, status, signal, over: true };
        assert_eq!(end(Some(3), None).shell_status(), 3);
        assert_eq!(end(None, Some(9)).shell_status(), 137);
        assert_eq!(end(None, None).shell_status(), 125);
        assert_eq!(end(None, Some(9)).words(), "signal 9 (SIGKILL)");
        assert!(end(None, Some(15)).is_clean() && !end(Some(1), None).is_clean());
    }
}
