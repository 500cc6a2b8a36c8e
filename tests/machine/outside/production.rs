//! Acts of root: disturb guarded system services, reboot the machine, and run processes inside a user's
//! session.

use crate::machine::Machine;
use crate::suite::{Test, outside};
use crate::support::wait_until;
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        outside!(services_of_the_machine_are_guarded),
        outside!(a_reboot_is_a_disturbance_of_its_own_kind),
        outside!(nothing_is_written_through_anothers_file),
        outside!(root_processes_in_a_session_are_ended),
    ]
}

/// A system service.
fn production(machine: &Machine) {
    let unit = "printf '[Unit]\\nStartLimitIntervalSec=0\\n[Service]\\nExecStart=/bin/sleep 10000\\nRestart=always\\nRestartSec=0\\n\
                [Install]\\nWantedBy=multi-user.target\\n' > /etc/systemd/system/prod.service";
    machine.root(&["sh", "-c", unit]).ok();
    machine.root(&["systemctl", "daemon-reload"]).ok();
    machine.root(&["systemctl", "enable", "--now", "prod"]).ok();
}

fn services_of_the_machine_are_guarded(machine: &mut Machine) {
    production(machine);
    let guarded = ["forge", "guard", "run", "--system-unit", "prod", "--", "sleep", "3"];
    machine.user(&guarded).code(0);
    for bounce in [
        "systemctl restart prod",
        "kill -9 $(systemctl show -P MainPID prod)",
        "systemctl stop prod; systemctl start prod",
        "systemctl daemon-reexec; systemctl restart prod",
    ] {
        let running = machine.spawn_user(&guarded);
        std::thread::sleep(Duration::from_secs(1));
        machine.root(&["sh", "-c", bounce]).ok();
        let ran = running.wait(Duration::from_secs(60)).code(100);
        assert!(ran.stderr.contains("prod.service (system) "), "{bounce}: {ran}");
    }
    for quiet in ["systemctl daemon-reload", "systemctl daemon-reexec", "systemctl restart systemd-journald"]
    {
        let running = machine.spawn_user(&guarded);
        std::thread::sleep(Duration::from_secs(1));
        machine.root(&["sh", "-c", quiet]).ok();
        running.wait(Duration::from_secs(60)).code(0);
    }
    let refused =
        machine.user(&["forge", "guard", "run", "--refuse-if-active", "prod", "--", "true"]).code(125);
    assert!(refused.stderr.contains("prod.service (system) is active"), "{refused}");
    machine.root(&["systemctl", "stop", "prod"]).ok();
    machine.user(&["forge", "guard", "run", "--refuse-if-active", "prod", "--", "true"]).code(0);
    machine.root(&["systemctl", "start", "prod"]).ok();
    // The system bus is restarted. (Afterwards no user manager can move a process out of a login session: it
    // does not connect to that bus again.)
    let running = machine.spawn_user(&guarded);
    std::thread::sleep(Duration::from_secs(1));
    machine
        .root(&[
            "sh",
            "-c",
            "kill -9 $(systemctl show -P MainPID dbus); kill -9 $(systemctl show -P MainPID prod)",
        ])
        .ok();
    running.wait(Duration::from_secs(90)).code(100);
}

fn a_reboot_is_a_disturbance_of_its_own_kind(machine: &mut Machine) {
    production(machine);
    let file = "/home/ada/before.json";
    machine.user(&["forge", "guard", "snapshot", "--system-unit", "prod", "-o", file]).ok();
    machine.user(&["forge", "guard", "check", file]).code(0);
    machine.reboot();
    let checked = machine.user(&["forge", "--json", "guard", "check", file]).code(100).json();
    assert_eq!((&checked["rebooted"], &checked["verdict"]), (&true.into(), &"disturbed".into()));
    let said = machine.user(&["forge", "guard", "check", file]).code(100);
    assert!(said.stdout.contains("has booted since"), "{said}");
}

