//! A stop, or an end of the program, ends the session and its supervisor.

use super::nothing_left_of_but_the_file;
use crate::suite::{Test, inside};
use crate::support::{
    DropIn, Homebase, Supervised, alive, cgroup_of, configured, dead_socket, event_since, events_since,
    forge, forge_json, journal_cursor, nothing_left_of, processes_in, shell, signal, spawn, start, systemctl,
    wait_until,
};
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(a_stop_ends_every_process_of_the_session),
        inside!(a_stop_between_two_supervisors_ends_the_session),
        inside!(a_stop_that_systemd_announces_to_nobody_is_a_stop),
        inside!(an_exit_between_two_supervisors_ends_the_session),
        inside!(an_exit_is_final_after_reset_failed),
        inside!(a_stopped_session_can_start_again_and_a_forgotten_one_cannot),
        inside!(a_restore_does_not_cancel_a_stop),
    ]
}

fn a_stop_ends_every_process_of_the_session() {
    let _configuration = configured(
        "[sessions.tree]\ncommand = ['sh', '-c', 'setsid sleep 1000 & (trap \"\" HUP TERM; sleep 1000) & exec sleep 1000']\n",
    );
    let homebase = Homebase::start();
    let tree = Supervised::start("tree");
    let group = cgroup_of(tree.server()).split("/forge-spawn-tree.scope").next().expect("a slice").to_owned();
    wait_until(Duration::from_secs(5), "the tree to grow", || processes_in(&group).len() >= 4);
    let cursor = journal_cursor();
    systemctl(&["stop", &tree.unit]).ok();
    assert_eq!(processes_in(&group), Vec::<u32>::new());
    assert_eq!(tree.service("ActiveState"), "inactive");
    assert_eq!(tree.status(), serde_json::Value::Null);
    assert!(events_since(&cursor).iter().all(|event| event["FORGE_EVENT"] != "crashed"));
    nothing_left_of_but_the_file("tree");
    homebase.untouched();
}

fn a_stop_between_two_supervisors_ends_the_session() {
    // One child ignores SIGHUP; where tmux creates scopes, it is in its own.
    let script = "(trap '' HUP; exec setsid sleep 1000) & sleep 1000 & echo up; wait";
    let it = Supervised::spawn("gap", &["--ready", "up"], &["sh", "-c", script]);
    let group = cgroup_of(it.server()).split("/forge-spawn-gap.scope").next().expect("a slice").to_owned();
    let pause = || crate::support::user_unit_property("forge-pause-gap.service", "ActiveState");
    // While the manager waits to start the next supervisor, this service has no process.
    signal("KILL", it.pid());
    wait_until(Duration::from_secs(5), "the pause", || it.service("SubState") == "auto-restart");
    assert_eq!(it.status()["state"], "running");
    let cursor = journal_cursor();
    systemctl(&["stop", &it.unit]).ok();
    assert_eq!((processes_in(&group), it.service("ActiveState")), (vec![], "inactive".into()));
    assert_eq!(event_since(&cursor, "stopped")["FORGE_SESSION"], "gap");
    is_not_restored("gap");
    // The same after a crash, when only the service exists, and after a pause without a stop.
    systemctl(&["start", &it.unit]).ok();
    assert_eq!(pause(), "inactive");
    signal("KILL", it.pid());
    event_since(&journal_cursor(), "adopted");
    let program = it.up()["pane_pid"].as_u64().expect("a pid");
    signal("KILL", u32::try_from(program).expect("a pid"));
    wait_until(Duration::from_secs(5), "the pause", || it.service("SubState") == "auto-restart");
    assert_eq!((it.status()["state"].as_str(), pause().as_str()), (Some("starting"), "active"));
    systemctl(&["stop", &it.unit]).ok();
    is_not_restored("gap");
    assert_eq!(pause(), "inactive");
    nothing_left_of_but_the_file("gap");
}

fn a_stop_that_systemd_announces_to_nobody_is_a_stop() {
    let _settings = DropIn::new("quiet", "[Service]\nRestartSec=1h\n");
    let it = Supervised::spawn("quiet", &[], &["sleep", "1000"]);
    let stop_unannounced = || {
        signal("KILL", it.pid());
        wait_until(Duration::from_secs(5), "the pause", || it.service("SubState") == "auto-restart");
        // As at the end of a pause: from then on systemd runs no command of forge at a stop.
        systemctl(&["stop", "forge-pause-quiet.service"]).ok();
        systemctl(&["stop", &it.unit]).ok();
        assert_eq!((it.service("ActiveState"), it.status()), ("inactive".into(), serde_json::Value::Null));
    };
    stop_unannounced();
    forge(&["save"]).ok();
    is_not_restored("quiet");
    // systemd killed the tmux server, so its socket is left.
    forge(&["sweep"]).ok();
    nothing_left_of_but_the_file("quiet");
    systemctl(&["start", &it.unit]).ok();
    assert_eq!(it.up()["supervised"], true);
    stop_unannounced();
    let _ = std::fs::remove_file(".local/state/forge/restored.json");
    let restored = forge(&["--json", "restore"]).ok().json();
    assert_eq!(restored["restored"], serde_json::json!([]), "{restored}");
    forge(&["sweep"]).ok();
    nothing_left_of("quiet");
}

/// Asserts that the session is stopped and its specification is kept.
#[track_caller]
fn is_not_restored(name: &str) {
    let plan = forge(&["--json", "restore", "--dry-run"]).ok().json()["plan"].clone();
    let steps = plan.as_array().expect("a plan").iter();
    let actions: Vec<&str> =
        steps.filter(|step| step["session"] == name).filter_map(|step| step["action"].as_str()).collect();
    assert_eq!(actions, ["forget"], "{plan}");
}

