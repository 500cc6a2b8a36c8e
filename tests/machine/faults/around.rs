//! Tools of the fault tests: the user's programs without a login, and bystanders.

use crate::machine::Machine;
use crate::ran::{self, Background, Ran};
use crate::support::is_zombie;
use serde_json::Value;
use std::time::{Duration, Instant};

/// The deadline of every forge, whatever is stopped: two calls of 20 s each, plus the delay of a slow
/// machine.
pub(super) const DEADLINE: Duration = Duration::from_secs(90);

/// Starts a shell command line as the user, without a login, which a stopped manager would block.
#[track_caller]
pub(super) fn start(machine: &Machine, line: &str) -> Background {
    let line = format!("cd && {line}");
    let argv = ["runuser", "-u", "ada", "--", "env", "XDG_RUNTIME_DIR=/run/user/1000", "HOME=/home/ada"];
    ran::start(machine.command("root", &[&argv[..], &["sh", "-c", &line]].concat()), &line)
}

/// Runs a shell command line as the user to its end.
#[track_caller]
pub(super) fn sh(machine: &Machine, line: &str) -> Ran {
    start(machine, line).wait(DEADLINE)
}

/// Asserts that a failed forge reports the reason, does not panic and is not ended by a signal.
#[track_caller]
pub(super) fn is_orderly(ran: &Ran) {
    assert!(ran.code == 0 || ran.stderr.starts_with("forge: ") || ran.code == 5, "without a word: {ran}");
    assert!(!ran.stderr.contains("panicked") && ran.code < 126 && ran.code != 101, "{ran}");
}

/// Sends a signal to a process of the machine.
#[track_caller]
pub(super) fn signal(machine: &Machine, signal: &str, pid: &str) {
    machine.root(&["kill", "-s", signal, pid]).ok();
}

/// The main process of one of the user's services.
#[track_caller]
pub(super) fn main_pid(machine: &Machine, unit: &str) -> String {
    sh(machine, &format!("systemctl --user show -P MainPID {unit}")).ok().stdout.trim().to_owned()
}

/// The user manager's process.
#[track_caller]
pub(super) fn manager_pid(machine: &Machine) -> String {
    machine.root(&["systemctl", "show", "-P", "MainPID", "user@1000"]).ok().stdout.trim().to_owned()
}

/// The sessions and their states.
#[track_caller]
pub(super) fn sessions(machine: &Machine) -> Vec<(String, String)> {
    let list = sh(machine, "forge --json list").ok().json();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let sessions = list["sessions"].as_array().expect("sessions").iter();
    sessions.map(|session| (text(&session["session"]), text(&session["state"]))).collect()
}

/// A session and a tmux server that must be the same afterwards; [`Bystanders::leave`] ends them.
pub(super) struct Bystanders {
    server: String,
    program: String,
}

impl Bystanders {
    #[track_caller]
    pub(super) fn start(machine: &Machine) -> Self {
        sh(machine, "tmux -L homebase new -d 'sleep 10000'; forge spawn -q stays -- sleep 10000").ok();
        Self { server: homebase(machine), program: program(machine, "stays") }
    }

    #[track_caller]
    pub(super) fn untouched(&self, machine: &Machine) {
        assert_eq!(homebase(machine), self.server, "homebase is another server now");
        assert_eq!(program(machine, "stays"), self.program, "the session is another now");
        assert!(sessions(machine).contains(&("stays".into(), "running".into())));
    }

    #[track_caller]
    pub(super) fn leave(self, machine: &Machine) {
        self.untouched(machine);
        sh(machine, "tmux -L homebase kill-server; forge stop -q --all; rm -f /tmp/tmux-1000/homebase*").ok();
        nothing_is_left(machine);
    }
}

#[track_caller]
fn homebase(machine: &Machine) -> String {
    sh(machine, "tmux -N -L homebase display -p '#{pid}'").ok().stdout.trim().to_owned()
}

/// The process of a session's program.
#[track_caller]
pub(super) fn program(machine: &Machine, session: &str) -> String {
    let status = sh(machine, &format!("forge --json status {session}")).ok().json();
    status["pane_pid"].as_u64().map(|pid| pid.to_string()).unwrap_or_default()
}

/// Whether a process of the machine has ended. The kernel keeps a zombie until its parent has waited for it,
/// which may be after forge has reported the end.
pub(super) fn has_ended(machine: &Machine, pid: &str) -> bool {
    std::fs::read_to_string(machine.path(&format!("/proc/{pid}/stat"))).map_or(true, |stat| is_zombie(&stat))
}

/// Asserts that no session, unit, gated process or half-written file is left.
#[track_caller]
pub(super) fn nothing_is_left(machine: &Machine) {
    assert_eq!(sessions(machine), []);
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let left = sh(
            machine,
            "systemctl --user list-units --all --plain --no-legend 'forge-spawn-*' 'forge-?*.slice' \
               | grep -v forge-guard; pgrep -af 'forge [g]ate-'; \
             find .local/state/forge /run/user/1000/forge .config/systemd -name '*.tmp'; \
             ls .local/state/forge/sessions; ls /tmp/tmux-1000 | grep -v -e default -e '^dead.lock'",
        );
        if left.stdout.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "left behind: {left}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
