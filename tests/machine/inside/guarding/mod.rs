//! `forge guard`: disturbances of units, and the commands that run under a guard.

mod command;
mod disturbances;
mod keeper;
mod listening;
mod nesting;
pub(crate) mod pressure;
mod refusals;
mod report;
mod signals;
mod snapshots;

use crate::ran::Ran;
use crate::suite::Test;
use crate::support::{
    TestFile, alive, event_since, events_since, forge, journal_cursor, start, systemctl, user_unit_property,
    wait_until,
};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    [
        command::tests(),
        disturbances::tests(),
        signals::tests(),
        keeper::tests(),
        refusals::tests(),
        listening::tests(),
        pressure::tests(),
        report::tests(),
        nesting::tests(),
        snapshots::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A guarded service; it ends with the test.
pub(crate) struct Production {
    pub(crate) unit: String,
    _file: TestFile,
}

impl Production {
    #[track_caller]
    pub(crate) fn start(name: &str, service: &str) -> Self {
        let unit = format!("{name}.service");
        let file = TestFile::new(
            &format!(".config/systemd/user/{unit}"),
            &format!("[Unit]\nStartLimitIntervalSec=0\n[Service]\n{service}\n"),
        );
        systemctl(&["daemon-reload"]).ok();
        systemctl(&["start", &unit]).ok();
        Self { unit, _file: file }
    }

    /// Starts a service that systemd restarts at once whenever it fails.
    #[track_caller]
    pub(crate) fn lasting(name: &str) -> Self {
        Self::start(name, "ExecStart=/bin/sleep 10000\nRestart=always\nRestartSec=0")
    }

    #[track_caller]
    pub(crate) fn pid(&self) -> u32 {
        user_unit_property(&self.unit, "MainPID").parse().expect("a pid")
    }

    /// Runs `act` while the unit is up, and returns whether the unit was restarted meanwhile, as its manager
    /// reports.
    #[track_caller]
    fn bounced_by<T>(&self, act: impl FnOnce() -> T) -> (T, bool) {
        let invocation = || user_unit_property(&self.unit, "InvocationID");
        self.is_up();
        let before = invocation();
        let outcome = act();
        self.is_up();
        wait_until(Duration::from_secs(20), "its jobs to be done", || {
            systemctl(&["list-jobs", "--no-legend", &self.unit]).stdout.is_empty()
        });
        self.is_up();
        (outcome, invocation() != before)
    }

    #[track_caller]
    pub(crate) fn is_up(&self) {
        wait_until(Duration::from_secs(20), &format!("{} to be up", self.unit), || {
            user_unit_property(&self.unit, "ActiveState") == "active" && alive(self.pid())
        });
    }
}

impl Drop for Production {
    fn drop(&mut self) {
        systemctl(&["stop", &self.unit]);
        systemctl(&["reset-failed", &self.unit]);
    }
}

/// Runs a command under a guard of this unit.
#[track_caller]
fn guarded(unit: &Production, options: &[&str], command: &[&str]) -> Ran {
    forge(&[&["guard", "run", "--unit", &unit.unit], options, &["--"], command].concat())
}

/// Runs a shell command line under a guard of this unit; returns the report.
#[track_caller]
fn report(unit: &Production, line: &str) -> Value {
    forge(&["--json", "guard", "run", "--unit", &unit.unit, "--", "sh", "-c", line]).json()
}

fn nothing_left_of_guards() {
    wait_until(Duration::from_secs(20), "all guarded commands and keepers to be gone", || {
        let units = ["forge-guard-*.scope", "forge-guard-*.service", "forge-guard-*.slice"];
        systemctl(&[&["list-units", "--all", "--no-legend", "--plain"][..], &units].concat())
            .stdout
            .is_empty()
    });
}

/// Starts a guarded command; returns the process, the guard's id and the command's control group.
#[track_caller]
fn running(options: &[&str], command: &[&str]) -> (crate::ran::Background, String, String) {
    let cursor = journal_cursor();
    let running = start(&[&["forge", "guard", "run"], options, &["--"], command].concat());
    let id = event_since(&cursor, "guard_started")["FORGE_GUARD"].as_str().expect("an id").to_owned();
    let group = user_unit_property(&format!("forge-guard-{id}.slice"), "ControlGroup");
    (running, id, group)
}

/// The pid of a guard; the guard's id begins with it.
pub(crate) fn pid_of(id: &str) -> u32 {
    id.split('_').next().and_then(|pid| pid.parse().ok()).expect("a pid")
}

#[track_caller]
fn refused(args: &[&str], message: &str) {
    let cursor = journal_cursor();
    let ran = forge(&[&["--json", "guard", "run"], args, &["--", "touch", "/tmp/it-ran"]].concat()).code(125);
    let error = ran.json()["error"].clone();
    assert!(error["message"].as_str().expect("a message").contains(message), "{args:?}: {ran}");
    assert!(!Path::new("/tmp/it-ran").exists(), "{args:?}");
    let events = events_since(&cursor);
    assert!(!events.iter().any(|event| event["FORGE_EVENT"] == "guard_started"), "{args:?}");
}
