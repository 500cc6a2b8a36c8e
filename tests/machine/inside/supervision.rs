//! A session under a supervisor: started, adopted, reloaded, stopped; and all that by systemd.

use crate::suite::{Test, inside};
use crate::support::{
    DropIn, Homebase, Session, Supervised, alive, cgroup_of, configured, dead_socket, event_since,
    events_since, forge, forge_json, journal, journal_cursor, nothing_left_of, processes_in, run, shell,
    signal, socket, spawn, start, systemctl, wait_for, wait_until,
};
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(a_start_returns_when_the_session_is_ready),
        inside!(a_start_that_fails_says_why),
        inside!(a_session_that_nobody_configured_is_a_shell),
        inside!(a_stop_ends_the_session_whole),
        inside!(a_stop_between_two_supervisors_ends_the_session),
        inside!(an_end_between_two_supervisors_is_an_end),
        inside!(an_end_is_an_end_although_failures_are_reset),
        inside!(a_stopped_session_can_be_started_again_and_a_forgotten_one_is_gone),
        inside!(a_restore_calls_no_stop_off),
        inside!(a_supervisor_that_is_killed_is_replaced_and_adopts),
        inside!(a_supervisor_that_is_asked_to_end_is_replaced),
        inside!(failures_that_are_reset_are_restarted_all_the_same),
        inside!(restarts_by_hand_use_nothing_up),
        inside!(a_supervisor_that_hangs_is_replaced_and_adopts),
        inside!(a_supervisor_that_is_upgraded_or_restarted_adopts),
        inside!(a_session_that_runs_already_is_adopted),
        inside!(what_a_person_opened_is_not_ended_by_a_start),
        inside!(units_stay_while_sessions_run_under_them),
        inside!(a_restart_that_fails_forgets_nothing),
        inside!(a_file_that_is_gone_or_broken_harms_nobody),
        inside!(there_is_one_supervisor_and_systemd_starts_it),
        inside!(a_reload_reads_the_configuration_and_looks),
        inside!(a_poke_looks_at_once),
        inside!(a_supervisor_at_rest_sleeps_and_is_small),
        inside!(spawn_supervised_tells_all_that_spawn_tells),
        inside!(two_at_once_are_one),
        inside!(who_is_to_be_refused_fails_no_start),
        inside!(forge_stop_and_restart_know_the_supervisor),
        inside!(a_supervisor_killed_while_it_starts).limit_s(240),
        inside!(the_manager_and_the_bus_may_be_started_anew_meanwhile).limit_s(240),
        inside!(fifty_at_once_take_turns).limit_s(240),
        inside!(the_program_goes_first_when_memory_is_short),
    ]
}

fn a_start_returns_when_the_session_is_ready() {
    let _configuration = configured(
        "[sessions.web]\ncommand = ['sh', '-c', 'sleep 1; echo listening; exec sleep 1000']\nready = 'listening'\n",
    );
    let cursor = journal_cursor();
    let web = Supervised::start("web");
    assert!(forge(&["capture", "web"]).ok().stdout.contains("listening"), "it is ready by then");
    let status = web.status();
    assert_eq!((status["state"].as_str(), status["supervised"].as_bool()), (Some("running"), Some(true)));
    let told = web.service("StatusText");
    let program = web.program();
    assert!(told.starts_with(&format!("running: sh is process {program}, up since 20")), "{told}");
    // Beside the session, not in it.
    assert!(cgroup_of(web.pid()).ends_with("/forge-spawn@web.service"));
    assert!(cgroup_of(program).contains("/forge.slice/forge-web.slice/"));
    assert_eq!(event_since(&cursor, "ready")["FORGE_SESSION"], "web");
    let own = journal(&["-u", &web.unit, "FORGE_EVENT=spawned"]);
    assert!(!own.is_empty(), "journalctl --user -u {} shows it", web.unit);
    assert!(forge(&["units", "verify"]).ok().stdout.contains("no circle"));
}

