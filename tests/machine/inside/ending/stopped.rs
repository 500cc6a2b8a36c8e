//! `forge stop` ends every process of a session.

use super::IMMUNE;
use crate::suite::{Test, inside};
use crate::support::{
    Homebase, Session, TestFile, alive, event_since, forge, forge_json, journal_cursor, nothing_left_of,
    processes_in, run, shell, slice_of, socket, spawn, start, user_unit_property, wait_until,
};
use serde_json::Value;
use std::time::{Duration, Instant};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(an_immune_daemonised_child_does_not_survive),
        inside!(a_tree_of_two_hundred_is_ended),
        inside!(only_matching_sessions_are_stopped),
        inside!(frozen_and_wedged_sessions_can_be_stopped),
        inside!(a_session_killed_while_frozen_frees_its_name),
        inside!(freeze_and_thaw_work_during_daemon_reload),
        inside!(a_session_can_stop_itself),
        inside!(a_starting_session_can_be_stopped),
        inside!(two_simultaneous_stops_both_succeed),
        inside!(remains_of_a_session_are_ended_before_a_respawn),
        inside!(a_restore_skips_sessions_that_are_being_stopped),
        inside!(a_session_started_while_it_is_forgotten_is_stopped),
        inside!(a_spawn_stopped_before_tmux_runs_is_not_retried),
        inside!(a_spawn_stopped_before_its_file_is_written_is_not_retried),
        inside!(one_session_that_cannot_be_stopped_does_not_block_the_others),
    ]
}

fn pid(value: &Value) -> u32 {
    value.as_u64().expect("a pid").try_into().expect("a pid")
}

fn an_immune_daemonised_child_does_not_survive() {
    let homebase = Homebase::start();
    let program = format!("setsid sh -c 'setsid sh -c \"$0\" & exit' \"{IMMUNE}\"; echo started; {IMMUNE}");
    let (_session, spawned) = spawn("immune", &["--ready", "started"], &["sh", "-c", &program]);
    let slice = format!(
        "/user.slice/user-1000.slice/user@1000.service/forge.slice/{}",
        spawned["slice"].as_str().expect("it")
    );
    wait_until(Duration::from_secs(5), "the children", || processes_in(&slice).len() >= 4);
    let before = processes_in(&slice);
    let cursor = journal_cursor();
    let stopped = forge_json(&["stop", "immune", "--timeout", "1"]);
    let one = &stopped["stopped"][0];
    assert!(one["killed"].as_u64().expect("a count") >= 2, "{stopped}");
    assert!(before.iter().all(|pid| !alive(*pid)), "{before:?}");
    nothing_left_of("immune");
    homebase.untouched();
    let event = event_since(&cursor, "stopped");
    for field in
        ["FORGE_PROCESSES", "FORGE_KILLED", "FORGE_ELAPSED_MS", "FORGE_CPU_USEC", "FORGE_DURATION_USEC"]
    {
        assert!(event[field].as_str().is_some_and(|text| text.parse::<u64>().is_ok()), "{field}: {event}");
    }
    assert_eq!(event["FORGE_KILLED"], one["killed"].to_string());
}

fn a_tree_of_two_hundred_is_ended() {
    let program = "for i in $(seq 200); do sleep 1000 & done; echo all; wait";
    let (_session, _) = spawn("tree", &["--ready", "all"], &["sh", "-c", program]);
    let stopped = forge_json(&["stop", "tree"]);
    assert!(stopped["stopped"][0]["processes"].as_u64().expect("a count") >= 202, "{stopped}");
    assert_eq!(stopped["stopped"][0]["killed"], 0);
    nothing_left_of("tree");
}

fn only_matching_sessions_are_stopped() {
    let sessions =
        ["bridge-1", "bridge-2", "bridge", "abridge-1"].map(|name| spawn(name, &[], &["sleep", "1000"]).0);
    let stopped = forge_json(&["stop", "bridge-*"]);
    let names: Vec<&str> = stopped["stopped"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["session"].as_str())
        .collect();
    assert_eq!(names, ["bridge-1", "bridge-2"]);
    let left = forge_json(&["list"]);
    let left: Vec<&str> = left["sessions"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["session"].as_str())
        .collect();
    assert_eq!(left, ["abridge-1", "bridge"]);
    forge(&["stop", "--all"]).ok();
    assert_eq!(forge_json(&["stop", "--all"])["stopped"], serde_json::json!([]));
    drop(sessions);
}

fn frozen_and_wedged_sessions_can_be_stopped() {
    let (_frozen, _) = spawn("frozen", &[], &["sleep", "1000"]);
    forge(&["freeze", "frozen"]).ok();
    let (_wedged, spawned) = spawn("wedged", &[], &["sleep", "1000"]);
    run(&["kill", "-STOP", &spawned["server_pid"].to_string()]).ok();
    let state = |name: &str| forge_json(&["status", name])["state"].clone();
    assert_eq!((state("frozen"), state("wedged")), ("frozen".into(), "wedged".into()));
    forge(&["stop", "frozen", "wedged"]).ok();
    nothing_left_of("frozen");
    nothing_left_of("wedged");
}

