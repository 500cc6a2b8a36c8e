//! Stopping, beyond the ordinary: deadlines, unusual moments, remains, and the traces it leaves.

use crate::suite::{Debian, Test, inside};
use crate::support::{
    Session, TestFile, alive, cgroup_of, event_since, events_since, forge, forge_json, journal_cursor,
    nothing_left_of, processes_in, run, run_within, shell, socket, spawn, start, tmux, user_unit_property,
    wait_for, wait_until,
};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(a_daemon_that_is_nobodys_child_is_ended),
        inside!(an_immune_program_in_a_scope_of_its_own_is_ended).only(Debian::Trixie),
        inside!(what_ends_when_asked_is_not_killed),
        inside!(the_timeout_is_kept),
        inside!(killed_counts_what_the_manager_killed),
        inside!(a_session_that_is_starting_can_be_stopped),
        inside!(a_scope_that_was_frozen_by_hand_can_be_stopped),
        inside!(a_session_stops_itself_when_told_so_at_its_prompt),
        inside!(a_stop_leaves_no_unit_group_or_file),
        inside!(a_stop_tells_what_the_session_used),
        inside!(nothing_to_stop_is_told),
        inside!(all_and_a_pattern_end_the_same_way_from_inside),
        inside!(the_program_of_a_killed_server_never_runs_beside_a_new_one),
    ]
}

const IMMUNE: &str = "trap '' TERM HUP INT; while :; do sleep 1; done";
const SECONDS_5: Duration = Duration::from_secs(5);

fn pid(value: &Value) -> u32 {
    value.as_u64().expect("a pid").try_into().expect("a pid")
}

/// Fields 4 and 6 of `/proc/PID/stat`: the parent and the session.
fn parent_and_session(pid: u32) -> (u32, u32) {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    (fields[1].parse().expect("the parent"), fields[3].parse().expect("the session"))
}

fn a_daemon_that_is_nobodys_child_is_ended() {
    let _ = std::fs::remove_file("/tmp/daemon-pid");
    let text = format!("echo $$ >/tmp/daemon-pid; exec >/dev/null 2>&1 </dev/null; {IMMUNE}\n");
    let _script = TestFile::new("/tmp/daemon.sh", &text);
    let program = "setsid sh -c '(setsid sh /tmp/daemon.sh &)'; exec sleep 1000";
    let (_session, spawned) = spawn("daemonic", &[], &["sh", "-c", program]);
    let daemon: u32 = wait_for(SECONDS_5, "the daemon", || {
        std::fs::read_to_string("/tmp/daemon-pid").ok()?.trim().parse().ok()
    });
    wait_until(SECONDS_5, "its parents to end", || {
        let (parent, session) = parent_and_session(daemon);
        session == daemon && ![pid(&spawned["pane_pid"]), pid(&spawned["server_pid"])].contains(&parent)
    });
    assert!(cgroup_of(daemon).contains("/forge-daemonic.slice/"), "it is still the session's");
    let stopped = forge_json(&["stop", "daemonic", "--timeout", "1"]);
    assert!(stopped["stopped"][0]["killed"].as_u64().is_some_and(|killed| killed >= 1), "{stopped}");
    assert!(!alive(daemon));
    nothing_left_of("daemonic");
}

fn an_immune_program_in_a_scope_of_its_own_is_ended() {
    let (_session, spawned) = spawn("moved", &[], &["sh", "-c", IMMUNE]);
    let program = pid(&spawned["pane_pid"]);
    let group = cgroup_of(program);
    let scope = group.rsplit('/').next().expect("a name").to_owned();
    assert!(scope.starts_with("tmux-spawn-"), "{group}");
    let begin = Instant::now();
    forge(&["stop", "moved", "--timeout", "1"]).ok();
    assert!(begin.elapsed() < SECONDS_5, "and not after the scope's own 90 s");
    assert!(!alive(program));
    wait_until(SECONDS_5, "the pane's scope to go", || {
        user_unit_property(&scope, "ActiveState") == "inactive"
    });
    nothing_left_of("moved");
}

fn what_ends_when_asked_is_not_killed() {
    let program = "trap '' HUP; trap 'sleep 1.5; echo over >/tmp/tidied; exit 0' TERM; echo up; while :; do sleep 0.1; done";
    let _ = std::fs::remove_file("/tmp/tidied");
    let (_session, _) = spawn("tidy", &["--ready", "up"], &["sh", "-c", program]);
    let stopped = forge_json(&["stop", "tidy", "--timeout", "10"]);
    let one = &stopped["stopped"][0];
    assert_eq!(one["killed"], 0, "{stopped}");
    assert!((1400..8000).contains(&one["elapsed_ms"].as_u64().expect("a time")), "{stopped}");
    assert_eq!(std::fs::read_to_string("/tmp/tidied").expect("it was let finish"), "over\n");
    nothing_left_of("tidy");
}

