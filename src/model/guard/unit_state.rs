//! The state of a guarded unit, and which of its changes are disturbances.
//!
//! Polling misses restarts: of 200 polls during 20 kills with `RestartSec=0`, only 3 saw the unit not active.
//! The id of a run, [`UnitState::invocation`], never repeats, so a comparison of ids finds every restart. The
//! number of automatic restarts is not enough: a restart by hand resets it to 0.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::error::{Error, Result};
use crate::model::session::signal_words;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ManagerKind {
    User,
    /// PID 1.
    System,
}

impl ManagerKind {
    pub fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::System => "system",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Named")]
pub struct Guarded {
    pub manager: ManagerKind,
    /// The name with its type.
    pub unit: String,
}

/// The form in a file, which somebody else may have written: the name is checked.
#[derive(Deserialize)]
struct Named {
    manager: ManagerKind,
    unit: String,
}

impl TryFrom<Named> for Guarded {
    type Error = Error;

    fn try_from(named: Named) -> Result<Self> {
        Self::parse(named.manager, &named.unit)
    }
}

impl Guarded {
    /// The types of unit that systemd has (systemd.unit(5)).
    const TYPES: [&str; 11] = [
        "service",
        "socket",
        "device",
        "mount",
        "automount",
        "swap",
        "target",
        "path",
        "timer",
        "slice",
        "scope",
    ];

    /// Parses a unit's name; a name without a type is a service, as for systemctl.
    ///
    /// # Errors
    /// `Kind::Usage` if it is not a valid unit name, or names a template.
    pub fn parse(manager: ManagerKind, name: &str) -> Result<Self> {
        let is_typed = name.rsplit_once('.').is_some_and(|(_, suffix)| Self::TYPES.contains(&suffix));
        let unit = if is_typed { name.to_owned() } else { format!("{name}.service") };
        let fits = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
        if unit.starts_with('.') || unit.len() > 255 || !unit.chars().all(fits) {
            return Err(Error::usage(format!("'{}' is not a valid unit name", name.escape_debug()))
                .hint("name one unit: web or web.service; systemd-escape turns any text into a name"));
        }
        if unit.contains("@.") {
            return Err(Error::usage(format!("{unit} is a template and never runs itself"))
                .hint(format!("name an instance: {}", unit.replace("@.", "@NAME."))));
        }
        Ok(Self { manager, unit })
    }
}

impl fmt::Display for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.manager {
            ManagerKind::User => f.write_str(&self.unit),
            ManagerKind::System => write!(f, "{} (system)", self.unit),
        }
    }
}

/// The properties of a unit at one moment (org.freedesktop.systemd1(5)).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitState {
    /// `LoadState=`: `loaded`, `not-found`, `masked` …
    pub load: String,
    /// `ActiveState=`: `active`, `reloading`, `inactive`, `failed`, `activating`, `deactivating` …
    pub active: String,
    /// `SubState=`: the state in the terms of the unit's type.
    pub sub: String,
    /// `InvocationID=` of the present or the last run; empty if the unit never ran.
    pub invocation: String,
    /// `NRestarts=`: the number of automatic restarts since somebody started the unit.
    pub restarts: u32,
    /// `MainPID=`; 0 without a main process.
    pub main_pid: u32,
    /// `ExecMainStartTimestampMonotonic=`, in microseconds since the boot.
    pub main_start_us: u64,
    /// `ActiveEnterTimestampMonotonic=`, in microseconds since the boot.
    pub active_enter_us: u64,
    /// `StateChangeTimestampMonotonic=`, in microseconds since the boot.
    pub changed_us: u64,
    /// `Result=`: `success`, `signal`, `exit-code`, `oom-kill`, `watchdog`, `timeout` …
    pub result: String,
    /// `ExecMainCode=`: how the main process ended, in the terms of waitid(2): 1 exited, 2 killed, 3 dumped.
    pub main_code: i32,
    /// `ExecMainStatus=`: the exit status, or the signal.
    pub main_status: i32,
    /// `ControlGroup=`; empty without one.
    pub control_group: String,
    /// Whether the unit is frozen, by itself or with its slice.
    #[serde(default)]
    pub frozen: bool,
}

/// The change of a unit between two observations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateChange {
    /// The unit started and was not up before.
    Started,
    /// The unit finished its work: a oneshot service.
    Done,
    /// The unit reloads its configuration, or has reloaded it.
    Reloaded,
    Stopping,
    Stopped,
    Failed,
    /// Another run of the unit is active than before.
    Restarted,
    /// The same run has another main process.
    MainProcess,
    Frozen,
    Thawed,
}

impl StateChange {
    pub fn word(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Done => "done",
            Self::Reloaded => "reloaded",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Restarted => "restarted",
            Self::MainProcess => "main_process",
            Self::Frozen => "frozen",
            Self::Thawed => "thawed",
        }
    }

    /// Whether the change disturbs the unit's work.
    pub fn disturbs(self) -> bool {
        match self {
            Self::Started | Self::Done | Self::Reloaded | Self::Thawed => false,
            Self::Stopping
            | Self::Stopped
            | Self::Failed
            | Self::Restarted
            | Self::MainProcess
            | Self::Frozen => true,
        }
    }
}