fn an_exit_between_two_supervisors_ends_the_session() {
    let it = Supervised::spawn("unseen", &[], &["sh", "-c", "read x; exit 0"]);
    let (cursor, program) = (journal_cursor(), it.program());
    signal("KILL", it.pid());
    wait_until(Duration::from_secs(5), "the pause", || it.service("SubState") == "auto-restart");
    forge(&["send", "unseen", "end"]).ok();
    wait_until(Duration::from_secs(5), "the end of the program", || !alive(program));
    assert_eq!(event_since(&cursor, "exited")["FORGE_SESSION"], "unseen");
    it.becomes("inactive");
    // systemd would start another supervisor after a pause.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!((it.service("ActiveState"), it.status()), ("inactive".into(), serde_json::Value::Null));
    assert!(!events_since(&cursor).iter().any(|event| event["FORGE_EVENT"] == "spawned"));
    is_not_restored("unseen");
    assert_eq!(crate::support::user_unit_property("forge-pause-unseen.service", "ActiveState"), "inactive");
    nothing_left_of_but_the_file("unseen");
}

fn an_exit_is_final_after_reset_failed() {
    // The next supervisor is about to observe the session; the manager's restart count is 0 then.
    let _settings = DropIn::new("forgiven", "[Service]\nExecStartPre=sleep 2\n");
    let it = Supervised::spawn("forgiven", &[], &["sh", "-c", "read x; exit 0"]);
    let (cursor, program) = (journal_cursor(), it.program());
    signal("KILL", it.pid());
    wait_until(Duration::from_secs(10), "the next", || it.service("SubState") == "start-pre");
    systemctl(&["reset-failed", &it.unit]).ok();
    assert_eq!(it.service("NRestarts"), "0");
    forge(&["send", "forgiven", "end"]).ok();
    wait_until(Duration::from_secs(1), "the end of the program", || !alive(program));
    assert_eq!(event_since(&cursor, "exited")["FORGE_SESSION"], "forgiven");
    it.becomes("inactive");
    assert!(!events_since(&cursor).iter().any(|event| event["FORGE_EVENT"] == "spawned"));
    // The next start makes another run.
    systemctl(&["start", &it.unit]).ok();
    it.up_after(program);
}

fn a_stopped_session_can_start_again_and_a_forgotten_one_cannot() {
    let it = Supervised::spawn("again", &["--env", "COLOUR=green"], &["sleep", "4321"]);
    systemctl(&["stop", &it.unit]).ok();
    assert_eq!(forge(&["--json", "restore", "--dry-run"]).ok().json()["plan"][0]["action"], "forget");
    assert!(!forge(&["probe"]).stdout.contains("nobody stopped it"));
    systemctl(&["start", &it.unit]).ok();
    assert_eq!(it.status()["command"], serde_json::json!(["sleep", "4321"]));
    let environment = std::fs::read_to_string(format!("/proc/{}/environ", it.program())).expect("readable");
    assert!(environment.contains("COLOUR=green"));
    forge(&["stop", "again"]).ok();
    nothing_left_of("again");
    assert_eq!(it.service("ActiveState"), "inactive");
    // `forge stop` of a session that is not running forgets it.
    systemctl(&["start", &it.unit]).ok();
    systemctl(&["stop", &it.unit]).ok();
    // A stop whose connection to the bus breaks leaves the socket of the server that it has ended.
    let socket = dead_socket("spawn-again");
    assert!(forge(&["stop", "again"]).ok().stdout.contains("was not running"));
    nothing_left_of("again");
    assert!(!socket.exists());
}

fn a_restore_does_not_cancel_a_stop() {
    let _one_at_a_time = configured("[restore]\nconcurrency = 1\n");
    let it =
        Supervised::spawn("late", &["--ready", "up"], &["sh", "-c", "trap '' HUP TERM; echo up; sleep 1000"]);
    let group = cgroup_of(it.server()).split("/forge-spawn-late.scope").next().expect("a slice").to_owned();
    let (file, kept) = (".local/state/forge/sessions/late.json", "late.json");
    std::fs::copy(file, kept).expect("a copy");
    forge(&["stop", "--timeout", "1", "late"]).ok();
    // The session is lost, and planned to be restored after a slow one.
    std::fs::rename(kept, file).expect("its file");
    let (first, _) = spawn(
        "early",
        &["--ready", "up"],
        &["sh", "-c", "test -f been && sleep 3; touch been; echo up; sleep 1000"],
    );
    signal(
        "KILL",
        u32::try_from(forge_json(&["status", "early"])["server_pid"].as_u64().expect("a pid"))
            .expect("a pid"),
    );
    wait_until(Duration::from_secs(10), "its end", || forge(&["status", "early"]).code != 0);
    let _ = std::fs::remove_file(".local/state/forge/restored.json");
    let restore = start(&["forge", "--json", "restore"]);
    wait_until(Duration::from_secs(5), "the restore of the first", || forge(&["status", "early"]).code == 0);
    // Meanwhile the session is started, and a stop of it is running when the restore reaches it.
    systemctl(&["start", &it.unit]).ok();
    systemctl(&["stop", "--no-block", &it.unit]).ok();
    assert_eq!(forge_json(&["status", "early"])["state"], "starting", "its turn is still to come");
    let restored = restore.wait(Duration::from_secs(30)).ok().json();
    assert_eq!(restored["restored"][0]["session"], "early", "{restored}");
    assert_eq!(restored["left"][0]["session"], "late", "{restored}");
    assert_eq!(it.service("ActiveState"), "deactivating", "it was being stopped all the time");
    it.becomes("inactive");
    assert_eq!(processes_in(&group), Vec::<u32>::new());
    is_not_restored("late");
    drop(first);
    shell("rm been").ok();
}