fn the_timeout_is_kept() {
    let (_session, _) = spawn("deadline", &[], &["sh", "-c", &format!("sleep 1000 & {IMMUNE}")]);
    let stopped = forge_json(&["stop", "deadline", "--timeout", "2"]);
    let one = &stopped["stopped"][0];
    assert!((1900..4500).contains(&one["elapsed_ms"].as_u64().expect("a time")), "{stopped}");
    let count = |key: &str| one[key].as_u64().expect("a count");
    assert!(count("killed") >= 1 && count("killed") < count("processes"), "only the immune ones: {stopped}");
    nothing_left_of("deadline");
    let (_session, _) = spawn("deadline", &[], &["sh", "-c", IMMUNE]);
    let stopped = forge_json(&["stop", "deadline", "--timeout", "0"]);
    assert!(stopped["stopped"][0]["elapsed_ms"].as_u64().is_some_and(|ms| ms < 1500), "{stopped}");
    nothing_left_of("deadline");
}

/// The manager has a deadline of its own for a scope; a longer one of forge's hides nothing.
fn killed_counts_what_the_manager_killed() {
    let (_session, spawned) = spawn("patient", &[], &["sh", "-c", "sleep 1000"]);
    let scope = cgroup_of(pid(&spawned["server_pid"]));
    let _script = TestFile::new("/tmp/immune.sh", &format!("echo $$ >/tmp/immune-pid; {IMMUNE}\n"));
    let _ = std::fs::remove_file("/tmp/immune-pid");
    // What the server itself runs is in its scope on every release.
    tmux("spawn-patient", &["run-shell", "-b", "exec sh /tmp/immune.sh"]).ok();
    let immune: u32 = wait_for(SECONDS_5, "the immune process", || {
        std::fs::read_to_string("/tmp/immune-pid").ok()?.trim().parse().ok()
    });
    assert_eq!(cgroup_of(immune), scope);
    let stopped =
        run_within(Duration::from_secs(60), &["forge", "--json", "stop", "patient", "--timeout", "25"]);
    let stopped = stopped.ok().json();
    assert!(!alive(immune));
    assert!(stopped["stopped"][0]["killed"].as_u64().is_some_and(|killed| killed >= 1), "{stopped}");
    nothing_left_of("patient");
}

fn a_session_that_is_starting_can_be_stopped() {
    for round in 0..5 {
        let cursor = journal_cursor();
        let arguments =
            ["--ready", "never", "--ready-timeout", "30", "--", "sh", "-c", "echo up; sleep 1000"];
        let spawning = start(&[&["forge", "--json", "spawn", "halfway"], &arguments[..]].concat());
        let _session = Session("halfway".into());
        let state = || forge(&["--json", "status", "halfway"]);
        wait_until(SECONDS_5, "the start", || state().code == 0 && state().json()["tasks"] == 3);
        assert_eq!(state().json()["state"], "starting");
        forge(&["stop", "halfway"]).ok();
        let ran = spawning.wait(Duration::from_secs(20));
        assert_ne!(ran.code, 0, "round {round}: {ran}");
        nothing_left_of("halfway");
        let events = events_since(&cursor);
        assert!(
            !events.iter().any(|event| event["FORGE_EVENT"] == "spawn_retried"),
            "round {round}: it was meant to end: {ran}"
        );
    }
}

fn a_scope_that_was_frozen_by_hand_can_be_stopped() {
    let (_session, spawned) = spawn("iced", &[], &["sleep", "1000"]);
    run(&["systemctl", "--user", "freeze", "forge-spawn-iced.scope"]).ok();
    let begin = Instant::now();
    forge(&["stop", "iced", "--timeout", "2"]).ok();
    assert!(begin.elapsed() < Duration::from_secs(15));
    assert!(!alive(pid(&spawned["server_pid"])) && !alive(pid(&spawned["pane_pid"])));
    nothing_left_of("iced");
}

fn a_session_stops_itself_when_told_so_at_its_prompt() {
    let (_session, spawned) = spawn("prompted", &["--ready", "\\$ $"], &["sh"]);
    forge(&["send", "prompted", "forge --json stop prompted >/tmp/own-end 2>&1"]);
    wait_until(Duration::from_secs(15), "the session to go", || forge(&["status", "prompted"]).code == 1);
    let said = wait_for(SECONDS_5, "what the stop said", || {
        serde_json::from_str::<Value>(&std::fs::read_to_string("/tmp/own-end").ok()?).ok()
    });
    assert_eq!(said["stopped"][0]["session"], "prompted");
    assert!(!alive(pid(&spawned["pane_pid"])));
    nothing_left_of("prompted");
    wait_until(SECONDS_5, "the scope that it moved to", || {
        shell("systemctl --user list-units --all --no-legend 'forge-outside-*'").stdout.is_empty()
    });
}