fn nothing_is_written_through_anothers_file(machine: &mut Machine) {
    production(machine);
    let snapshot =
        |to: &str| machine.user(&["forge", "guard", "snapshot", "--system-unit", "prod", "-o", to]);
    // Another user has created a file of this name in /tmp; the kernel's protection of such directories is
    // off.
    machine.root(&["sysctl", "-qw", "fs.protected_regular=0", "fs.protected_symlinks=0"]);
    machine.user(&["touch", "/home/ada/precious"]).ok();
    machine.as_user("mallory", &["ln", "-s", "/home/ada/precious", "/tmp/link.json"]).ok();
    machine.as_user("mallory", &["mkfifo", "-m", "666", "/tmp/fifo.json"]).ok();
    machine.as_user("mallory", &["mkdir", "-m", "777", "/tmp/dir.json"]).ok();
    for bad in ["/tmp/fifo.json", "/tmp/dir.json", "/dev/null", "-"] {
        let refused = snapshot(bad).code(2);
        assert!(
            refused.stderr.contains("is not a regular file") && refused.stderr.contains("hint:"),
            "{refused}"
        );
    }
    let taken = machine.user(&["forge", "guard", "check", "/tmp/fifo.json"]).code(125);
    assert!(taken.stderr.contains("hint:") || taken.stderr.contains("cannot read"), "{taken}");
    // forge does not replace a device, as root neither.
    let root = ["forge", "guard", "snapshot", "--system-unit", "prod", "-o", "/dev/null"];
    machine.root(&root).code(2);
    machine.root(&["test", "-c", "/dev/null"]).ok();
}

/// As with `sudo`: the user may not signal the command.
fn root_processes_in_a_session_are_ended(machine: &mut Machine) {
    const FORGE: &str = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/forge.slice";
    let runs_inside = |groups: &str| {
        let line = format!(
            "until set -- {FORGE}/{groups} && [ -e $1 ]; do sleep 0.1; done; \
             setsid sleep 4711 >/dev/null 2>&1 & echo $! > $1; echo $!"
        );
        machine.root(&["sh", "-c", &line]).ok().stdout.trim().to_owned()
    };
    let is_gone = |pid: &str| machine.root(&["kill", "-0", pid]).code == 1;
    let trap = "trap '' TERM HUP; while :; do sleep 0.1; done";
    machine.user(&["forge", "units", "install"]).ok();
    machine.user(&["forge", "spawn", "kept", "--supervise", "--", "sh", "-c", trap]).ok();
    let pid = runs_inside("forge-kept.slice/forge-spawn-kept.scope/cgroup.procs");
    assert!(!is_gone(&pid));
    machine.user(&["systemctl", "--user", "stop", "forge-spawn@kept"]).ok();
    assert!(is_gone(&pid), "what root runs in a session");
    machine.user(&["systemctl", "--user", "is-failed", "forge-spawn@kept"]).code(1);
    let again = machine.user(&["forge", "--json", "restore", "--dry-run"]).ok().json();
    assert_eq!(again["plan"][0]["action"], "forget", "it was stopped, and does not come back: {again}");
    machine.user(&["forge", "stop", "kept"]).ok();

    let guard = machine.spawn_user(&["forge", "guard", "run", "--", "sleep", "3"]);
    let pid = runs_inside("forge-guard.slice/forge-guard-*.slice/forge-guard-*.scope/cgroup.procs");
    guard.wait(Duration::from_secs(60)).code(0);
    assert!(is_gone(&pid), "what root runs beside a guarded command");
    let guard = machine.spawn_user(&["forge", "guard", "run", "--", "sleep", "1000"]);
    let pid = runs_inside("forge-guard.slice/forge-guard-*.slice/forge-guard-*.scope/cgroup.procs");
    machine.user(&["pkill", "-KILL", "-f", "^forge guard run"]).ok();
    guard.wait(Duration::from_secs(60)).code(137);
    wait_until(Duration::from_secs(30), "a guard that is killed to leave nothing", || {
        is_gone(&pid) && machine.root(&["pgrep", "-xf", "sleep 1000"]).code != 0
    });
}