impl UnitState {
    /// Whether the unit works, or is about to.
    pub fn is_up(&self) -> bool {
        matches!(
            self.active.as_str(),
            "active" | "reloading" | "refreshing" | "activating" | "deactivating" | "maintenance"
        )
    }

    /// Whether systemd waits before it restarts the unit.
    fn is_between_runs(&self) -> bool {
        self.sub.starts_with("auto-restart")
    }

    /// Whether systemd started the run of `now` by itself. A start by a user sets the count to 0.
    pub fn is_restarted_by_systemd(&self, now: &Self) -> bool {
        now.restarts > self.restarts || self.is_between_runs() && now.restarts > 0
    }

    /// Whether a oneshot service has finished its work and runs its stop commands. Such a service was never
    /// active in this run; one that somebody stops gets a signal instead.
    fn is_job_at_its_end(&self) -> bool {
        self.active == "deactivating"
            && matches!(self.sub.as_str(), "stop" | "stop-post")
            && self.active_enter_us < self.main_start_us
    }

    /// Whether a job of systemd changes the unit, so that its state will change soon.
    pub fn is_settling(&self) -> bool {
        matches!(self.active.as_str(), "activating" | "deactivating" | "reloading" | "refreshing")
    }

    /// Whether the unit is about to stop or to restart.
    pub fn is_going_down(&self) -> bool {
        self.active == "deactivating" || self.is_between_runs()
    }

    /// The change from this state to `now`; `None` if nothing changed that matters.
    pub fn change(&self, now: &Self) -> Option<StateChange> {
        let is_other_run = self.invocation != now.invocation;
        if now.active == "failed" {
            return (self.active != "failed" || is_other_run).then_some(StateChange::Failed);
        }
        if !self.is_up() {
            return match (is_other_run, now.is_up()) {
                _ if now.is_between_runs() && is_other_run => Some(StateChange::Failed),
                (_, true) => Some(StateChange::Started),
                // The unit started and ended between two observations, and did not fail.
                (true, false) => Some(StateChange::Done),
                (false, false) => None,
            };
        }
        if !now.is_up() {
            // A oneshot service is up as long as it is starting.
            let is_job = self.active == "activating" && !self.is_between_runs() || self.is_job_at_its_end();
            return Some(if is_job && now.result == "success" {
                StateChange::Done
            } else {
                StateChange::Stopped
            });
        }
        if now.is_between_runs() && (is_other_run || !self.is_between_runs()) {
            return Some(StateChange::Failed);
        }
        if now.is_between_runs() {
            // systemd counts a restart when the pause ends, before the next run begins (257).
            return None;
        }
        // While systemd waits before the restart nothing of the unit runs: the start is one more change.
        if is_other_run || now.restarts > self.restarts {
            return Some(StateChange::Restarted);
        }
        if now.active == "deactivating" {
            // A unit that was active is not a oneshot service, although its main process may have started later.
            let is_job = self.active == "activating" && now.is_job_at_its_end();
            return (self.active != "deactivating" && !is_job).then_some(StateChange::Stopping);
        }
        let has_both = self.main_pid != 0 && now.main_pid != 0;
        if has_both && (self.main_pid, self.main_start_us) != (now.main_pid, now.main_start_us) {
            return Some(StateChange::MainProcess);
        }
        if self.main_pid != 0 && now.main_pid == 0 && self.active == "active" && now.active == "active" {
            return Some(StateChange::MainProcess);
        }
        if now.active_enter_us != self.active_enter_us && self.active == "active" && now.active == "active" {
            return Some(StateChange::Restarted);
        }
        if self.frozen != now.frozen {
            return Some(if now.frozen { StateChange::Frozen } else { StateChange::Thawed });
        }
        let reloads = |state: &Self| matches!(state.active.as_str(), "reloading" | "refreshing");
        (reloads(self) != reloads(now) && !reloads(now)).then_some(StateChange::Reloaded)
    }

    /// The state in the form of systemctl: `active (running)`.
    pub fn active_and_sub(&self) -> String {
        format!("{} ({})", self.active, self.sub)
    }

    /// The main process for tables.
    pub fn process(&self) -> String {
        if self.main_pid == 0 { "-".to_owned() } else { self.main_pid.to_string() }
    }

    /// The first characters of the invocation id.
    pub fn short_invocation(&self) -> String {
        self.invocation.chars().take(8).collect()
    }