fn a_stop_leaves_no_unit_group_or_file() {
    let (_session, spawned) =
        spawn("trace-less", &[], &["sh", "-c", "sleep 1000 & setsid sleep 1000 & wait"]);
    let group = cgroup_of(pid(&spawned["server_pid"]));
    let slice = group.rsplit_once('/').expect("a path").0.to_owned();
    wait_until(SECONDS_5, "its processes", || processes_in(&slice).len() >= 4);
    let file = Path::new(".local/state/forge/sessions/trace-less.json");
    assert!(file.exists(), "there while it runs");
    let folder = Path::new("/sys/fs/cgroup").join(slice.trim_start_matches('/'));
    assert!(folder.is_dir());
    forge(&["stop", "trace-less"]).ok();
    // At once, without a wait: a stop returns when all is gone.
    assert_eq!(processes_in(&slice), Vec::<u32>::new());
    assert!(
        !file.exists() && !socket("spawn-trace-less").exists() && !socket("spawn-trace-less.lock").exists()
    );
    wait_until(SECONDS_5, "its group to go", || !folder.exists());
    nothing_left_of("trace-less");
    for pattern in ["forge-spawn-*", "forge-trace*.slice", "tmux-spawn-*"] {
        let units = run(&["systemctl", "--user", "list-units", "--all", "--no-legend", pattern]).ok();
        assert_eq!(units.stdout, "", "units {pattern}");
    }
}

fn a_stop_tells_what_the_session_used() {
    let burn = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo done; sleep 1000";
    let (_session, _) = spawn("burner", &["--ready", "done"], &["sh", "-c", burn]);
    let used = forge_json(&["status", "burner"])["cpu_usec"].as_u64().expect("CPU time");
    let cursor = journal_cursor();
    let stopped = forge_json(&["stop", "burner"]);
    let event = event_since(&cursor, "stopped");
    let number = |field: &str| -> u64 {
        let text = event[field].as_str().unwrap_or_else(|| panic!("{field} in {event}"));
        text.parse().expect("a number")
    };
    assert!(used > 10_000 && number("FORGE_CPU_USEC") >= used, "{used}: {event}");
    assert!(number("FORGE_DURATION_USEC") > used / 2, "{event}");
    assert_eq!(json!(number("FORGE_PROCESSES")), stopped["stopped"][0]["processes"]);
    assert_eq!(json!(number("FORGE_KILLED")), stopped["stopped"][0]["killed"]);
    assert_eq!(event["FORGE_SESSION"], "burner");
}

fn nothing_to_stop_is_told() {
    for pattern in ["nobody", "nobody-*"] {
        let ran = forge(&["--json", "stop", pattern]).code(1);
        assert_eq!(ran.json()["error"]["kind"], "no_session", "{ran}");
        assert!(ran.json()["error"]["hint"].is_string() && ran.stderr.contains("\nhint: "), "{ran}");
    }
    assert_eq!(forge_json(&["stop", "--all"]), json!({ "stopped": [] }));
    // One that is there beside one that is not: nothing is done by halves.
    let (_session, spawned) = spawn("somebody", &[], &["sleep", "1000"]);
    forge(&["stop", "somebody", "nobody"]).code(1);
    assert!(alive(pid(&spawned["pane_pid"])));
}

fn all_and_a_pattern_end_the_same_way_from_inside() {
    let names = ["inner-1", "inner-2", "inner-3"];
    let sessions = names.map(|name| {
        let program =
            if name == "inner-2" { "sleep 0.5; forge stop 'inner-*'; sleep 1000" } else { "sleep 1000" };
        spawn(name, &[], &["sh", "-c", program]).0
    });
    wait_until(Duration::from_secs(15), "all three to go", || {
        forge_json(&["list", "inner-*"])["sessions"] == json!([])
    });
    for name in names {
        nothing_left_of(name);
    }
    drop(sessions);
}

fn the_program_of_a_killed_server_never_runs_beside_a_new_one() {
    let (_session, first) = spawn("orphaned", &[], &["sh", "-c", IMMUNE]);
    let (old, server) = (pid(&first["pane_pid"]), pid(&first["server_pid"]));
    run(&["kill", "-9", &server.to_string()]).ok();
    wait_until(SECONDS_5, "the end of the server", || !alive(server));
    assert!(alive(old), "it ignores the hang-up");
    let shown = forge_json(&["status", "orphaned"]);
    assert_eq!((&shown["server_pid"], &shown["pane_pid"]), (&Value::Null, &json!(old)), "{shown}");
    assert_eq!(shown["state"], "dead", "nobody can attach to it any more: {shown}");
    let second = forge_json(&["spawn", "orphaned", "--", "sleep", "1000"]);
    assert!(!alive(old), "ended first");
    let now = forge_json(&["list", "orphaned"]);
    assert_eq!(
        (&now["sessions"][0]["pane_pid"], &now["sessions"][0]["tasks"]),
        (&second["pane_pid"], &json!(2))
    );
    forge(&["stop", "orphaned"]).ok();
    nothing_left_of("orphaned");
}
