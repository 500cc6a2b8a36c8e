//! The health of forge and its sessions: the probe's rows and the problems.

mod metrics;
mod problems;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::session::State;
use super::session::activity::Activity;
use super::sweep::{LastSweep, dead_sockets};
use super::time::as_rfc3339;
use super::usage;
use crate::model::session::name::SessionId;
use crate::model::session::restore::Restored;
use problems::problems;

/// Less free disk space than this for forge's files is a problem: 16 MiB.
pub const LITTLE_DISK_SPACE: u64 = 16 << 20;

/// The state of a machine, for [`Probe::of`]. Times are in microseconds since 1970.
#[derive(Debug, Clone, Default)]
pub struct HealthFacts {
    pub now_us: u64,
    /// Sockets that no server listens on.
    pub dead: Vec<PathBuf>,
    /// The number of sockets with a server that answers.
    pub live: usize,
    /// Sockets whose server does not answer.
    pub wedged: Vec<PathBuf>,
    /// Sessions whose server is alive and whose socket is gone.
    pub missing: Vec<SessionId>,
    pub sessions: Vec<(SessionId, State)>,
    /// The activities of the sessions whose programs run.
    pub activities: Vec<Activity>,
    /// Sessions that should be running but have no unit and no process.
    pub lost: Vec<SessionId>,
    /// Supervised sessions that run without their supervisor.
    pub unsupervised: Vec<SessionId>,
    /// Units and processes that belong to no session, and how to end them.
    pub orphans: Vec<Problem>,
    /// Units of forge in the failed state.
    pub units_failed: Vec<String>,
    /// The last sweep of this boot.
    pub last_sweep: Option<LastSweep>,
    /// When the timer of the sweeps was started, if it runs.
    pub sweep_timer_since_us: Option<u64>,
    /// The restore since the user manager started.
    pub last_restore: Option<Restored>,
    /// Out-of-memory kills in all sessions, as far as the kernel counts them.
    pub oom_kills: u64,
    /// Free disk space for forge's files.
    pub state_free_bytes: Option<u64>,
    /// Whether the user manager keeps running without a login; `None` if logind does not answer.
    pub linger: Option<bool>,
    pub user: String,
    /// The error in the configuration.
    pub configuration: Option<Problem>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub what: String,
    /// The next step for the user.
    pub hint: String,
}

impl Problem {
    pub fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }
}

