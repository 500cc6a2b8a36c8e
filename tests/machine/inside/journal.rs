//! The audit log to the last field: no record has less than its kind says, and none has more.

use crate::suite::{Test, inside};
use crate::support::{
    Session, TestFile, event_since, events_since, forge, forge_json, journal, journal_cursor,
    nothing_left_of, run, socket, spawn, wait_until,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(each_kind_has_its_fields_and_no_others),
        inside!(each_kind_is_found_by_the_supervisors_unit),
        inside!(an_event_of_one_session_is_told_once),
        inside!(secrets_are_in_no_record),
        inside!(without_a_journal_events_go_to_stderr),
    ]
}

const USED: &str = "FORGE_CPU_USEC FORGE_DURATION_USEC";

/// The kinds, how loud each is, and its fields beside FORGE_EVENT.
const KINDS: [(&str, &str, &str); 13] = [
    (
        "spawned",
        "6",
        "FORGE_SESSION FORGE_PROGRAM FORGE_SOCKET FORGE_SLICE FORGE_SCOPE FORGE_SERVER_PID FORGE_PANE_PID \
         FORGE_ATTEMPTS FORGE_SWEPT FORGE_ELAPSED_MS",
    ),
    ("spawn_retried", "4", "FORGE_SESSION FORGE_ERROR"),
    ("spawn_failed", "3", "FORGE_SESSION FORGE_KIND FORGE_ERROR"),
    ("ready", "6", "FORGE_SESSION FORGE_ELAPSED_MS"),
    ("stopped", "6", "FORGE_SESSION FORGE_PROCESSES FORGE_KILLED FORGE_ELAPSED_MS USED"),
    ("exited", "6", "FORGE_SESSION FORGE_RESULT FORGE_EXIT_STATUS USED"),
    ("crashed", "3", "FORGE_SESSION FORGE_RESULT FORGE_SIGNAL USED"),
    ("restarted", "6", "FORGE_SESSION"),
    ("swept", "6", "FORGE_SESSION FORGE_SOCKET"),
    ("sweep_done", "6", "FORGE_SCANNED FORGE_REMOVED FORGE_LIVE FORGE_UNRESPONSIVE FORGE_ELAPSED_MS"),
    ("socket_healed", "4", "FORGE_SESSION FORGE_SOCKET"),
    ("frozen", "6", "FORGE_SESSION"),
    ("thawed", "6", "FORGE_SESSION"),
];

/// Makes one event of each kind, all about the session `name`.
#[track_caller]
fn everything_happens_to(name: &str) {
    // A first start of a server that meets a socket error.
    let script = "#!/bin/sh\ncase \" $* \" in *' new-session '*) if mkdir /tmp/journal-shim/once 2>/dev/null; then\n\
                  echo 'server exited unexpectedly' >&2; exit 1; fi;; esac\nexec /usr/bin/tmux \"$@\"\n";
    let _ = std::fs::remove_dir_all("/tmp/journal-shim");
    let _tmux = TestFile::new("/tmp/journal-shim/tmux", script);
    run(&["chmod", "755", "/tmp/journal-shim/tmux"]).ok();
    let _session = Session(name.to_owned());
    let socket = socket(&format!("spawn-{name}"));
    run(&["mkdir", "-p", "-m", "700", "/tmp/tmux-1000"]).ok();
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("a dead socket"));
    let path = "PATH=/tmp/journal-shim:/usr/bin:/bin";
    let spawn = ["forge", "spawn", name, "--ready", "up", "--", "sh", "-c", "echo up; sleep 1000"];
    run(&[&["env", path], &spawn[..]].concat()).ok();
    std::fs::remove_file(&socket).expect("its socket");
    forge(&["sweep"]).ok();
    for verb in ["freeze", "thaw", "restart", "stop"] {
        forge(&[verb, name]).ok();
    }
    forge(&["spawn", name, "--", "no-such-program"]).code(1);
    for end in ["exit 0", "kill -SEGV $$"] {
        forge(&["spawn", name, "--", "sh", "-c", &format!("sleep 0.3; {end}")]).ok();
        forge(&["wait", name, "--exit", "--timeout", "20"]).ok();
        wait_until(Duration::from_secs(10), "the name", || forge(&["status", name]).code == 1);
    }
    nothing_left_of(name);
}

fn each_kind_has_its_fields_and_no_others() {
    let cursor = journal_cursor();
    everything_happens_to("all-kinds");
    event_since(&cursor, "crashed");
    let events = events_since(&cursor);
    for (kind, priority, fields) in KINDS {
        let fields = fields.replace("USED", USED);
        let mut wanted: BTreeSet<&str> = fields.split_whitespace().collect();
        wanted.insert("FORGE_EVENT");
        let event = events.iter().find(|event| event["FORGE_EVENT"] == kind);
        let event = event.unwrap_or_else(|| panic!("no record of {kind}"));
        let has: BTreeSet<&str> = event
            .as_object()
            .expect("a record")
            .keys()
            .map(String::as_str)
            // Where the kernel counts memory.
            .filter(|field| field.starts_with("FORGE_") && *field != "FORGE_MEMORY_PEAK")
            .collect();
        assert_eq!(has, wanted, "{kind}");
        let id = forge::words::event::KINDS.iter().find(|known| known.0 == kind).expect("a known kind").1;
        let head = json!([event["PRIORITY"], event["MESSAGE_ID"], event["SYSLOG_IDENTIFIER"]]);
        assert_eq!(head, json!([priority, id, "forge"]), "{kind}");
        assert!(
            event["MESSAGE"].as_str().is_some_and(|text| text.len() > 5 && !text.contains('\n')),
            "{event}"
        );
        for field in wanted {
            assert!(event[field].as_str().is_some_and(|text| !text.is_empty()), "{field} of {kind}: {event}");
        }
    }
    let known: BTreeSet<&str> = forge::words::event::KINDS.iter().map(|kind| kind.0).collect();
    assert_eq!(known, KINDS.iter().map(|kind| kind.0).collect(), "a kind that this test does not know");
    let of = |kind: &str| events.iter().find(|event| event["FORGE_EVENT"] == kind).expect("it");
    assert_eq!(of("crashed")["FORGE_SIGNAL"], "11");
    assert_eq!(of("exited")["FORGE_EXIT_STATUS"], "0");
    assert_eq!((&of("spawned")["FORGE_ATTEMPTS"], &of("spawned")["FORGE_SWEPT"]), (&json!("2"), &json!("1")));
    assert_eq!(of("spawned")["FORGE_SLICE"], "forge-all\\x2dkinds.slice");
}