fn a_start_that_fails_says_why() {
    let _configuration = configured(
        "[sessions.gone]\ncommand = 'nosuchprogram'\n[sessions.mute]\ncommand = ['sh', '-c', 'echo hello; sleep 60']\n\
         ready = 'never'\nready_timeout = 1\n[sessions.lost]\ncommand = 'sleep 1'\ncwd = '/nowhere'\n",
    );
    for (name, why) in
        [("gone", "cannot run 'nosuchprogram'"), ("mute", "the prompt never appeared"), ("lost", "/nowhere")]
    {
        let cursor = journal_cursor();
        let it = Supervised::named(name);
        assert_ne!(systemctl(&["start", &it.unit]).code, 0, "{name}");
        assert!(it.service("StatusText").contains(why), "{}", it.service("StatusText"));
        let failed = event_since(&cursor, "spawn_failed");
        assert!(failed["FORGE_ERROR"].as_str().expect("an error").contains(why), "{failed}");
        // The manager tries again, which a person may wait for, or call off.
        assert_eq!(it.status()["state"], "starting");
        systemctl(&["stop", &it.unit]).ok();
        assert_eq!(it.service("ActiveState"), "inactive");
        nothing_left_of_but_the_file(name);
    }
    // A configuration that cannot be used is no reason to try again.
    let _broken = configured("[sessions.gone\n");
    let it = Supervised::named("unknown");
    assert_ne!(systemctl(&["start", &it.unit]).code, 0);
    it.becomes("failed");
    assert_eq!((it.service("NRestarts"), it.service("ExecMainStatus")), ("0".into(), "2".into()));
}

/// Nothing of it runs; how to start it again is still known.
#[track_caller]
fn nothing_left_of_but_the_file(name: &str) {
    let _ = std::fs::remove_file(format!(".local/state/forge/sessions/{name}.json"));
    nothing_left_of(name);
}

fn a_session_that_nobody_configured_is_a_shell() {
    let it = Supervised::start("plain");
    let status = it.up();
    let command = status["command"].as_array().expect("a command");
    assert!(command.last().expect("words") == "-l" && status["cwd"] == "/home/ada", "{status}");
    // A shell that waits for its user ends of the hang-up that its server's end is: nothing is killed.
    let cursor = journal_cursor();
    systemctl(&["stop", &it.unit]).ok();
    let stopped = event_since(&cursor, "stopped");
    assert_eq!((&stopped["FORGE_PROCESSES"], &stopped["FORGE_KILLED"]), (&"2".into(), &"0".into()));
}