/// The result of `forge probe`. Its JSON always has all keys; unknown values are null.
#[derive(Debug, Clone, Serialize)]
pub struct Probe {
    /// Whether there are no problems.
    pub healthy: bool,
    /// Sockets that no server listens on.
    pub sockets_dead: usize,
    /// Sockets with a server that answers.
    pub sockets_live: usize,
    /// Sockets with a server that does not answer.
    pub sockets_wedged: usize,
    /// Servers without a socket.
    pub sockets_missing: usize,
    /// The number of sessions by state, with every state.
    pub sessions: BTreeMap<&'static str, usize>,
    /// The number of sessions with a program by activity, with every activity.
    pub activity: BTreeMap<&'static str, usize>,
    /// Units and processes that belong to no session.
    pub orphans: usize,
    /// Units of forge in the failed state.
    pub units_failed: Vec<String>,
    /// The last sweep of this boot.
    pub last_sweep: Option<Swept>,
    pub last_restore: Option<RestoredCount>,
    /// Out-of-memory kills in all sessions since the boot.
    pub oom_kills: u64,
    /// Free disk space for forge's files.
    pub state_free_bytes: Option<u64>,
    pub linger: Option<bool>,
    pub problems: Vec<Problem>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Swept {
    /// When it ended, in microseconds since 1970.
    #[serde(rename = "at", serialize_with = "as_rfc3339")]
    pub at_us: u64,
    /// The number of dead sockets that it removed.
    pub removed: usize,
}

#[derive(Debug, Clone, Serialize)]
pub struct RestoredCount {
    /// When it ended, in microseconds since 1970.
    #[serde(rename = "at", serialize_with = "as_rfc3339")]
    pub at_us: u64,
    pub restored: usize,
    pub failed: usize,
}

const STATES: [State; 7] = [
    State::Starting,
    State::Running,
    State::Dead,
    State::Wedged,
    State::Stopping,
    State::Failed,
    State::Frozen,
];

impl Probe {
    pub fn of(facts: &HealthFacts) -> Self {
        let problems = problems(facts);
        let active = |activity: Activity| facts.activities.iter().filter(|other| **other == activity).count();
        let count = |state: State| facts.sessions.iter().filter(|(_, other)| *other == state).count();
        Self {
            healthy: problems.is_empty(),
            sockets_dead: facts.dead.len(),
            sockets_live: facts.live,
            sockets_wedged: facts.wedged.len(),
            sockets_missing: facts.missing.len(),
            sessions: STATES.into_iter().map(|state| (state.word(), count(state))).collect(),
            activity: Activity::ALL.into_iter().map(|one| (one.word(), active(one))).collect(),
            orphans: facts.orphans.len(),
            units_failed: facts.units_failed.clone(),
            last_sweep: facts
                .last_sweep
                .as_ref()
                .map(|sweep| Swept { at_us: sweep.at_us, removed: sweep.removed }),
            last_restore: facts.last_restore.as_ref().map(|restore| RestoredCount {
                at_us: restore.at_us,
                restored: restore.restored.len(),
                failed: restore.failed.len(),
            }),
            oom_kills: facts.oom_kills,
            state_free_bytes: facts.state_free_bytes,
            linger: facts.linger,
            problems,
        }
    }

    /// The names and values of the rows for people. `ago` prints a time.
    pub fn rows(&self, ago: impl Fn(u64) -> String) -> Vec<(&'static str, String)> {
        let unknown = || "not known".to_owned();
        vec![
            (
                "sockets",
                format!(
                    "{} dead, {} live, {} wedged, {} missing",
                    self.sockets_dead, self.sockets_live, self.sockets_wedged, self.sockets_missing
                ),
            ),
            ("sessions", counted(STATES.map(State::word), &self.sessions)),
            ("activity", counted(Activity::ALL.map(Activity::word), &self.activity)),
            ("orphans", self.orphans.to_string()),
            (
                "failed units",
                if self.units_failed.is_empty() { "none".to_owned() } else { self.units_failed.join(", ") },
            ),
            (
                "last sweep",
                self.last_sweep.as_ref().map_or_else(
                    || "none in this boot".to_owned(),
                    |sweep| format!("{}, {} removed", ago(sweep.at_us), dead_sockets(sweep.removed)),
                ),
            ),
            (
                "last restore",
                self.last_restore.as_ref().map_or_else(
                    || "none in this boot".to_owned(),
                    |restore| {
                        format!(
                            "{}, {} restored, {} failed",
                            ago(restore.at_us),
                            restore.restored,
                            restore.failed
                        )
                    },
                ),
            ),
            ("out-of-memory kills", self.oom_kills.to_string()),
            (
                "disk space",
                self.state_free_bytes.map_or_else(unknown, |bytes| format!("{} free", usage::size(bytes))),
            ),
            ("lingering", self.linger.map_or_else(unknown, |on| if on { "on" } else { "off" }.to_owned())),
        ]
    }
}

/// The counts that are not 0, in the order of `words`: "2 running, 1 dead".
fn counted<const N: usize>(words: [&'static str; N], counts: &BTreeMap<&'static str, usize>) -> String {
    let known = words.into_iter().filter_map(|word| Some((word, *counts.get(word)?)));
    let known: Vec<String> =
        known.filter(|(_, count)| *count > 0).map(|(word, count)| format!("{count} {word}")).collect();
    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
}
