//! The machine-wide sweep, and users without lingering.

use super::{set_up, sh};
use crate::machine::{Machine, USER};
use crate::suite::{Debian, Test, outside};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        outside!(the_system_sweep_runs_before_the_user_manager).limit_s(180),
        outside!(missing_lingering_is_reported),
    ]
}

fn the_system_sweep_runs_before_the_user_manager(machine: &mut Machine) {
    set_up(machine);
    let unit = "forge-tmux-socket-sweep@.service";
    machine.root(&["sh", "-c", &format!("forge units show {unit} >/etc/systemd/system/{unit}")]).ok();
    machine.root(&["systemd-analyze", "verify", "--man=no", &format!("/etc/systemd/system/{unit}")]).ok();
    machine.root(&["systemctl", "enable", "-q", "forge-tmux-socket-sweep@1000.service"]).ok();
    let security =
        machine.root(&["systemd-analyze", "security", "forge-tmux-socket-sweep@1000.service"]).stdout;
    let line = security.lines().last().expect("a score");
    let score: f64 = line
        .split(": ")
        .nth(1)
        .and_then(|score| score.split(' ').next())
        .expect("a score")
        .parse()
        .expect("a number");
    assert!(score < 3.0, "{line}");
    sh(
        machine,
        "mkdir -p -m 700 /var/tmp/old; TMUX_TMPDIR=/var/tmp/old tmux -L x new -d 'sleep 100'; \
                 kill -9 $(TMUX_TMPDIR=/var/tmp/old tmux -L x display -p '#{pid}')",
    );
    machine.reboot();
    let show = |unit: &str, property: &str| -> u64 {
        let shown = machine.root(&["systemctl", "show", "--value", "-p", property, unit]).ok().stdout;
        shown.trim().parse().unwrap_or_else(|_| panic!("{unit} {property}: {shown}"))
    };
    let swept = show("forge-tmux-socket-sweep@1000.service", "ExecMainExitTimestampMonotonic");
    let status = show("forge-tmux-socket-sweep@1000.service", "ExecMainStatus");
    let began = show("user@1000.service", "ExecMainStartTimestampMonotonic");
    assert!(
        swept > 0 && status == 0 && swept <= began,
        "the sweep ended at {swept}, the manager began at {began}"
    );
    assert!(!machine.path("/var/tmp/old/tmux-1000/x").exists());
    machine.root(&["systemctl", "disable", "-q", "forge-tmux-socket-sweep@1000.service"]).ok();
    machine.user(&["forge", "stop", "--all"]).ok();
}

fn missing_lingering_is_reported(machine: &mut Machine) {
    machine.root(&["loginctl", "disable-linger", USER]).ok();
    // The manager stays for a while after the last logout.
    let probe = machine.user(&["forge", "--json", "probe"]);
    let doctor = machine.user(&["forge", "doctor"]).code(5);
    let install = machine.user(&["forge", "units", "install"]).ok();
    let linger = machine.user(&["forge", "units", "install", "--linger"]);
    let state = machine.root(&["loginctl", "show-user", "--value", "-p", "Linger", USER]).ok();
    machine.root(&["loginctl", "enable-linger", USER]).ok();
    assert_eq!((probe.code, &probe.json()["linger"]), (5, &false.into()), "{probe}");
    assert!(probe.json()["problems"].to_string().contains("loginctl enable-linger ada"), "{probe}");
    assert!(doctor.stdout.contains("sudo loginctl enable-linger ada"), "{doctor}");
    assert!(install.stdout.contains("lingering is off"), "{install}");
    match machine.debian() {
        // With polkit the user may enable it.
        Debian::Trixie => assert_eq!((linger.code, state.stdout.trim()), (0, "yes"), "{linger}"),
        Debian::Bookworm => {
            assert_eq!((linger.code, state.stdout.trim()), (1, "no"), "{linger}");
            assert!(linger.stderr.contains("hint: sudo loginctl enable-linger"), "{linger}");
        }
    }
    machine.user(&["forge", "units", "uninstall"]).ok();
}