fn a_stop_ends_the_session_whole() {
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
    // One child is in a scope of its own where tmux makes such, and hears no hang-up.
    let script = "(trap '' HUP; exec setsid sleep 1000) & sleep 1000 & echo up; wait";
    let it = Supervised::spawn("gap", &["--ready", "up"], &["sh", "-c", script]);
    let group = cgroup_of(it.server()).split("/forge-spawn-gap.scope").next().expect("a slice").to_owned();
    let pause = || crate::support::user_unit_property("forge-pause-gap.service", "ActiveState");
    // While the manager waits to start the next supervisor, nothing of this service runs.
    signal("KILL", it.pid());
    wait_until(Duration::from_secs(5), "the pause", || it.service("SubState") == "auto-restart");
    assert_eq!(it.status()["state"], "running");
    let cursor = journal_cursor();
    systemctl(&["stop", &it.unit]).ok();
    assert_eq!((processes_in(&group), it.service("ActiveState")), (vec![], "inactive".into()));
    assert_eq!(event_since(&cursor, "stopped")["FORGE_SESSION"], "gap");
    is_not_restored("gap");
    // Also where the session has crashed, and there is nothing but the service; and after a pause that
    // nobody stopped in.
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

/// The session is stopped, and how to start it again is still known.
#[track_caller]
fn is_not_restored(name: &str) {
    let plan = forge(&["--json", "restore", "--dry-run"]).ok().json()["plan"].clone();
    let steps = plan.as_array().expect("a plan").iter();
    let actions: Vec<&str> =
        steps.filter(|step| step["session"] == name).filter_map(|step| step["action"].as_str()).collect();
    assert_eq!(actions, ["forget"], "{plan}");
}

fn an_end_between_two_supervisors_is_an_end() {
    let it = Supervised::spawn("unseen", &[], &["sh", "-c", "read x; exit 0"]);
    let (cursor, program) = (journal_cursor(), it.program());
    signal("KILL", it.pid());
    wait_until(Duration::from_secs(5), "the pause", || it.service("SubState") == "auto-restart");
    forge(&["send", "unseen", "end"]).ok();
    wait_until(Duration::from_secs(5), "the end of the program", || !alive(program));
    assert_eq!(event_since(&cursor, "exited")["FORGE_SESSION"], "unseen");
    it.becomes("inactive");
    // Another supervisor would come after a pause.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!((it.service("ActiveState"), it.status()), ("inactive".into(), serde_json::Value::Null));
    assert!(!events_since(&cursor).iter().any(|event| event["FORGE_EVENT"] == "spawned"));
    is_not_restored("unseen");
    assert_eq!(crate::support::user_unit_property("forge-pause-unseen.service", "ActiveState"), "inactive");
    nothing_left_of_but_the_file("unseen");
}

fn an_end_is_an_end_although_failures_are_reset() {
    // While the next supervisor is about to look: then the manager's count of restarts is 0.
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
    // Whoever starts it then gets another run.
    systemctl(&["start", &it.unit]).ok();
    it.up_after(program);
}

fn a_stopped_session_can_be_started_again_and_a_forgotten_one_is_gone() {
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
    // Stopped and not running: then it is forgotten.
    systemctl(&["start", &it.unit]).ok();
    systemctl(&["stop", &it.unit]).ok();
    assert!(forge(&["stop", "again"]).ok().stdout.contains("was not running"));
    nothing_left_of("again");
}

fn a_restore_calls_no_stop_off() {
    let _one_at_a_time = configured("[restore]\nconcurrency = 1\n");
    let it =
        Supervised::spawn("late", &["--ready", "up"], &["sh", "-c", "trap '' HUP TERM; echo up; sleep 1000"]);
    let group = cgroup_of(it.server()).split("/forge-spawn-late.scope").next().expect("a slice").to_owned();
    let (file, kept) = (".local/state/forge/sessions/late.json", "late.json");
    std::fs::copy(file, kept).expect("a copy");
    forge(&["stop", "--timeout", "1", "late"]).ok();
    // Lost, and planned to be restored after one that takes its time.
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
    // Meanwhile it is started, and is being stopped when its turn comes.
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

fn a_supervisor_that_is_killed_is_replaced_and_adopts() {
    let it = Supervised::spawn("kept", &[], &["sleep", "1000"]);
    let before = it.up();
    for round in 0..8 {
        let cursor = journal_cursor();
        let pid = it.pid();
        signal("KILL", pid);
        let adopted = event_since(&cursor, "adopted");
        assert_eq!(adopted["FORGE_SESSION"], "kept", "round {round}");
        let after = it.up();
        assert_eq!((&after["server_pid"], &after["pane_pid"]), (&before["server_pid"], &before["pane_pid"]));
        assert_ne!(it.pid(), pid);
    }
    // It was no failure of the session's.
    assert_eq!(it.service("NRestarts"), "0");
    signal("KILL", it.program());
    it.up_after(it.program());
}

fn a_supervisor_that_hangs_is_replaced_and_adopts() {
    let _settings = DropIn::new("hung", "[Service]\nWatchdogSec=2s\nTimeoutAbortSec=1s\n");
    let it = Supervised::spawn("hung", &[], &["sleep", "1000"]);
    let (before, pid) = (it.up(), it.pid());
    // One that is well is left alone.
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(it.pid(), pid);
    let cursor = journal_cursor();
    signal("STOP", pid);
    event_since(&cursor, "adopted");
    let after = it.up();
    assert_eq!((&after["server_pid"], &after["pane_pid"]), (&before["server_pid"], &before["pane_pid"]));
    assert_ne!(it.pid(), pid);
}

fn a_supervisor_that_is_upgraded_or_restarted_adopts() {
    shell("cp /usr/bin/forge forge-copy && ./forge-copy units install").ok();
    let it = Supervised { name: "upgraded".into(), unit: "forge-spawn@upgraded.service".into() };
    shell("./forge-copy spawn upgraded --supervise -- sleep 1000").ok();
    let (before, pid) = (it.up(), it.pid());
    let cursor = journal_cursor();
    systemctl(&["restart", &it.unit]).ok();
    event_since(&cursor, "adopted");
    let after = it.up();
    assert_eq!((&after["server_pid"], &after["pane_pid"]), (&before["server_pid"], &before["pane_pid"]));
    assert_ne!(it.pid(), pid);
    // A new file at the same place: the supervisor becomes that, in place.
    let pid = it.pid();
    let runs = || run(&["readlink", &format!("/proc/{pid}/exe")]).stdout.trim().to_owned();
    shell("cp /usr/bin/forge forge-new && mv forge-new forge-copy").ok();
    assert!(runs().ends_with("forge-copy (deleted)"), "{}", runs());
    systemctl(&["reload", &it.unit]).ok();
    wait_until(Duration::from_secs(10), "the new program", || runs().ends_with("/forge-copy"));
    assert_eq!(it.pid(), pid);
    assert_eq!(it.up()["pane_pid"], before["pane_pid"]);
    shell("forge units install && rm forge-copy").ok();
}

fn a_session_that_runs_already_is_adopted() {
    let (_session, spawned) = spawn("adhoc", &[], &["sleep", "1000"]);
    let cursor = journal_cursor();
    let it = Supervised::start("adhoc");
    assert_eq!(event_since(&cursor, "adopted")["FORGE_PANE_PID"], spawned["pane_pid"].to_string());
    assert_eq!(it.up()["pane_pid"], spawned["pane_pid"]);
    // From now on it has a supervisor in all that happens.
    signal("KILL", it.program());
    let again = it.up_after(u32::try_from(spawned["pane_pid"].as_u64().expect("a pid")).expect("a pid"));
    assert_eq!(again["command"], serde_json::json!(["sleep", "1000"]));
    systemctl(&["stop", &it.unit]).ok();
    assert_eq!(it.status(), serde_json::Value::Null);
    forge(&["stop", "adhoc"]).ok();
    // One that 'forge run' keeps is not taken from it.
    let _end = Session("ran".into());
    let mut ran = start(&["forge", "run", "ran", "--", "sleep", "1000"]);
    wait_until(Duration::from_secs(10), "the session", || forge(&["status", "ran"]).code == 0);
    let other = Supervised::named("ran");
    assert_ne!(systemctl(&["start", &other.unit]).code, 0);
    assert!(other.service("StatusText").contains("forge run"), "{}", other.service("StatusText"));
    assert!(ran.running());
    drop(other);
}

fn there_is_one_supervisor_and_systemd_starts_it() {
    let it = Supervised::spawn("one", &[], &["sleep", "1000"]);
    let refused = forge(&["supervise", "one"]).code(2);
    assert!(refused.stderr.contains(&format!("hint: systemctl --user start {}", it.unit)), "{refused}");
    // Also from a unit of another name, and from inside of the right one.
    let other =
        run(&["systemd-run", "--user", "--wait", "--pipe", "-q", "forge", "supervise", "one"]).code(2);
    assert!(other.stderr.contains("started by systemd"), "{other}");
    let (pid, before) = (it.pid(), it.up());
    systemctl(&["start", &it.unit]).ok();
    assert_eq!((it.pid(), it.up()["pane_pid"].clone()), (pid, before["pane_pid"].clone()));
    let supervisors = run(&["pgrep", "-c", "-f", "forge.* supervise .*one"]).stdout;
    assert_eq!(supervisors.trim(), "1");
}

fn a_reload_reads_the_configuration_and_looks() {
    let text = |restart: &str| format!("[sessions.tuned]\ncommand = 'sleep 1000'\nrestart = '{restart}'\n");
    let configuration = configured(&text("on-failure"));
    let it = Supervised::start("tuned");
    let before = it.up();
    drop(configuration);
    let broken = configured("[sessions.tuned]\nrestart = 'perhaps'\n");
    assert_ne!(systemctl(&["reload", &it.unit]).code, 0, "a mistake is told");
    assert_eq!(it.service("ActiveState"), "active");
    drop(broken);
    let _configuration = configured(&text("never"));
    systemctl(&["reload", &it.unit]).ok();
    let after = it.up();
    assert_eq!(after["pane_pid"], before["pane_pid"]);
    let cursor = journal_cursor();
    signal("KILL", it.program());
    event_since(&cursor, "crashed");
    it.becomes("failed");
    assert_eq!(it.service("NRestarts"), "0", "restart = never is known");
}

fn a_poke_looks_at_once() {
    let it = Supervised::spawn("poked", &[], &["sleep", "1000"]);
    let (before, pid) = (it.up(), it.pid());
    let socket = before["socket"].as_str().expect("a socket").to_owned();
    std::fs::remove_file(&socket).expect("its removal");
    let cursor = journal_cursor();
    forge(&["poke", "poked"]).ok();
    assert_eq!(event_since(&cursor, "socket_healed")["FORGE_SOCKET"], socket);
    let after = it.up();
    assert_eq!((&after["pane_pid"], it.pid()), (&before["pane_pid"], pid));
    // In the pause before a restart it means: now.
    let _settings = DropIn::new("poked", "[Service]\nRestartSec=10min\nRestartMaxDelaySec=20min\n");
    signal("KILL", it.program());
    wait_until(Duration::from_secs(5), "the pause", || it.service("SubState") == "auto-restart");
    assert_eq!(it.status()["state"], "starting");
    forge(&["poke", "poked"]).ok();
    it.up();
    let (_plain, _) = spawn("plain", &[], &["sleep", "1000"]);
    let refused = forge(&["poke", "plain"]).code(1);
    assert!(
        refused.stderr.contains("has no supervisor") && refused.stderr.contains("start forge-spawn@plain"),
        "{refused}"
    );
    forge(&["poke", "nobody"]).code(1);
}

fn a_supervisor_at_rest_sleeps_and_is_small() {
    let it = Supervised::spawn("quiet", &[], &["sleep", "1000"]);
    it.up();
    let read = |key: &str| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", it.pid())).expect("its status");
        let line = status.lines().find(|line| line.starts_with(key)).expect(key).to_owned();
        line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("a number")
    };
    wait_until(Duration::from_secs(5), "it to be at rest", || {
        run(&["pgrep", "-f", "forge supervise --watch quiet"]).code == 0
    });
    std::thread::sleep(Duration::from_millis(500));
    let before = read("voluntary_ctxt_switches");
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!(read("voluntary_ctxt_switches"), before, "it woke up");
    assert_eq!(read("Threads"), 1);
    assert!(read("RssAnon") < 4096, "{} KiB", read("RssAnon"));
}

fn spawn_supervised_tells_all_that_spawn_tells() {
    forge(&["units", "install"]).ok();
    let it = Supervised::named("told");
    let (_plain, plain) = spawn("plain", &[], &["sleep", "1000"]);
    dead_socket("spawn-told");
    let told = forge_json(&["spawn", "told", "--supervise", "--", "sleep", "1000"]);
    let keys =
        |value: &serde_json::Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&told), keys(&plain));
    assert_eq!((told["swept"].as_array().expect("a list").len(), &told["ready"]), (1, &true.into()));
    assert_eq!(told["pane_pid"], it.up()["pane_pid"]);
    // A failure is told as it is without, and nothing is left.
    for options in
        [vec!["--", "nosuchprogram"], vec!["--ready", "x", "--ready-timeout", "1", "--", "sleep", "9"]]
    {
        let _end = Supervised::named("bad");
        let supervised = forge(&[&["--json", "spawn", "bad", "--supervise"], &options[..]].concat());
        nothing_left_of("bad");
        let plain = forge(&[&["--json", "spawn", "bad"], &options[..]].concat());
        assert_eq!((supervised.code, supervised.json()), (plain.code, plain.json()));
        assert_eq!(Supervised::named("bad").service("ActiveState"), "inactive");
    }
    let taken = forge(&["--json", "spawn", "told", "--supervise", "--", "sleep", "1"]).code(1).json();
    assert_eq!(taken["error"]["kind"], "taken");
    let before = it.program();
    forge(&["spawn", "told", "--supervise", "--replace", "--", "sleep", "2000"]).ok();
    assert_eq!(it.up_after(before)["command"], serde_json::json!(["sleep", "2000"]));
}

