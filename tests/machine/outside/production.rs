//! Guarding the machine's own services, which root may disturb at any time; and what a reboot is.

use crate::machine::Machine;
use crate::suite::{Test, outside};
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        outside!(services_of_the_machine_are_guarded),
        outside!(a_reboot_is_a_disturbance_of_its_own_kind),
        outside!(nothing_is_written_through_anothers_file),
    ]
}

/// A service of the machine's.
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
    // A system bus that goes away, and comes back. (After that no user manager can move a process out of
    // a login session any more: it does not connect to that bus again.)
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
    // Under /tmp another user lies in wait under the name itself; the kernel's own protection of such
    // directories is off.
    machine.root(&["sysctl", "-qw", "fs.protected_regular=0", "fs.protected_symlinks=0"]);
    machine.user(&["touch", "/home/ada/precious"]).ok();
    machine.as_user("mallory", &["ln", "-s", "/home/ada/precious", "/tmp/link.json"]).ok();
    machine.as_user("mallory", &["mkfifo", "-m", "666", "/tmp/fifo.json"]).ok();
    machine.as_user("mallory", &["mkdir", "-m", "777", "/tmp/dir.json"]).ok();
    for bad in ["/tmp/fifo.json", "/tmp/dir.json", "/dev/null", "-"] {
        let refused = snapshot(bad).code(2);
        assert!(refused.stderr.contains("is no file") && refused.stderr.contains("hint:"), "{refused}");
    }
    let taken = machine.user(&["forge", "guard", "check", "/tmp/fifo.json"]).code(125);
    assert!(taken.stderr.contains("hint:") || taken.stderr.contains("cannot read"), "{taken}");
    // A device stays what it is, for root too.
    let root = ["forge", "guard", "snapshot", "--system-unit", "prod", "-o", "/dev/null"];
    machine.root(&root).code(2);
    machine.root(&["test", "-c", "/dev/null"]).ok();
}
