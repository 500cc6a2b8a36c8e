//! The records of events: each kind of event, with its fields, read back from the journal.

use super::guarding::Production;
use crate::suite::{Test, inside};
use crate::support::{
    Session, dead_socket, event_since, forge, forge_json, journal, journal_cursor, run, shell, socket, spawn,
    wait_until,
};
use serde_json::Value;
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(each_event_has_its_fields),
        inside!(guarded_commands_are_in_it),
        inside!(the_supervisors_unit_shows_them_too),
        inside!(logs_shows_one_session),
        inside!(without_a_journal_the_work_goes_on),
    ]
}

/// Asserts that a record has the common fields and those of its kind, and that numbers are numbers.
#[track_caller]
fn has(event: &Value, priority: &str, texts: &[&str], numbers: &[&str]) {
    let word = event["FORGE_EVENT"].as_str().expect("a kind");
    let id = forge::model::event::KINDS.iter().find(|kind| kind.0 == word).expect("a known kind").1;
    assert_eq!((&event["MESSAGE_ID"], &event["PRIORITY"]), (&id.into(), &priority.into()), "{event}");
    assert_eq!(event["SYSLOG_IDENTIFIER"], "forge");
    for field in [&["MESSAGE"], texts].concat() {
        assert!(event[field].as_str().is_some_and(|text| !text.is_empty()), "{field} of {word}: {event}");
    }
    for field in numbers {
        assert!(
            event[field].as_str().is_some_and(|text| text.parse::<u64>().is_ok()),
            "{field} of {word}: {event}"
        );
    }
    if let Some(session) = event["FORGE_SESSION"].as_str() {
        assert_eq!(event["USER_UNIT"], format!("forge-spawn@{session}.service"));
    }
}

fn each_event_has_its_fields() {
    let cursor = journal_cursor();
    let event = |kind: &str| event_since(&cursor, kind);
    dead_socket("old");
    let (_session, _) = spawn("audited", &["--ready", "up"], &["sh", "-c", "echo up; sleep 1000"]);
    has(
        &event("spawned"),
        "6",
        &["FORGE_SESSION", "FORGE_PROGRAM", "FORGE_SOCKET", "FORGE_SLICE", "FORGE_SCOPE"],
        &["FORGE_SERVER_PID", "FORGE_PANE_PID", "FORGE_ATTEMPTS", "FORGE_SWEPT", "FORGE_ELAPSED_MS"],
    );
    has(&event("ready"), "6", &["FORGE_SESSION"], &["FORGE_ELAPSED_MS"]);
    has(&event("swept"), "6", &["FORGE_SOCKET"], &[]);
    let numbers = ["FORGE_SCANNED", "FORGE_REMOVED", "FORGE_LIVE", "FORGE_UNRESPONSIVE", "FORGE_ELAPSED_MS"];
    has(&event("sweep_done"), "6", &[], &numbers);
    forge(&["freeze", "audited"]).ok();
    has(&event("frozen"), "6", &["FORGE_SESSION"], &[]);
    forge(&["thaw", "audited"]).ok();
    has(&event("thawed"), "6", &["FORGE_SESSION"], &[]);
    std::fs::remove_file(socket("spawn-audited")).expect("the socket");
    forge(&["sweep"]).ok();
    has(&event("socket_healed"), "4", &["FORGE_SESSION", "FORGE_SOCKET"], &[]);
    forge(&["restart", "audited"]).ok();
    has(&event("restarted"), "6", &["FORGE_SESSION"], &[]);
    forge(&["stop", "audited"]).ok();
    let used = ["FORGE_CPU_USEC", "FORGE_DURATION_USEC"];
    has(
        &event("stopped"),
        "6",
        &["FORGE_SESSION"],
        &[&used[..], &["FORGE_PROCESSES", "FORGE_KILLED"]].concat(),
    );
    forge(&["spawn", "audited", "--", "no-such-program"]).code(1);
    has(&event("spawn_failed"), "3", &["FORGE_SESSION", "FORGE_KIND", "FORGE_ERROR"], &[]);
    for (program, kind, priority, field) in [
        ("sleep 0.5", "exited", "6", "FORGE_EXIT_STATUS"),
        ("sleep 0.5; kill -9 $$", "crashed", "3", "FORGE_SIGNAL"),
    ] {
        let (_session, _) = spawn("ended", &[], &["sh", "-c", program]);
        forge(&["wait", "ended", "--exit", "--timeout", "20"]).ok();
        let event = event(kind);
        has(&event, priority, &["FORGE_SESSION", "FORGE_RESULT"], &[&used[..], &[field]].concat());
    }
}

