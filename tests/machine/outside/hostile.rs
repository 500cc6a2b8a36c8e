//! `/tmp` is hostile: what another user plants there is not followed, removed or waited for.

use crate::machine::Machine;
use crate::suite::{Test, outside};
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        outside!(a_directory_of_somebody_else),
        outside!(a_racing_attacker),
        outside!(what_outlives_a_reboot),
    ]
}

fn a_directory_of_somebody_else(machine: &mut Machine) {
    machine.as_user("mallory", &["mkdir", "/tmp/tmux-1000"]).ok();
    machine.as_user("mallory", &["chmod", "777", "/tmp/tmux-1000"]).ok();
    machine
        .as_user(
            "mallory",
            &["python3", "-c", "import socket; socket.socket(socket.AF_UNIX).bind('/tmp/tmux-1000/bait')"],
        )
        .ok();
    let refused = machine.user(&["forge", "--json", "spawn", "x", "--", "sleep", "9"]);
    assert_eq!((refused.code, &refused.json()["error"]["kind"]), (1, &"unsafe".into()), "{refused}");
    assert!(refused.stderr.contains("belongs to uid 1001, not to you (1000)"), "{refused}");
    let swept = machine.user(&["forge", "--json", "sweep"]).ok().json();
    assert!(swept["skipped"][0]["reason"].as_str().expect("a reason").contains("uid 1001"), "{swept}");
    assert!(machine.path("/tmp/tmux-1000/bait").symlink_metadata().is_ok());
    machine.root(&["rm", "-r", "/tmp/tmux-1000"]).ok();
    machine.user(&["forge", "spawn", "x", "--", "sleep", "9"]).ok();
    machine.user(&["forge", "stop", "x"]).ok();
}

fn a_racing_attacker(machine: &mut Machine) {
    // A directory of ada's in one that mallory can write to: mallory swaps it against a link to
    // a directory with dead sockets that are not to be swept.
    machine.user(&["mkdir", "-p", "/home/ada/precious"]).ok();
    let bind =
        "import socket\nfor i in range(20): socket.socket(socket.AF_UNIX).bind('/home/ada/precious/s%d' % i)";
    machine.user(&["python3", "-c", bind]).ok();
    machine.user(&["chmod", "700", "/home/ada/precious"]).ok();
    machine.as_user("mallory", &["mkdir", "-m", "777", "/tmp/field"]).ok();
    machine.user(&["mkdir", "-m", "700", "/tmp/field/tmux-1000"]).ok();
    let swap = "cd /tmp/field; end=$(($(date +%s) + 6)); while [ $(date +%s) -lt $end ]; do \
                mv -T tmux-1000 aside; ln -s /home/ada/precious tmux-1000; rm tmux-1000; mv -T aside tmux-1000; done";
    let attacker = machine.command("mallory", &["sh", "-c", swap]).spawn().expect("the attacker");
    let sweeps = "end=$(($(date +%s) + 6)); while [ $(date +%s) -lt $end ]; do \
                  TMUX_TMPDIR=/tmp/field forge sweep -q --dir /tmp/field/tmux-1000 || exit; done";
    machine.user(&["sh", "-c", sweeps]).ok();
    let mut attacker = attacker;
    attacker.wait().expect("the attacker's end");
    let left = machine.user(&["ls", "/home/ada/precious"]).ok().stdout;
    assert_eq!(left.lines().count(), 20, "nothing outside is removed, and no lock made: {left}");
}

fn what_outlives_a_reboot(machine: &mut Machine) {
    machine.user(&["forge", "spawn", "before", "--", "sleep", "1000"]).ok();
    machine.power_cut();
    let list = machine.user(&["forge", "--json", "list"]).ok().json();
    assert_eq!(list["sessions"], serde_json::json!([]), "what was running is not taken for running");
    let (begin, limit) = (std::time::Instant::now(), Duration::from_secs(20));
    machine.user(&["forge", "spawn", "before", "--", "sleep", "1000"]).ok();
    assert!(begin.elapsed() < limit);
    machine.user(&["forge", "stop", "before"]).ok();
}