/// Many rounds: systemd 257 keeps the name only if the session is stopped within about a millisecond of the
/// thaw.
fn a_session_killed_while_frozen_frees_its_name() {
    let killed = || {
        let (session, spawned) = spawn("ice", &[], &["sleep", "1000"]);
        forge(&["freeze", "ice"]).ok();
        std::fs::write(format!("/sys/fs/cgroup{}/cgroup.kill", slice_of("ice")), "1").expect("a kill of all");
        wait_until(Duration::from_secs(5), "the end", || !alive(pid(&spawned["server_pid"])));
        session
    };
    for _ in 0..15 {
        let _first = killed();
        let _second = killed();
        // systemd 257 keeps the slice, frozen and empty.
        forge(&["stop", "ice"]).ok();
        // The sweep removes the socket.
        forge(&["sweep"]).ok();
        nothing_left_of("ice");
    }
}

fn freeze_and_thaw_work_during_daemon_reload() {
    let (_session, _) = spawn("solid", &[], &["sleep", "1000"]);
    let mut reloads = start(&["sh", "-c", "while :; do systemctl --user daemon-reload; done"]);
    for verb in ["freeze", "thaw"].iter().cycle().take(60) {
        let begin = Instant::now();
        forge(&[verb, "solid"]).ok();
        assert!(begin.elapsed() < Duration::from_secs(15), "{verb} took {} ms", begin.elapsed().as_millis());
    }
    reloads.kill();
    assert_eq!(forge_json(&["status", "solid"])["state"], "running");
}

fn a_session_can_stop_itself() {
    for round in 0..5 {
        let (_session, _) = spawn("itself", &[], &["sh", "-c", "sleep 0.2; forge stop itself; sleep 1000"]);
        wait_until(Duration::from_secs(15), &format!("round {round}"), || {
            !socket("spawn-itself").exists() && forge(&["status", "itself"]).code == 1
        });
        nothing_left_of("itself");
    }
}

fn a_starting_session_can_be_stopped() {
    let begin = Instant::now();
    let options = ["--ready", "never", "--ready-timeout", "60"];
    let command =
        [&["forge", "--json", "spawn", "halfway"], &options[..], &["--", "sh", "-c", "echo up; sleep 1000"]]
            .concat();
    let spawning = start(&command);
    let _session = Session("halfway".into());
    wait_until(Duration::from_secs(10), "the program", || {
        let ran = forge(&["--json", "status", "halfway"]);
        ran.code == 0 && ran.json()["pane_pid"].is_u64()
    });
    forge(&["stop", "halfway"]).ok();
    let ran = spawning.wait(Duration::from_secs(20));
    assert_eq!((ran.code, &ran.json()["error"]["kind"]), (1, &"ended".into()), "{ran}");
    assert!(begin.elapsed() < Duration::from_secs(30), "it was meant to end, and is not tried again");
    nothing_left_of("halfway");
}

fn two_simultaneous_stops_both_succeed() {
    let (_session, _) = spawn("twice", &[], &["sh", "-c", IMMUNE]);
    let both = [0, 1].map(|_| start(&["forge", "--json", "stop", "twice", "--timeout", "1"]));
    for stop in both {
        let ran = stop.wait(Duration::from_secs(30));
        assert!(ran.code == 0 || ran.json()["error"]["kind"] == "no_session", "{ran}");
    }
    nothing_left_of("twice");
}

fn remains_of_a_session_are_ended_before_a_respawn() {
    let (_session, first) = spawn("remains", &[], &["sh", "-c", IMMUNE]);
    let old = pid(&first["pane_pid"]);
    run(&["kill", "-9", &first["server_pid"].to_string()]).ok();
    wait_until(Duration::from_secs(5), "the end of the server", || !alive(pid(&first["server_pid"])));
    assert!(alive(old), "it ignores the hang-up");
    let list = forge_json(&["list", "remains"]);
    assert_eq!(list["sessions"].as_array().expect("a list").len(), 1, "{list}");
    assert_eq!(list["sessions"][0]["state"], "dead", "{list}");
    forge(&["spawn", "remains", "--", "sleep", "1000"]).ok();
    assert!(!alive(old), "never beside the old one");
    forge(&["stop", "remains", "--timeout", "1"]).ok();
    assert!(!alive(old));
    nothing_left_of("remains");
}

