//! The watch over the guarded units: it records and reports disturbances, survives its own failures, and
//! freezes sessions.

use super::guarding::Production;
use crate::suite::{Test, inside};
use crate::support::{
    Session, TestFile, configured, event_since, events_since, forge, forge_json, journal_cursor, run, shell,
    signal, spawn, start, systemctl, user_unit_property, wait_for, wait_until,
};
use serde_json::Value;
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(each_disturbance_is_recorded_and_reported),
        inside!(events_while_the_watch_is_away_are_recorded),
        inside!(a_notice_is_not_lost_with_the_watch),
        inside!(the_watch_without_units_exits),
        inside!(a_new_configuration_is_read),
        inside!(sessions_that_yield_are_frozen_under_pressure).limit_s(240),
        inside!(a_watch_that_is_killed_leaves_nothing_frozen).limit_s(240),
    ]
}

const UNIT: &str = "forge-guard-watch.service";

/// The watch's service with this configuration; both end with the test.
struct Watch {
    _configuration: TestFile,
}

impl Watch {
    #[track_caller]
    fn start(configuration: &str) -> Self {
        let it = Self { _configuration: configured(configuration) };
        forge(&["units", "install"]).ok();
        systemctl(&["restart", UNIT]).ok();
        it
    }

    #[track_caller]
    fn pid() -> u32 {
        user_unit_property(UNIT, "MainPID").parse().expect("a pid")
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        systemctl(&["stop", UNIT]);
        systemctl(&["reset-failed", UNIT]);
    }
}

#[track_caller]
fn disturbances(cursor: &u128) -> Vec<Value> {
    events_since(cursor).into_iter().filter(|event| event["FORGE_EVENT"] == "guard_disturbed").collect()
}

/// Waits until the unit runs again and the watch has observed it.
#[track_caller]
fn until_disturbed(cursor: &u128, times: usize) -> Vec<Value> {
    wait_for(Duration::from_secs(30), "the disturbances", || {
        let found = disturbances(cursor);
        (found.len() >= times).then_some(found)
    })
}

fn each_disturbance_is_recorded_and_reported() {
    let web = Production::lasting("web");
    let _told = TestFile::new("reported", "");
    let _watch = Watch::start(
        "[guard]\nunits = ['web']\nsystem_units = ['dbus']\n[notify]\ncommand = ['sh', '-c', 'cat >> reported; echo >> reported']\n",
    );
    assert!(
        user_unit_property(UNIT, "StatusText").contains("web.service, dbus.service (system)"),
        "{}",
        user_unit_property(UNIT, "StatusText")
    );
    let (_session, _) = spawn("nearby", &[], &["sleep", "1000"]);
    let cursor = journal_cursor();
    for times in 1..=20 {
        web.is_up();
        signal("KILL", web.pid());
        until_disturbed(&cursor, times);
    }
    let event = &disturbances(&cursor)[0];
    assert_eq!(
        (&event["FORGE_UNIT"], &event["FORGE_SESSIONS"]),
        (&"web.service".into(), &"nearby".into()),
        "{event}"
    );
    assert!(event["FORGE_GUARD"].is_null(), "{event}");
    // The notice covers several disturbances at once.
    let reported = || std::fs::read_to_string("reported").expect("what was reported");
    wait_until(Duration::from_secs(30), "the notice", || reported().contains("web.service"));
    event_since(&cursor, "notified");
    let notice: Value = serde_json::from_str(reported().lines().next().expect("a notice")).expect("JSON");
    assert_eq!(notice["kind"], "disturbed");
    assert!(notice["text"].as_str().expect("a text").contains("sessions that ran: nearby"), "{notice}");
    // The record names the guarded command that ran.
    let cursor = journal_cursor();
    forge(&["guard", "run", "--", "sh", "-c", "systemctl --user restart web; sleep 1"]).code(100);
    let found = until_disturbed(&cursor, 2);
    let of_watch = found.iter().find(|event| event["FORGE_GUARD"].is_null()).expect("the watch's own");
    assert!(of_watch["FORGE_COMMANDS"].as_str().is_some_and(|ids| !ids.is_empty()), "{of_watch}");
}

fn events_while_the_watch_is_away_are_recorded() {
    let web = Production::lasting("web");
    let _watch = Watch::start("[guard]\nunits = ['web']\n");
    for round in 0..5 {
        let (cursor, watch) = (journal_cursor(), Watch::pid());
        web.is_up();
        // The watch is killed first, then the unit, before the next watch starts.
        shell(&format!("kill -9 {watch} {}", web.pid())).ok();
        until_disturbed(&cursor, 1);
        wait_until(Duration::from_secs(20), "another watch", || ![0, watch].contains(&Watch::pid()));
        assert_eq!(disturbances(&cursor).len(), 1, "round {round}");
        // systemd would refuse to start the watch this often.
        systemctl(&["reset-failed", UNIT]);
    }
    // After `systemctl stop`, the watch does not report events from the time in between.
    let cursor = journal_cursor();
    systemctl(&["stop", UNIT]).ok();
    systemctl(&["restart", "web"]).ok();
    systemctl(&["start", UNIT]).ok();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(disturbances(&cursor).len(), 0);
}