fn two_at_once_are_one() {
    forge(&["units", "install"]).ok();
    for round in 0..6 {
        let name = format!("race-{round}");
        let it = Supervised::named(&name);
        let spawns: Vec<_> = (0..4)
            .map(|n| {
                let seconds = (1000 + n).to_string();
                start(&["forge", "--json", "spawn", &name, "--supervise", "--", "sleep", &seconds])
            })
            .collect();
        let ran: Vec<_> = spawns.into_iter().map(|one| one.wait(Duration::from_secs(60))).collect();
        let won = ran.iter().filter(|ran| ran.code == 0).count();
        assert_eq!(won, 1, "{:?}", ran.iter().map(ToString::to_string).collect::<Vec<_>>());
        for lost in ran.iter().filter(|ran| ran.code != 0) {
            assert_eq!(lost.json()["error"]["kind"], "taken", "{lost}");
        }
        it.up();
        // An ordinary spawn does not take it away either, whatever its supervisor is doing.
        signal("KILL", it.program());
        let refused = forge(&["--json", "spawn", &name, "--", "sleep", "1"]).code(1).json();
        assert_eq!(refused["error"]["kind"], "taken", "{refused}");
        it.up();
    }
}

fn who_is_to_be_refused_fails_no_start() {
    let _one_at_a_time =
        configured("[restore]\nconcurrency = 1\n[sessions.second]\ncommand = 'sleep 1000'\n");
    let first = Supervised::named("first");
    let slow = ["--ready", "up", "--", "sh", "-c", "sleep 4; echo up; sleep 1000"];
    let spawning = start(&[&["forge", "spawn", "first", "--supervise"][..], &slow].concat());
    wait_until(Duration::from_secs(10), "the first", || forge(&["status", "first"]).code == 0);
    let second = Supervised::named("second");
    systemctl(&["start", "--no-block", &second.unit]).ok();
    wait_until(Duration::from_secs(3), "its waiting", || second.service("StatusText").contains("its turn"));
    // One that has the name until its sweep is done, and sees only then that it is taken.
    dead_socket("dead");
    let late = "strace -f -qq -o /dev/null -e trace=unlinkat -e inject=unlinkat:delay_enter=6000000:when=1 \
                forge --json spawn second -- sleep 1";
    let refused = start(&["sh", "-c", late]);
    wait_until(Duration::from_secs(3), "the sweep", || socket("dead.lock").exists());
    spawning.wait(Duration::from_secs(20)).ok();
    second.up();
    assert_eq!(second.service("NRestarts"), "0");
    assert_eq!(refused.wait(Duration::from_secs(20)).code(1).json()["error"]["kind"], "taken");
    drop(first);
}