    /// The end of the main process: `exit status 1`, `signal 9 (SIGKILL)`.
    pub fn main_end(&self) -> Option<String> {
        match self.main_code {
            1 => Some(format!("exit status {}", self.main_status)),
            2 | 3 => Some(signal_words(self.main_status)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running() -> UnitState {
        UnitState {
            load: "loaded".into(),
            active: "active".into(),
            sub: "running".into(),
            invocation: "a".into(),
            main_pid: 7,
            main_start_us: 70,
            active_enter_us: 71,
            result: "success".into(),
            ..UnitState::default()
        }
    }

    fn inactive() -> UnitState {
        UnitState { active: "inactive".into(), sub: "dead".into(), main_pid: 0, ..running() }
    }

    #[test]
    fn names_are_parsed_as_by_systemctl() {
        let unit = |name: &str| Guarded::parse(ManagerKind::User, name).map(|guarded| guarded.unit);
        assert_eq!(unit("web").unwrap(), "web.service");
        assert_eq!(unit("web.timer").unwrap(), "web.timer");
        assert_eq!(unit("web.v2").unwrap(), "web.v2.service");
        assert_eq!(unit("a@b\\x2dc").unwrap(), "a@b\\x2dc.service");
        for bad in ["", "a b", "web-*", "../x", "web@", "web@.service", "é"] {
            assert!(unit(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn restarts_between_observations_are_found() {
        let before = running();
        assert_eq!(before.change(&running()), None);
        // A restart between two observations: by hand, and automatic.
        let other = UnitState { invocation: "b".into(), main_pid: 8, ..running() };
        assert_eq!(before.change(&other), Some(StateChange::Restarted));
        assert_eq!(before.change(&UnitState { restarts: 1, ..running() }), Some(StateChange::Restarted));
        // The kernel reused the pid.
        assert_eq!(
            before.change(&UnitState { invocation: "b".into(), ..running() }),
            Some(StateChange::Restarted)
        );
        assert_eq!(
            before.change(&UnitState { main_start_us: 99, ..running() }),
            Some(StateChange::MainProcess)
        );
        assert_eq!(
            before.change(&UnitState { active_enter_us: 99, ..running() }),
            Some(StateChange::Restarted)
        );
    }

    #[test]
    fn a_stop_differs_from_a_failure() {
        let before = running();
        assert_eq!(before.change(&inactive()), Some(StateChange::Stopped));
        let failed = UnitState { active: "failed".into(), ..inactive() };
        assert_eq!(before.change(&failed), Some(StateChange::Failed));
        assert_eq!(failed.change(&failed), None);
        let stopping = UnitState { active: "deactivating".into(), ..running() };
        assert_eq!(before.change(&stopping), Some(StateChange::Stopping));
        assert_eq!(stopping.change(&inactive()), Some(StateChange::Stopped));
        let pause = UnitState { active: "activating".into(), sub: "auto-restart".into(), ..inactive() };
        assert_eq!(before.change(&pause), Some(StateChange::Failed));
        let again = UnitState { invocation: "b".into(), restarts: 1, ..running() };
        assert_eq!(pause.change(&again), Some(StateChange::Restarted));
    }

    #[test]
    fn a_restart_that_is_only_counted_is_not_a_second_one() {
        let pause = UnitState { active: "activating".into(), sub: "auto-restart".into(), ..inactive() };
        let queued = UnitState { sub: "auto-restart-queued".into(), restarts: 1, ..pause.clone() };
        assert_eq!(pause.change(&queued), None);
        let again = UnitState { invocation: "b".into(), restarts: 1, ..running() };
        assert_eq!(queued.change(&again), Some(StateChange::Restarted));
        assert!(queued.is_restarted_by_systemd(&again));
        let by_hand = UnitState { restarts: 0, ..again };
        assert!(!queued.is_restarted_by_systemd(&by_hand));
    }

    #[test]
    fn the_normal_life_of_a_unit_does_not_disturb() {
        let disturbs =
            |before: &UnitState, now: &UnitState| before.change(now).is_some_and(StateChange::disturbs);
        let job = UnitState {
            active: "activating".into(),
            sub: "start".into(),
            invocation: "b".into(),
            ..running()
        };
        let done = UnitState { invocation: "b".into(), ..inactive() };
        assert!(!disturbs(&inactive(), &job) && !disturbs(&job, &done) && !disturbs(&inactive(), &done));
        // A oneshot service with ExecStopPost=, and one that somebody stops.
        let job = UnitState { main_start_us: 90, ..job };
        let stop_post = UnitState { active: "deactivating".into(), sub: "stop-post".into(), ..job.clone() };
        let done = UnitState { main_start_us: 90, ..done };
        assert!(!disturbs(&job, &stop_post) && !disturbs(&stop_post, &done));
        assert!(disturbs(&job, &UnitState { sub: "stop-sigterm".into(), ..stop_post }));
        let failed = UnitState { active: "failed".into(), result: "exit-code".into(), ..done.clone() };
        assert!(disturbs(&job, &failed) && disturbs(&inactive(), &failed));
        // A service that executed itself again, and is stopped by its ExecStop=.
        let renewed = UnitState { main_start_us: 99, ..running() };
        let stopping = UnitState { active: "deactivating".into(), sub: "stop".into(), ..renewed.clone() };
        assert!(disturbs(&renewed, &stopping));
        let reloading = UnitState { active: "reloading".into(), sub: "reload".into(), ..running() };
        assert_eq!(running().change(&reloading), None);
        assert_eq!(reloading.change(&running()), Some(StateChange::Reloaded));
        assert!(!disturbs(&inactive(), &running()), "a start does not disturb");
        let frozen = UnitState { frozen: true, ..running() };
        assert!(disturbs(&running(), &frozen) && !disturbs(&frozen, &running()));
    }
}