fn a_notice_is_not_lost_with_the_watch() {
    let web = Production::lasting("web");
    let _told = TestFile::new("reported", "");
    let _watch = Watch::start(
        "[guard]\nunits = ['web']\n[notify]\ncommand = ['sh', '-c', 'sleep 1; cat >> reported; echo >> reported']\n",
    );
    for (times, end) in [(1, "reload"), (2, "restart"), (3, "stop")] {
        web.is_up();
        let cursor = journal_cursor();
        signal("KILL", web.pid());
        until_disturbed(&cursor, 1);
        systemctl(&[end, UNIT]).ok();
        wait_until(Duration::from_secs(30), end, || {
            std::fs::read_to_string("reported").expect("what was reported").lines().count() >= times
        });
    }
}

fn the_watch_without_units_exits() {
    let _watch = Watch::start("[sweep]\n");
    wait_until(Duration::from_secs(20), "its end", || user_unit_property(UNIT, "ActiveState") == "inactive");
    assert_eq!(user_unit_property(UNIT, "Result"), "success");
}

fn a_new_configuration_is_read() {
    let _web = Production::lasting("web");
    let other = Production::lasting("other");
    let _watch = Watch::start("[guard]\nunits = ['web']\n");
    let (pid, cursor) = (Watch::pid(), journal_cursor());
    let _more = TestFile::new(".config/forge/forge.toml.d/more.toml", "[guard]\nunits = ['web', 'other']\n");
    systemctl(&["reload", UNIT]).ok();
    wait_until(Duration::from_secs(20), "the new configuration", || {
        user_unit_property(UNIT, "StatusText").contains("other.service")
    });
    assert_eq!(Watch::pid(), pid, "it is the same process");
    signal("KILL", other.pid());
    assert_eq!(until_disturbed(&cursor, 1)[0]["FORGE_UNIT"], "other.service");
    // An unusable configuration changes nothing.
    let _broken = TestFile::new(".config/forge/forge.toml.d/z.toml", "[guard]\nunits = 7\n");
    systemctl(&["reload", UNIT]).ok();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(user_unit_property(UNIT, "ActiveState"), "active");
    let cursor = journal_cursor();
    signal("KILL", other.pid());
    until_disturbed(&cursor, 1);
}

/// More loops than CPUs: each waits for its turn.
const BUSY: &str = "i=0; while [ $i -lt 4 ]; do (while :; do :; done) & i=$((i+1)); done; wait";

const YIELDS: &str = "[guard]\nunits = ['busy']\nfreeze_on_pressure = 20\n[sessions.gives]\ncommand = 'sleep 1000'\nyield = true\n\
    [sessions.starts]\ncommand = 'cat /tmp/starts.fifo'\nready = 'up'\nready_timeout = 120\nyield = true\n";

fn state(name: &str) -> String {
    forge_json(&["status", name])["state"].as_str().unwrap_or_default().to_owned()
}

fn sessions_that_yield_are_frozen_under_pressure() {
    let busy = Production::start("busy", &format!("ExecStart=/bin/sh -c '{BUSY}'"));
    let _watch = Watch::start(YIELDS);
    let (_gives, _) = spawn("gives", &[], &["sleep", "1000"]);
    let (_keeps, _) = spawn("keeps", &[], &["sleep", "1000"]);
    run(&["mkfifo", "/tmp/starts.fifo"]).ok();
    let _starts = Session("starts".into());
    let starting = start(&["forge", "spawn", "starts"]);
    wait_until(Duration::from_secs(20), "the start of one", || {
        forge(&["--json", "status", "starts"]).stdout.contains("starting")
    });
    let cursor = journal_cursor();
    wait_until(Duration::from_secs(60), "the freeze", || state("gives") == "frozen");
    assert_eq!((state("keeps"), state("starts")), ("running".to_owned(), "starting".to_owned()));
    let mut fifo = std::fs::OpenOptions::new().write(true).open("/tmp/starts.fifo").expect("its reader");
    std::io::Write::write_all(&mut fifo, b"up\n").expect("a word");
    starting.wait(Duration::from_secs(60)).ok();
    let event = event_since(&cursor, "frozen");
    assert_eq!(event["FORGE_SESSION"], "gives");
    assert!(event["FORGE_PRESSURE"].as_str().expect("percent").parse::<u64>().expect("a number") >= 20);
    // forge thaws the session when the pressure is over.
    systemctl(&["stop", &busy.unit]).ok();
    wait_until(Duration::from_secs(60), "the thaw", || state("gives") == "running");
    assert_eq!(event_since(&cursor, "thawed")["FORGE_SESSION"], "gives");
    // forge does not thaw a session that the user has frozen.
    forge(&["freeze", "keeps"]).ok();
    systemctl(&["restart", UNIT]).ok();
    assert_eq!(state("keeps"), "frozen");
}

fn a_watch_that_is_killed_leaves_nothing_frozen() {
    let _busy = Production::start("busy", &format!("ExecStart=/bin/sh -c '{BUSY}'"));
    let _watch = Watch::start(YIELDS);
    let (_gives, _) = spawn("gives", &[], &["sleep", "1000"]);
    for end in ["kill", "stop", "reload"] {
        wait_until(Duration::from_secs(60), "the freeze", || state("gives") == "frozen");
        let cursor = journal_cursor();
        match end {
            "kill" => signal("KILL", Watch::pid()),
            end => drop(systemctl(&[end, UNIT]).ok()),
        }
        event_since(&cursor, "thawed");
        systemctl(&["start", UNIT]).ok();
    }
}
