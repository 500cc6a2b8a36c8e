//! The clock is set a day forward and back: forge must not end, restart or wait for anything because of it. A
//! container shares the host's clock; a virtual machine has its own.

use crate::qemu::SET_CLOCK;
use crate::suite::{Test, inside};
use crate::support::{
    Supervised, configured, forge, forge_json, run, run_within, shell, signal, spawn, start, wait_until,
};
use serde_json::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(running_sessions_survive_a_clock_change),
        inside!(failures_count_by_the_time_that_passes),
        inside!(waits_end_in_time),
    ]
}

const DAY: i64 = 86_400;

/// Moves the clock by this many seconds.
#[track_caller]
fn set_clock(by: i64) {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs().cast_signed();
    let wanted = now() + by;
    std::fs::write(SET_CLOCK, format!("@{wanted}\n")).expect("the one who sets the clock");
    wait_until(Duration::from_secs(60), "the clock to be set", || now().abs_diff(wanted) < 3600);
}

/// How many records of this kind exist; journalctl's timestamps mean nothing here.
fn reported(event: &str) -> usize {
    run(&["journalctl", "-q", "-o", "cat", "-t", "forge", &format!("FORGE_EVENT={event}")])
        .stdout
        .lines()
        .count()
}

fn running_sessions_survive_a_clock_change() {
    let _configuration = configured(
        "[sessions.prints]\ncommand = ['sh', '-c', 'while :; do echo x; sleep 9; done']\n\
         stuck_after = 30\nstuck_restart_after = 31\nstuck_by = ['output']\n\
         [sessions.beats]\ncommand = ['sh', '-c', 'while :; do forge beat; sleep 5; done']\n\
         stuck_after = 30\nstuck_restart_after = 31\n",
    );
    let all = [Supervised::start("prints"), Supervised::start("beats")];
    let before = all.each_ref().map(Supervised::up);
    for by in [DAY, -2 * DAY, DAY] {
        set_clock(by);
        // forge checks each silence once meanwhile, at some moment of the 9 seconds.
        std::thread::sleep(Duration::from_secs(40));
        for (it, before) in all.iter().zip(&before) {
            let now = it.up();
            assert_eq!(now["pane_pid"], before["pane_pid"], "{}: another program after {by} s", it.name);
        }
    }
    assert_eq!((reported("stuck"), reported("crashed"), reported("restarted")), (0, 0, 0));
}

fn failures_count_by_the_time_that_passes() {
    let it = Supervised::spawn("fails", &[], &["sleep", "10000"]);
    for (by, failures) in [(DAY, 2), (-DAY, 2), (0, 1)] {
        for _ in 0..failures {
            let program = it.program();
            signal("KILL", program);
            wait_until(Duration::from_secs(200), "another run, or none any more", || {
                it.service("ActiveState") == "failed" || ![0, program].contains(&it.program())
            });
        }
        if by != 0 {
            it.up();
            set_clock(by);
        }
    }
    // Five failures within ten minutes, whatever the date was meanwhile.
    it.becomes("failed");
    assert_eq!(reported("breaker_open"), 1);
}

fn waits_end_in_time() {
    let _session = spawn("waited", &[], &["sleep", "90"]);
    let waiting = start(&["forge", "--json", "wait", "waited", "--exit", "--timeout", "300"]);
    let guarding = start(&["forge", "--json", "guard", "run", "--", "sleep", "20"]);
    for by in [DAY, -2 * DAY, DAY] {
        std::thread::sleep(Duration::from_secs(3));
        set_clock(by);
        let list = forge_json(&["list"]);
        assert_eq!(list["sessions"][0]["state"], "running", "{list}");
    }
    let report: Value = guarding.wait(Duration::from_secs(200)).ok().json();
    for entry in report["timeline"].as_array().expect("a timeline") {
        let after = entry["ms"].as_u64().expect("a time");
        assert!(after < 200_000, "{report}");
    }
    waiting.wait(Duration::from_secs(300)).ok();
    let (_session, spawned) = spawn("brief", &[], &["sleep", "1000"]);
    assert!(spawned["elapsed_ms"].as_u64().is_some_and(|elapsed| elapsed < 100_000), "{spawned}");
    run_within(Duration::from_secs(120), &["forge", "sweep"]).ok();
    assert_eq!(forge(&["probe"]).code, 0, "{}", shell("forge probe").stdout);
}
