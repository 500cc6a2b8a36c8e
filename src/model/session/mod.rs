//! A session as forge finds it on the machine.

pub mod activity;
pub mod command;
pub mod condition;
pub mod end;
pub mod environment;
pub mod limits;
pub mod name;
pub mod outside;
pub mod restore;
pub mod resume;
pub mod spec;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use activity::{Activity, Source};
pub(super) use end::signal_words;
pub use end::{End, EndCause};
use name::SessionId;
use outside::OutsideProcess;

use super::process::ProcessId;

/// The data that forge stores in an extended attribute of the cgroup of a session's slice. The attribute
/// cannot outlive the session, so it is never stale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub server_pid: u32,
    /// When the server started, in clock ticks since the boot (field 22 of `proc_pid_stat(5)`). Pid and start
    /// time together identify one process of this boot.
    pub server_start: u64,
    /// The pane of the session's program by its tmux name, for example `%0`.
    pub pane: String,
    /// The session's program.
    pub pane_pid: u32,
    /// When the program started, in clock ticks since the boot.
    pub pane_start: u64,
    pub socket: PathBuf,
    /// When the session started, in microseconds since 1970.
    pub since_us: u64,
    /// Whether the spawn finished. If it is false and no spawn is running, the spawn was interrupted.
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// `forge spawn` is still starting it.
    Starting,
    /// The tmux server and the program are alive.
    Running,
    /// Processes or units are left, but the program or the tmux server is not: nobody can reach it.
    Dead,
    /// The tmux server accepts connections and does not answer.
    Wedged,
    /// forge or systemd is stopping it.
    Stopping,
    /// Its unit is in the failed state.
    Failed,
    /// All its processes are frozen.
    Frozen,
}

impl State {
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

/// One session, as `forge list --json` and `forge status --json` print it. The JSON always has all keys; unknown
/// values are null.
#[derive(Debug, Clone, Serialize)]
pub struct Session {
    pub session: SessionId,
    pub state: State,
    /// When the session started, RFC 3339 in UTC.
    pub since: Option<String>,
    pub socket: PathBuf,
    pub server_pid: Option<u32>,
    pub pane_pid: Option<u32>,
    pub command: Vec<String>,
    pub cwd: Option<PathBuf>,
    /// The agent whose profile the session uses.
    pub agent: Option<String>,
    /// The conversation that a restart resumes, as far as forge knows.
    pub resume_id: Option<String>,
    /// The memory of the slice; null if the kernel does not count it.
    pub memory_bytes: Option<u64>,
    /// The CPU time of the slice.
    pub cpu_usec: Option<u64>,
    /// The number of processes in the slice.
    pub tasks: u64,
    /// Whether a terminal is attached.
    pub attached: bool,
    /// Whether a supervisor runs for it.
    pub supervised: bool,
    pub activity: Activity,
    /// When the activity began, RFC 3339 in UTC; null unless a hook reported it or a supervisor saw it begin.
    pub activity_since: Option<String>,
    /// The source of `activity`; null if the activity is unknown.
    pub activity_source: Option<Source>,
    /// The lines of the screen that show the question.
    #[serde(skip)]
    pub question: Option<String>,
    /// Why the session did not start or ended, while its supervisor starts it again or has given up.
    pub failure: Option<String>,
    /// The processes outside the slice that do work for the session. Null in a list, and if the kernel does not
    /// say.
    pub outside: Option<Vec<OutsideProcess>>,
    /// Seconds since the last input or output in the pane; the kernel counts them in steps of 8.
    pub idle_s: Option<u64>,
}
