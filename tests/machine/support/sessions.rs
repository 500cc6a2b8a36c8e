//! Sessions that end with the test.

use super::cgroups::{processes_in, slice_of};
use super::{
    TestFile, forge, forge_json, server_pid, socket, systemctl, tmux, user_unit_property, wait_for,
    wait_until,
};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

/// A session that is stopped when the test ends, also by a panic.
pub(crate) struct Session(pub(crate) String);

impl Drop for Session {
    fn drop(&mut self) {
        forge(&["stop", "--timeout", "1", &self.0]);
    }
}

/// Spawns a session; returns it with the output of `forge --json spawn`.
#[track_caller]
pub(crate) fn spawn(name: &str, options: &[&str], command: &[&str]) -> (Session, Value) {
    let session = Session(name.to_owned());
    let spawned = forge_json(&[&["spawn", name], options, &["--"], command].concat());
    (session, spawned)
}

/// A live tmux server that forge must not touch: its pid must never change.
pub(crate) struct Homebase(u32);

impl Homebase {
    #[track_caller]
    pub(crate) fn start() -> Self {
        tmux("homebase", &["new", "-d", "sleep 10000"]).ok();
        Self(server_pid("homebase"))
    }

    /// Asserts that the server is the same and answers.
    #[track_caller]
    pub(crate) fn untouched(&self) {
        assert_eq!(server_pid("homebase"), self.0, "homebase is another server now");
    }
}

impl Drop for Homebase {
    fn drop(&mut self) {
        tmux("homebase", &["kill-server"]);
        let _ = std::fs::remove_file(socket("homebase"));
    }
}

/// Asserts that nothing of the session is left: no unit, no process, no socket, no file.
#[track_caller]
pub(crate) fn nothing_left_of(name: &str) {
    let slice = format!("forge-{}.slice", name.replace('-', "\\x2d"));
    let units = [format!("forge-spawn-{name}.scope"), slice.clone()];
    wait_until(Duration::from_secs(5), &format!("the units of {name} to go"), || {
        units.iter().all(|unit| user_unit_property(unit, "ActiveState") == "inactive")
    });
    assert_eq!(processes_in(&slice_of(name)), Vec::<u32>::new(), "processes of {name}");
    assert!(!socket(&format!("spawn-{name}")).exists(), "the socket of {name}");
    assert!(!socket(&format!("spawn-{name}.lock")).exists(), "the lock of {name}");
    assert!(
        !PathBuf::from(format!(".local/state/forge/sessions/{name}.json")).exists(),
        "the file of {name}"
    );
}

/// A session under its supervisor; both end with the test.
pub(crate) struct Supervised {
    pub(crate) name: String,
    pub(crate) unit: String,
}

impl Supervised {
    /// Installs the units and names a session without starting it.
    #[track_caller]
    pub(crate) fn named(name: &str) -> Self {
        forge(&["units", "install"]).ok();
        Self { name: name.to_owned(), unit: format!("forge-spawn@{name}.service") }
    }

    /// Starts one by `systemctl --user start`.
    #[track_caller]
    pub(crate) fn start(name: &str) -> Self {
        let it = Self::named(name);
        systemctl(&["start", &it.unit]).ok();
        it
    }

    /// Starts one by `forge spawn --supervise`.
    #[track_caller]
    pub(crate) fn spawn(name: &str, options: &[&str], command: &[&str]) -> Self {
        let it = Self::named(name);
        forge(&[&["spawn", name, "--supervise"], options, &["--"], command].concat()).ok();
        it
    }

    /// A property of the supervisor's service.
    #[track_caller]
    pub(crate) fn service(&self, property: &str) -> String {
        user_unit_property(&self.unit, property)
    }

    /// The supervisor's pid; 0 if no supervisor runs.
    #[track_caller]
    pub(crate) fn pid(&self) -> u32 {
        self.service("MainPID").parse().expect("a pid")
    }

    /// The output of `forge --json status`; null if it fails.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        let ran = forge(&["--json", "status", &self.name]);
        if ran.code == 0 { ran.json() } else { Value::Null }
    }

    /// The program's pid; 0 if none runs.
    #[track_caller]
    pub(crate) fn program(&self) -> u32 {
        u32::try_from(self.status()["pane_pid"].as_u64().unwrap_or(0)).expect("a pid")
    }

    /// The tmux server's pid; 0 if none runs.
    #[track_caller]
    pub(crate) fn server(&self) -> u32 {
        u32::try_from(self.status()["server_pid"].as_u64().unwrap_or(0)).expect("a pid")
    }

    /// Waits until the session runs under a supervisor; returns its status.
    #[track_caller]
    pub(crate) fn up(&self) -> Value {
        wait_for(Duration::from_secs(60), &format!("{} to run under its supervisor", self.name), || {
            let status = self.status();
            (status["state"] == "running"
                && status["supervised"] == true
                && self.service("ActiveState") == "active")
                .then_some(status)
        })
    }

    /// Waits until the session runs again with another pid than `program`; returns its status.
    #[track_caller]
    pub(crate) fn up_after(&self, program: u32) -> Value {
        wait_until(
            Duration::from_secs(60),
            &format!("another program of {} than {program}", self.name),
            || ![0, program].contains(&self.program()),
        );
        self.up()
    }

    /// Waits until the service's `ActiveState` is `state`.
    #[track_caller]
    pub(crate) fn becomes(&self, state: &str) {
        wait_until(Duration::from_secs(60), &format!("{} to be {state}", self.unit), || {
            self.service("ActiveState") == state
        });
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        forge(&["stop", "--timeout", "1", &self.name]);
        systemctl(&["stop", &self.unit]);
        systemctl(&["reset-failed", &self.unit]);
    }
}

/// A drop-in for one supervisor's service; it is removed when the test ends.
pub(crate) struct DropIn {
    _file: TestFile,
}

impl DropIn {
    #[track_caller]
    pub(crate) fn new(name: &str, text: &str) -> Self {
        let file =
            TestFile::new(&format!(".config/systemd/user/forge-spawn@{name}.service.d/test.conf"), text);
        systemctl(&["daemon-reload"]).ok();
        Self { _file: file }
    }
}