fn forge_stop_and_restart_know_the_supervisor() {
    let it = Supervised::spawn("managed", &[], &["sleep", "1000"]);
    let before = it.program();
    let cursor = journal_cursor();
    forge(&["restart", "managed"]).ok();
    assert_eq!(event_since(&cursor, "restarted")["FORGE_WHY"], "a request");
    it.up_after(before);
    assert!(events_since(&cursor).iter().all(|event| event["FORGE_EVENT"] != "crashed"));
    let cursor = journal_cursor();
    let stopped = forge_json(&["stop", "managed"]);
    assert_eq!(stopped["stopped"][0]["processes"], 2, "{stopped}");
    assert_eq!(it.service("ActiveState"), "inactive");
    let events: Vec<String> =
        events_since(&cursor).iter().map(|event| event["FORGE_EVENT"].to_string()).collect();
    assert_eq!(events, ["\"stopped\""]);
    nothing_left_of("managed");
    // While it waits for its next try.
    let _settings = DropIn::new("managed", "[Service]\nRestartSec=10min\nRestartMaxDelaySec=20min\n");
    let it = Supervised::spawn("managed", &[], &["sleep", "1000"]);
    signal("KILL", it.program());
    wait_until(Duration::from_secs(5), "the pause", || it.service("SubState") == "auto-restart");
    assert_eq!(forge_json(&["list"])["sessions"][0]["state"], "starting");
    forge(&["stop", "managed"]).ok();
    assert_eq!(it.service("ActiveState"), "inactive");
    nothing_left_of("managed");
}