fn each_kind_is_found_by_the_supervisors_unit() {
    everything_happens_to("by-unit");
    let wanted: BTreeSet<&str> =
        KINDS.iter().map(|kind| kind.0).filter(|kind| *kind != "sweep_done").collect();
    let mut seen = BTreeSet::new();
    wait_until(Duration::from_secs(10), "all kinds", || {
        seen = journal(&["-u", "forge-spawn@by-unit"])
            .iter()
            .filter(|event| event["SYSLOG_IDENTIFIER"] == "forge")
            .map(|event| event["FORGE_EVENT"].as_str().unwrap_or_default().to_owned())
            .collect::<BTreeSet<String>>();
        wanted.iter().all(|kind| seen.contains(*kind))
    });
    let others = journal(&["-u", "forge-spawn@by-unit"]);
    assert!(others.iter().all(|event| event["FORGE_SESSION"] == "by-unit"), "and of no other session");
}

fn an_event_of_one_session_is_told_once() {
    let cursor = journal_cursor();
    let (session, _) = spawn("once", &[], &["sh", "-c", "sleep 0.3; exit 9"]);
    forge(&["wait", "once", "--exit", "--timeout", "20"]).ok();
    wait_until(Duration::from_secs(10), "the end", || forge(&["status", "once"]).code == 1);
    drop(session);
    let (session, _) = spawn("twice", &[], &["sleep", "1000"]);
    drop(session);
    event_since(&cursor, "stopped");
    let events = events_since(&cursor);
    let kinds = |session: &str| -> Vec<&str> {
        let own = events.iter().filter(|event| event["FORGE_SESSION"] == session);
        own.filter_map(|event| event["FORGE_EVENT"].as_str()).collect()
    };
    assert_eq!(kinds("once"), ["spawned", "crashed"]);
    assert_eq!(kinds("twice"), ["spawned", "stopped"]);
}

fn secrets_are_in_no_record() {
    let cursor = journal_cursor();
    let options = ["--env", "TOKEN=hidden-1"];
    let (_session, _) = spawn("secretive", &options, &["sh", "-c", "sleep 1000", "hidden-2"]);
    forge(&["send", "secretive", "hidden-3"]).ok();
    forge(&["restart", "secretive"]).ok();
    forge(&["stop", "secretive"]).ok();
    event_since(&cursor, "stopped");
    let told: Vec<Value> =
        events_since(&cursor).into_iter().filter(|event| event.to_string().contains("hidden")).collect();
    // What the kernel itself says of the process that wrote the record is not forge's to choose.
    for mut event in told {
        event.as_object_mut().expect("a record").remove("_CMDLINE");
        assert!(!event.to_string().contains("hidden"), "{event}");
    }
}

fn without_a_journal_events_go_to_stderr() {
    // In a mount namespace of its own the journal's sockets are not there, for the same user.
    let hidden = "mount -t tmpfs none /run/systemd/journal && \
                  exec unshare --user --map-user=1000 --map-group=1000 -- \"$@\"";
    let deaf = |arguments: &[&str]| {
        let unshare = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", hidden, "sh"];
        run(&[&unshare[..], &["forge", "--json"], arguments].concat())
    };
    let cursor = journal_cursor();
    let _session = Session("unheard".into());
    let spawned = deaf(&["spawn", "unheard", "--ready", "up", "--", "sh", "-c", "echo up; sleep 1000"]).ok();
    assert_eq!(spawned.json()["ready"], true, "stdout is JSON alone");
    for text in ["unheard is ready after", "spawned unheard: sh"] {
        assert!(spawned.stderr.contains(text), "{spawned}");
    }
    assert_eq!(forge_json(&["status", "unheard"])["state"], "running");
    for (verb, text) in
        [("freeze", "froze unheard"), ("thaw", "thawed unheard"), ("stop", "stopped unheard: ")]
    {
        let ran = deaf(&[verb, "unheard"]).ok();
        assert!(ran.stderr.contains(text), "{ran}");
    }
    nothing_left_of("unheard");
    let swept = deaf(&["sweep"]).ok();
    assert!(swept.stderr.contains("sweep done: "), "{swept}");
    let ran = deaf(&["stop", "unheard"]).code(1);
    assert_eq!(ran.json()["error"]["kind"], "no_session", "{ran}");
    assert!(events_since(&cursor).is_empty(), "the journal heard nothing");
}