fn guarded_commands_are_in_it() {
    let web = Production::lasting("web");
    let cursor = journal_cursor();
    let event = |kind: &str| event_since(&cursor, kind);
    let guard = ["guard", "run", "--unit", &web.unit, "--deny-listen", "--"];
    let listens = "import socket, time\ns = socket.socket()\ns.listen()\ntime.sleep(20)";
    forge(&[&guard[..], &["python3", "-c", listens]].concat()).code(101);
    has(
        &event("guard_started"),
        "6",
        &["FORGE_GUARD", "FORGE_PROGRAM", "FORGE_UNITS", "FORGE_DENY_LISTEN"],
        &[],
    );
    has(&event("guard_listen"), "3", &["FORGE_GUARD", "FORGE_ADDRESS", "FORGE_PROCESS"], &["FORGE_PID"]);
    let numbers = ["FORGE_EXIT_STATUS", "FORGE_ELAPSED_MS"];
    let texts = ["FORGE_GUARD", "FORGE_PROGRAM", "FORGE_VERDICT", "FORGE_RESULT"];
    has(&event("guard_finished"), "6", &texts, &numbers);
    forge(&[&guard[..], &["systemctl", "--user", "restart", "web"]].concat()).code(100);
    let texts = ["FORGE_GUARD", "FORGE_UNIT", "FORGE_MANAGER", "FORGE_CHANGE", "FORGE_RESULT"];
    has(&event("guard_disturbed"), "3", &texts, &["FORGE_PID_BEFORE", "FORGE_PID_AFTER"]);
    forge(&["guard", "run", "--refuse-if-active", "web", "--", "true"]).code(125);
    has(&event("guard_refused"), "4", &["FORGE_PROGRAM", "FORGE_ERROR"], &[]);
}

fn the_supervisors_unit_shows_them_too() {
    let (_session, _) = spawn("unit-wise", &[], &["sleep", "1000"]);
    wait_until(Duration::from_secs(10), "the record under the unit's name", || {
        journal(&["-u", "forge-spawn@unit-wise"]).iter().any(|entry| entry["FORGE_EVENT"] == "spawned")
    });
}

fn logs_shows_one_session() {
    let (_one, _) = spawn("logged-1", &[], &["sleep", "1000"]);
    let (_two, _) = spawn("logged-2", &[], &["sleep", "1000"]);
    wait_until(Duration::from_secs(10), "the record", || {
        forge(&["logs", "logged-1"]).ok().stdout.contains("spawned logged-1")
    });
    assert!(!forge(&["logs", "logged-1"]).ok().stdout.contains("logged-2"));
    let lines = forge(&["--json", "logs", "logged-2"]).ok().stdout;
    let record: Value = serde_json::from_str(lines.lines().last().expect("a line")).expect("JSON");
    assert_eq!(record["FORGE_SESSION"], "logged-2");
}

fn without_a_journal_the_work_goes_on() {
    // A mount namespace without the journal's socket; the bus and the user stay.
    let _session = Session("unheard".into());
    let hidden = "mount -t tmpfs none /run/systemd/journal && exec setpriv --reuid=$0 forge spawn unheard -- sleep 1000";
    let ran = run(&["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", "true"]);
    assert_eq!(ran.code, 0, "user namespaces are needed here: {ran}");
    let ran = run(&[
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        &hidden.replace("setpriv --reuid=$0 ", ""),
    ]);
    // In that namespace forge appears as root and the bus refuses it. forge reports that, and prints the
    // record that the journal would have received.
    assert!(ran.stderr.contains("forge: ") && !ran.stderr.contains("panicked"), "{ran}");
    assert_eq!(
        forge_json(&["list", "unheard"])["sessions"].as_array().expect("sessions").len(),
        usize::from(ran.code == 0)
    );
    let dead = dead_socket("unheard-1");
    let sweep = format!(
        "mount -t tmpfs none /run/systemd/journal && forge sweep --dir {}",
        dead.parent().expect("it").display()
    );
    let ran = run(&["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", &sweep]).ok();
    assert!(ran.stderr.contains("removed dead socket"), "the event goes to stderr: {ran}");
    assert!(!dead.exists());
    shell("true").ok();
}