fn a_supervisor_killed_while_it_starts() {
    let homebase = Homebase::start();
    let _settings = DropIn::new("cut", "[Unit]\nStartLimitIntervalSec=0\n");
    let _configuration = configured(
        "[sessions.cut]\ncommand = ['sh', '-c', 'sleep 0.05; echo up; exec sleep 1357']\nready = 'up'\n",
    );
    for delay in (0..200).step_by(10) {
        let it = Supervised::named("cut");
        systemctl(&["start", "--no-block", &it.unit]).ok();
        let pid =
            wait_for(Duration::from_secs(10), "the supervisor", || Some(it.pid()).filter(|pid| *pid > 0));
        std::thread::sleep(Duration::from_millis(delay));
        signal("KILL", pid);
        it.up();
        let programs = run(&["pgrep", "-c", "-x", "-f", "sleep 1357"]).stdout;
        assert_eq!(programs.trim(), "1", "killed after {delay} ms: one program alone");
        forge(&["stop", "cut"]).ok();
        nothing_left_of("cut");
    }
    homebase.untouched();
}

fn the_manager_and_the_bus_may_be_started_anew_meanwhile() {
    let homebase = Homebase::start();
    let _configuration = configured(
        "[sessions.meanwhile]\ncommand = ['sh', '-c', 'sleep 0.4; echo up; exec sleep 1358']\nready = 'up'\n",
    );
    for what in [
        "systemctl --user daemon-reload",
        "systemctl --user daemon-reexec",
        // Its own limit for starts is not what this is about.
        "systemctl --user reset-failed dbus.service dbus.socket; systemctl --user restart dbus.service",
    ] {
        // At some moments of the start, and while it runs.
        for delay in ["0", "0.02", "0.05", "0.1", "0.3"] {
            let it = Supervised::named("meanwhile");
            systemctl(&["start", "--no-block", &it.unit]).ok();
            shell(&format!("sleep {delay}; {what}"));
            let up = it.up();
            let programs = run(&["pgrep", "-c", "-x", "-f", "sleep 1358"]).stdout;
            assert_eq!(programs.trim(), "1", "{what} after {delay} s: one program alone");
            let pid = it.pid();
            shell(what);
            std::thread::sleep(Duration::from_millis(300));
            let after = it.up();
            assert_eq!((&after["pane_pid"], it.pid()), (&up["pane_pid"], pid), "{what} while it runs");
            let cursor = journal_cursor();
            signal("KILL", it.program());
            event_since(&cursor, "crashed");
            it.up_after(u32::try_from(up["pane_pid"].as_u64().expect("a pid")).expect("a pid"));
            forge(&["stop", "meanwhile"]).ok();
            nothing_left_of("meanwhile");
        }
    }
    homebase.untouched();
}