fn a_restore_skips_sessions_that_are_being_stopped() {
    let (_session, first) = spawn("going", &[], &["sh", "-c", IMMUNE]);
    run(&["kill", "-9", &first["server_pid"].to_string()]).ok();
    wait_until(Duration::from_secs(5), "the end of the server", || !alive(pid(&first["server_pid"])));
    let stop = start(&["forge", "stop", "going", "--timeout", "4"]);
    wait_until(Duration::from_secs(3), "the stop", || {
        shell("systemctl --user list-jobs | grep -q forge-going.slice").code == 0
    });
    // The session is due for a restore; before that it was stopped and started differently.
    let _ = std::fs::remove_file(".local/state/forge/restored.json");
    let restore = start(&["forge", "--json", "restore"]);
    // There is no event for the moment when it waits.
    std::thread::sleep(Duration::from_secs(1));
    let spawned = forge_json(&["spawn", "going", "--", "sleep", "1000"]);
    stop.wait(Duration::from_secs(20)).ok();
    let restored = restore.wait(Duration::from_secs(20)).ok().json();
    assert_eq!(restored["left"][0]["session"], "going", "{restored}");
    assert_eq!(forge_json(&["status", "going"])["pane_pid"], spawned["pane_pid"]);
}

fn a_session_started_while_it_is_forgotten_is_stopped() {
    let (_session, _) = spawn("renewed", &[], &["sh", "-c", IMMUNE]);
    std::fs::write(format!("/sys/fs/cgroup{}/cgroup.kill", slice_of("renewed")), "1").expect("a kill of all");
    wait_until(Duration::from_secs(5), "its end", || forge(&["status", "renewed"]).code != 0);
    // The stop finds only the specification, and pauses before it removes that.
    let late = "strace -qq -o looked -P $XDG_RUNTIME_DIR/forge/spawning/renewed -e trace=openat \
                -e inject=openat:delay_exit=2000000:when=1 forge stop renewed --timeout 1";
    let stop = start(&["sh", "-c", late]);
    wait_until(Duration::from_secs(5), "its look", || {
        std::fs::read_to_string("looked").is_ok_and(|text| text.contains("openat"))
    });
    let again = forge_json(&["restart", "renewed"])["restarted"][0].clone();
    stop.wait(Duration::from_secs(20)).ok();
    assert!(!alive(pid(&again["pane_pid"])), "a stop proves that nothing is left");
    nothing_left_of("renewed");
    let _ = std::fs::remove_file("looked");
}

fn a_spawn_stopped_before_tmux_runs_is_not_retried() {
    let _slow = TestFile::new(".tmux.conf", "run-shell 'sleep 3'\n");
    let spawning = start(&["forge", "--json", "spawn", "early", "--", "sleep", "1000"]);
    let file = std::path::Path::new(".local/state/forge/sessions/early.json");
    wait_until(Duration::from_secs(3), "its start", || file.exists());
    forge(&["stop", "early", "--timeout", "1"]).ok();
    let failed = spawning.wait(Duration::from_secs(30)).code(1);
    assert_eq!(failed.json()["error"]["kind"], "taken", "{failed}");
    nothing_left_of("early");
}

fn a_spawn_stopped_before_its_file_is_written_is_not_retried() {
    let slow = [
        "strace",
        "-qqq",
        "-o",
        "/tmp/calls",
        "-e",
        "trace=unlink",
        "-e",
        "inject=unlink:delay_enter=300000",
    ];
    let spawning =
        start(&[&slow[..], &["forge", "--json", "spawn", "early", "--", "sleep", "1000"]].concat());
    let file = std::path::Path::new(".local/state/forge/sessions/early.json");
    wait_until(Duration::from_secs(10), "its scope", || {
        user_unit_property("forge-spawn-early.scope", "ActiveState") == "active"
    });
    assert!(!file.exists());
    forge(&["stop", "early", "--timeout", "1"]).ok();
    let failed = spawning.wait(Duration::from_secs(30)).code(1);
    assert_eq!(failed.json()["error"]["kind"], "taken", "{failed}");
    nothing_left_of("early");
}

fn one_session_that_cannot_be_stopped_does_not_block_the_others() {
    let (_m1, first) = spawn("m1", &[], &["sleep", "1000"]);
    let (_m2, second) = spawn("m2", &[], &["sleep", "1000"]);
    shell("mkdir /tmp/tmux-1000/spawn-m1.lock").ok();
    let stopped = forge(&["stop", "m1", "m2"]).code(1);
    shell("rmdir /tmp/tmux-1000/spawn-m1.lock").ok();
    assert!(stopped.stderr.contains("spawn-m1"), "{stopped}");
    assert!(!alive(pid(&first["pane_pid"])) && !alive(pid(&second["pane_pid"])));
    // Neither session comes back after a boot.
    shell("! ls ~/.local/state/forge/sessions/m[12].json").ok();
    run(&["forge", "sweep"]).ok();
}
