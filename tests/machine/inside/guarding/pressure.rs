//! `--freeze-on-pressure` freezes the command and thaws it again.

use super::{Production, nothing_left_of_guards, pid_of};
use crate::suite::{Test, inside};
use crate::support::{
    events_since, journal_cursor, signal, start, systemctl, user_unit_property, wait_for, wait_until,
};
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    vec![inside!(pressure_freezes_and_thaws).limit_s(240)]
}

pub(crate) fn pressure_freezes_and_thaws() {
    // More loops than CPUs: each waits for its turn.
    let loops = "i=0; while [ $i -lt 4 ]; do (while :; do :; done) & i=$((i+1)); done; wait";
    let _busy = Production::start("busy", &format!("ExecStart=/bin/sh -c '{loops}'"));
    let cursor = journal_cursor();
    let options = ["--unit", "busy", "--freeze-on-pressure", "20"];
    let argv = [&["forge", "--json", "guard", "run"], &options[..], &["--", "sh", "-c", loops]].concat();
    let running = start(&argv);
    let frozen = wait_for(Duration::from_secs(60), "the freeze", || {
        events_since(&cursor).into_iter().find(|event| event["FORGE_EVENT"] == "frozen")
    });
    let id = frozen["FORGE_GUARD"].as_str().expect("an id").to_owned();
    assert!(frozen["FORGE_PRESSURE"].as_str().expect("percent").parse::<u64>().expect("a number") >= 20);
    let slice = format!("forge-guard-{id}.slice");
    let group = user_unit_property(&slice, "ControlGroup");
    let is_frozen = || {
        std::fs::read_to_string(format!("/sys/fs/cgroup{group}/cgroup.events"))
            .is_ok_and(|text| text.contains("frozen 1"))
    };
    assert!(is_frozen());
    // forge respects a thaw by the user.
    systemctl(&["thaw", &slice]).ok();
    std::thread::sleep(Duration::from_secs(8));
    assert!(!is_frozen(), "it is left running for a while");
    wait_until(Duration::from_secs(60), "the next freeze", is_frozen);
    // Without pressure the command runs again.
    systemctl(&["stop", "busy"]).ok();
    wait_until(Duration::from_secs(60), "the thaw", || !is_frozen());
    // A signal reaches the command, frozen or not.
    signal("TERM", pid_of(&id));
    let report = running.wait(Duration::from_secs(30)).code(100).json();
    assert_eq!(report["signal"], 15);
    assert!(
        report["frozen_times"].as_u64() >= Some(2) && report["frozen_ms"].as_u64() >= Some(1000),
        "{report}"
    );
    assert!(report["pressure"]["units"]["cpu"].as_u64() >= Some(20), "{report}");
    nothing_left_of_guards();
}