fn fifty_at_once_take_turns() {
    forge(&["units", "install"]).ok();
    let _configuration = configured("[restore]\nconcurrency = 3\n");
    let homebase = Homebase::start();
    let names: Vec<String> = (0..50).map(|n| format!("turn-{n}")).collect();
    let cursor = journal_cursor();
    let spawns: Vec<_> = names
        .iter()
        .map(|name| {
            // Each writes when it is being started and when it is up; one never comes up.
            let script = if name == "turn-7" {
                "exit 9".to_owned()
            } else {
                "date +%s%N >> turns.begin; sleep 0.2; date +%s%N >> turns.end; echo up; exec sleep 1000"
                    .to_owned()
            };
            start(&["forge", "spawn", name, "--supervise", "--ready", "up", "--", "sh", "-c", &script])
        })
        .collect();
    let failed: Vec<_> = spawns
        .into_iter()
        .map(|one| one.wait(Duration::from_secs(200)))
        .filter(|ran| ran.code != 0)
        .collect();
    assert_eq!(failed.len(), 1, "{:?}", failed.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert!(failed[0].stderr.contains("exit status 9"), "{}", failed[0]);
    let list = forge_json(&["list"]);
    let sessions = list["sessions"].as_array().expect("sessions");
    let good = sessions.iter().filter(|one| one["state"] == "running" && one["supervised"] == true).count();
    assert_eq!((sessions.len(), good), (49, 49), "{list}");
    // At no moment were more than three between their begin and their end.
    let times = |file: &str| -> Vec<(u64, i32)> {
        let change = if file.ends_with("begin") { 1 } else { -1 };
        let text = std::fs::read_to_string(file).expect("times");
        text.lines().map(|line| (line.parse().expect("a time"), change)).collect()
    };
    let mut changes = [times("turns.begin"), times("turns.end")].concat();
    changes.sort_unstable();
    let most = changes.iter().scan(0, |now, (_, change)| {
        *now += change;
        Some(*now)
    });
    let most = most.max().expect("some");
    assert!((2..=3).contains(&most), "{most} at a time");
    let turns = events_since(&cursor).iter().filter(|event| event["FORGE_EVENT"] == "spawned").count();
    assert_eq!(turns, 49);
    shell("rm turns.begin turns.end; forge stop --all").ok();
    homebase.untouched();
}

fn the_program_goes_first_when_memory_is_short() {
    let score = |pid: u32| -> i32 {
        let text = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).expect("a score");
        text.trim().parse().expect("a number")
    };
    let it = Supervised::spawn("frugal", &[], &["sh", "-c", "sleep 1000 & wait"]);
    it.up();
    assert!(score(it.program()) > score(it.server()), "{} {}", score(it.program()), score(it.server()));
    assert!(score(it.program()) > score(it.pid()));
    let child = run(&["pgrep", "-P", &it.program().to_string()]).ok().stdout;
    assert_eq!(score(child.trim().parse().expect("a pid")), score(it.program()), "what it starts, too");
    // And without a supervisor; and where the server would go with it, it does not.
    let (_session, plain) = spawn("plain", &[], &["sleep", "1000"]);
    let pid = |key: &str| u32::try_from(plain[key].as_u64().expect("a pid")).expect("a pid");
    assert!(score(pid("pane_pid")) > score(pid("server_pid")));
    assert!(alive(pid("server_pid")));
    for scope in ["forge-spawn-frugal.scope", "forge-spawn-plain.scope"] {
        assert_eq!(crate::support::user_unit_property(scope, "OOMPolicy"), "continue");
    }
}

fn failures_that_are_reset_are_restarted_all_the_same() {
    // Between the end of a supervisor and the next.
    let _settings = DropIn::new("reset", "[Service]\nRestartSec=50ms\nExecStopPost=sleep 1\n");
    let it = Supervised::spawn("reset", &[], &["sleep", "1000"]);
    let before = it.up();
    let reset = || {
        wait_until(Duration::from_secs(10), "the end", || it.service("SubState") == "stop-post");
        systemctl(&["reset-failed"]).ok();
    };
    signal("KILL", it.pid());
    reset();
    wait_until(Duration::from_secs(20), "the next", || it.service("SubState") != "stop-post");
    assert_eq!(it.up()["pane_pid"], before["pane_pid"]);
    let program = it.program();
    signal("KILL", program);
    reset();
    it.up_after(program);
}

