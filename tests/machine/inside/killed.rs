//! The next forge cleans up after a forge that was killed at any step. These are the steps that
//! `faults::calls` does not try.

use crate::suite::{Test, inside};
use crate::support::{
    Homebase, Session, TestFile, forge, forge_json, nothing_left_of, run, shell, wait_until,
};
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(a_spawn_killed_where_dead_panes_are_kept).limit_s(600),
        inside!(an_interrupted_spawn_leaves_nothing),
    ]
}

/// System calls that send, create, remove or wait for something.
const CALLS: [&str; 14] = [
    "sendmsg",
    "recvmsg",
    "connect",
    "openat",
    "write",
    "read",
    "poll",
    "clone3",
    "unlinkat",
    "rename",
    "setxattr",
    "fcntl",
    "pidfd_open",
    "epoll_wait",
];

/// Runs forge with SIGKILL at the Nth of these calls; returns `false` if forge finished before that.
fn killed_at(call: &str, nth: u32, arguments: &[&str]) -> bool {
    let inject = format!("inject={call}:signal=KILL:when={nth}");
    let trace = format!("trace={call}");
    let strace = ["strace", "-qqq", "-o", "/dev/null", "-e", &trace, "-e", &inject, "forge"];
    run(&[&strace[..], arguments].concat()).code > 128
}

/// Asserts that no process waits behind a gate that nobody will open.
fn gates_are_gone() {
    wait_until(Duration::from_secs(10), "the processes behind the gates to end", || {
        run(&["pgrep", "-f", "forge.*gate-(server|pane)"]).code != 0
    });
}

/// After a kill, exactly one session has the name: the next spawn succeeds, or the first had finished.
fn next_spawn_succeeds(what: &str, homebase: &Homebase) {
    let before = forge(&["--json", "status", "cut"]);
    let next = forge(&["--json", "spawn", "cut", "--", "sleep", "2000"]);
    if next.code != 0 {
        assert_eq!(next.json()["error"]["kind"], "taken", "{what}: {next}");
        let whole = before.code == 0 && before.json()["state"] == "running";
        assert!(whole, "{what}: refused because of an incomplete file: {before} {next}");
    }
    let status = forge_json(&["status", "cut"]);
    assert_eq!(status["state"], "running", "{what}");
    let sleeping = run(&["pgrep", "-c", "-x", "-f", "sleep (1|2)000"]).stdout;
    assert_eq!(sleeping.trim(), "1", "{what}: one program alone");
    forge(&["stop", "cut"]).ok();
    nothing_left_of("cut");
    homebase.untouched();
}

fn a_spawn_killed_where_dead_panes_are_kept() {
    let _conf = TestFile::new(".tmux.conf", "set -g remain-on-exit on\nset -g exit-empty off\n");
    let arguments = ["spawn", "cut", "--ready", "up", "--", "sh", "-c", "echo up; exec sleep 1000"];
    let homebase = Homebase::start();
    let _session = Session("cut".into());
    let mut kills = 0;
    for call in CALLS {
        for nth in (1..).step_by(4) {
            if !killed_at(call, nth, &arguments) {
                forge(&["stop", "cut"]);
                break;
            }
            kills += 1;
            next_spawn_succeeds(&format!("killed at {call} {nth}"), &homebase);
        }
    }
    gates_are_gone();
    assert!(kills > 20, "only {kills} kills: the calls are not those that forge makes");
}

fn an_interrupted_spawn_leaves_nothing() {
    let homebase = Homebase::start();
    let _session = Session("cut".into());
    for delay in [5, 10, 15, 20, 30, 40, 60, 80] {
        let line = format!("timeout -s INT 0.0{delay:02} forge spawn cut -- sleep 1000");
        shell(&line);
        next_spawn_succeeds(&format!("interrupted after {delay} ms"), &homebase);
    }
    gates_are_gone();
}