fn a_supervisor_that_is_asked_to_end_is_replaced() {
    let it = Supervised::spawn("asked", &[], &["sleep", "1000"]);
    let before = it.up();
    for name in ["TERM", "INT", "HUP"] {
        let (cursor, pid) = (journal_cursor(), it.pid());
        signal(name, pid);
        if name == "HUP" {
            // That asks it to look.
            std::thread::sleep(Duration::from_secs(1));
            assert_eq!(it.pid(), pid);
        } else {
            // Only systemd's own stop ends the session, or leaves it without a supervisor.
            event_since(&cursor, "adopted");
        }
        assert_eq!(it.up()["pane_pid"], before["pane_pid"], "SIG{name}");
    }
    systemctl(&["kill", &it.unit]).ok();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(it.up()["pane_pid"], before["pane_pid"]);
    systemctl(&["stop", &it.unit]).ok();
    assert_eq!((it.service("ActiveState"), it.status()), ("inactive".into(), serde_json::Value::Null));
}

fn restarts_by_hand_use_nothing_up() {
    let it = Supervised::spawn("often", &[], &["sleep", "1000"]);
    let before = it.up();
    for _ in 0..8 {
        systemctl(&["restart", &it.unit]).ok();
        assert_eq!(it.up()["pane_pid"], before["pane_pid"]);
    }
    for _ in 0..3 {
        let program = it.program();
        signal("KILL", program);
        it.up_after(program);
    }
}

fn what_a_person_opened_is_not_ended_by_a_start() {
    let (_session, _) = spawn("shared", &[], &["sh", "-c", "read x"]);
    crate::support::tmux("spawn-shared", &["new-window", "-d", "sleep 4444"]).ok();
    forge(&["send", "shared", "end"]).ok();
    wait_until(Duration::from_secs(10), "its end", || {
        forge(&["--json", "status", "shared"]).json()["state"] == "dead"
    });
    let it = Supervised::named("shared");
    assert_ne!(systemctl(&["start", &it.unit]).code, 0);
    assert!(it.service("StatusText").contains("other panes are open"), "{}", it.service("StatusText"));
    assert_eq!(run(&["pgrep", "-c", "-x", "-f", "sleep 4444"]).stdout.trim(), "1");
}

fn units_stay_while_sessions_run_under_them() {
    let it = Supervised::spawn("under", &[], &["sleep", "1000"]);
    let left = forge(&["units", "uninstall"]).code(1);
    assert!(left.stdout.contains("forge-spawn@.service: sessions run under it"), "{left}");
    let program = it.program();
    signal("KILL", program);
    it.up_after(program);
    forge(&["stop", "under"]).ok();
    forge(&["units", "uninstall"]).ok();
    assert!(
        forge(&["spawn", "under", "--supervise", "--", "sleep", "1"])
            .code(3)
            .stderr
            .contains("forge units install")
    );
    forge(&["units", "install"]).ok();
}

fn a_restart_that_fails_forgets_nothing() {
    let it = Supervised::spawn("kept", &["--port", "7899"], &["sleep", "1000"]);
    it.up();
    let listener = start(&[
        "python3",
        "-c",
        "import socket,time\ns=socket.create_server((\"\",7899))\ntime.sleep(1000)",
    ]);
    wait_until(Duration::from_secs(10), "the listener", || shell("ss -ltn | grep -q :7899").code == 0);
    let refused = forge(&["--json", "restart", "kept"]).code(1).json();
    assert_eq!(refused["error"]["kind"], "port", "{refused}");
    let kept = std::fs::read_to_string(".local/state/forge/sessions/kept.json").expect("its file");
    assert!(kept.contains("\"over\": false"), "after a boot it is tried again: {kept}");
    drop(listener);
    shell("pkill -f create_server");
    it.up();
}

fn a_file_that_is_gone_or_broken_harms_nobody() {
    let file = ".local/state/forge/sessions/filed.json";
    let it = Supervised::spawn("filed", &[], &["sleep", "1000"]);
    let before = it.up();
    shell(&format!("echo half > {file}")).ok();
    let cursor = journal_cursor();
    signal("KILL", it.pid());
    event_since(&cursor, "adopted");
    assert_eq!(it.up()["pane_pid"], before["pane_pid"]);
    // What it was is not known any more, so it is not started again; it is told, and cleared.
    std::fs::remove_file(file).expect("its removal");
    let cursor = journal_cursor();
    signal("KILL", it.program());
    event_since(&cursor, "crashed");
    it.becomes("failed");
    nothing_left_of("filed");
}
