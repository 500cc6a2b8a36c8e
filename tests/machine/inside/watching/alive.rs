//! Signs of life: sessions that are stuck, wedged, stopped or only waiting.

use crate::suite::{Test, inside};
use crate::support::{
    DropIn, Supervised, configured, event_since, events_since, forge, forge_json, journal_cursor, sent_at,
    shell, signal, spawn, start, tmux, wait_for, wait_until,
};
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(deliberately_stopped_sessions_are_left_alone).limit_s(180),
        inside!(tmux_lets_a_stopped_program_go_on),
        inside!(a_wedged_server_is_restarted_only_after_its_timeout),
        inside!(a_wedged_server_that_recovers_is_left_alone),
        inside!(a_session_without_a_beat_is_reported_nudged_and_restarted).limit_s(180),
        inside!(a_nudge_that_helps_prevents_the_restart),
        inside!(a_beat_needs_no_name_from_inside),
        inside!(output_and_cpu_time_are_signs_of_life).limit_s(240),
        inside!(a_reloaded_setting_counts_from_then_on),
        inside!(a_stuck_session_without_restart_is_not_ended),
        inside!(an_idle_session_is_left_alone),
        inside!(a_typing_user_is_not_disturbed).limit_s(180),
    ]
}

/// Makes the supervisor observe its session every second.
const CLOSELY: &str = "[Service]\nWatchdogSec=3s\nRestartSec=50ms\n";

fn kinds_since(cursor: &u128) -> Vec<String> {
    events_since(cursor)
        .iter()
        .map(|event| event["FORGE_EVENT"].as_str().expect("a kind").to_owned())
        .collect()
}

fn deliberately_stopped_sessions_are_left_alone() {
    let _settings = DropIn::new("still", CLOSELY);
    let _configuration = configured(
        "[sessions.still]\ncommand = 'sleep 1000'\nstuck_after = 2\nstuck_by = ['beat', 'cpu']\n\
         stuck_restart_after = 4\nnudge_text = 'go on'\n",
    );
    for (how, stop, go_on) in [
        ("frozen", "forge freeze still", "forge thaw still"),
        (
            "traced",
            "strace -qq -o /dev/null -e inject=all:delay_enter=60s -p PROGRAM >/dev/null 2>&1 & echo $! > tracer; sleep 1",
            "kill -9 $(cat tracer); rm tracer",
        ),
    ] {
        let it = Supervised::start("still");
        let (before, supervisor) = (it.up(), it.pid());
        let program = it.program().to_string();
        let cursor = journal_cursor();
        shell(&stop.replace("PROGRAM", &program)).ok();
        std::thread::sleep(Duration::from_secs(8));
        let kinds = kinds_since(&cursor);
        for never in ["stuck", "nudged", "crashed", "restarted"] {
            assert!(!kinds.iter().any(|kind| kind == never), "{how}: {kinds:?}");
        }
        shell(&go_on.replace("PROGRAM", &program));
        let after = it.status();
        assert_eq!(
            (&after["pane_pid"], &after["server_pid"]),
            (&before["pane_pid"], &before["server_pid"]),
            "{how}"
        );
        assert_eq!(it.pid(), supervisor, "{how}");
        // Silence of the program itself is reported, counted from then on.
        event_since(&cursor, "stuck");
    }
}

fn tmux_lets_a_stopped_program_go_on() {
    // Only a debugger can hold a pane's program; a process that a shell stops is another one.
    let (_session, spawned) = spawn("stopped", &[], &["sleep", "1000"]);
    let pid = u32::try_from(spawned["pane_pid"].as_u64().expect("a pid")).expect("a pid");
    let state = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("its state");
        stat.rsplit(") ").next().expect("a state").chars().next().expect("a letter")
    };
    for _ in 0..5 {
        signal("STOP", pid);
        wait_until(Duration::from_secs(5), "tmux to continue it", || state() == 'S');
    }
}

fn a_wedged_server_is_restarted_only_after_its_timeout() {
    let _settings = DropIn::new("wedge", CLOSELY);
    let _configuration = configured("[sessions.wedge]\ncommand = 'sleep 1000'\nstuck_restart_after = 6\n");
    let it = Supervised::start("wedge");
    let (before, server) = (it.up(), it.server());
    let cursor = journal_cursor();
    signal("STOP", server);
    let reported = event_since(&cursor, "stuck");
    assert_eq!(
        (&reported["FORGE_MISSING"], &reported["FORGE_RESTARTED"]),
        (&"server".into(), &"false".into())
    );
    assert_eq!(it.status()["state"], "wedged");
    wait_until(Duration::from_secs(5), "the status", || it.service("StatusText").starts_with("wedged"));
    // Pokes in between neither extend nor shorten its time.
    forge(&["poke", "wedge"]).ok();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(it.status()["pane_pid"], before["pane_pid"], "not before its deadline");
    let restarted = wait_for(Duration::from_secs(30), "its end", || {
        events_since(&cursor).into_iter().find(|event| event["FORGE_EVENT"] == "restarted")
    });
    assert_eq!(restarted["FORGE_WHY"], "a tmux server that did not answer");
    assert!(sent_at(&restarted) - sent_at(&reported) >= 6_000_000, "its deadline is its own");
    let after = it.up();
    assert_ne!(after["server_pid"], before["server_pid"]);
    assert!(!crate::support::alive(server));
}

fn a_wedged_server_that_recovers_is_left_alone() {
    let _settings = DropIn::new("hiccup", CLOSELY);
    let _configuration = configured("[sessions.hiccup]\ncommand = 'sleep 1000'\nstuck_restart_after = 5\n");
    let it = Supervised::start("hiccup");
    let before = it.up();
    for _ in 0..3 {
        let cursor = journal_cursor();
        signal("STOP", it.server());
        event_since(&cursor, "stuck");
        signal("CONT", u32::try_from(before["server_pid"].as_u64().expect("a pid")).expect("a pid"));
        std::thread::sleep(Duration::from_secs(3));
    }
    assert_eq!(it.up()["pane_pid"], before["pane_pid"]);
    // The default deadline is far away, and restart = never means never.
    let _configuration =
        configured("[sessions.hiccup]\ncommand = 'sleep 1000'\nstuck_restart_after = 2\nrestart = 'never'\n");
    forge(&["poke", "hiccup"]).ok();
    let server = it.server();
    signal("STOP", server);
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(it.status()["pane_pid"], before["pane_pid"]);
    signal("CONT", server);
}

fn a_session_without_a_beat_is_reported_nudged_and_restarted() {
    let _settings = DropIn::new("mute", "[Service]\nRestartSec=50ms\n");
    let _configuration = configured(
        "[sessions.mute]\ncommand = ['sh', '-c', 'echo up; cat > /home/ada/typed; sleep 1000']\nready = 'up'\nstuck_after = 3\n\
         nudge_text = 'are you there?'\nstuck_restart_after = 7\n",
    );
    let it = Supervised::start("mute");
    let before = it.up();
    let cursor = journal_cursor();
    // Nothing happens as long as the session beats.
    for _ in 0..5 {
        forge(&["beat", "mute"]).ok();
        std::thread::sleep(Duration::from_secs(1));
    }
    assert_eq!(kinds_since(&cursor), Vec::<String>::new());
    let reported = event_since(&cursor, "stuck");
    assert_eq!((&reported["FORGE_MISSING"], &reported["FORGE_RESTARTED"]), (&"beat".into(), &"false".into()));
    let nudged = event_since(&cursor, "nudged");
    assert_eq!((&nudged["FORGE_ARRIVED"], &nudged["FORGE_RESULT"]), (&"true".into(), &"submitted".into()));
    wait_until(Duration::from_secs(5), "the text", || {
        std::fs::read_to_string("typed").is_ok_and(|text| text == "are you there?\n")
    });
    assert_eq!(it.status()["pane_pid"], before["pane_pid"]);
    let restarted = event_since(&cursor, "restarted");
    assert_eq!(restarted["FORGE_WHY"], "no sign of life");
    let kinds: Vec<String> =
        kinds_since(&cursor).into_iter().filter(|kind| kind != "spawned" && kind != "ready").collect();
    assert_eq!(
        &kinds[..5],
        ["stuck", "nudged", "stuck", "crashed", "restarted"],
        "each step, once: {kinds:?}"
    );
    it.up_after(u32::try_from(before["pane_pid"].as_u64().expect("a pid")).expect("a pid"));
    let _ = std::fs::remove_file("typed");
}

fn a_nudge_that_helps_prevents_the_restart() {
    let _configuration = configured(
        "[sessions.dozing]\ncommand = ['sh', '-c', 'echo up; while read x; do forge beat; done']\nready = 'up'\nstuck_after = 2\n\
         nudge_text = 'go on'\nstuck_restart_after = 5\n",
    );
    let it = Supervised::start("dozing");
    let before = it.up();
    let cursor = journal_cursor();
    wait_until(Duration::from_secs(30), "three nudges", || {
        kinds_since(&cursor).iter().filter(|kind| *kind == "nudged").count() >= 3
    });
    assert_eq!(it.status()["pane_pid"], before["pane_pid"]);
    assert!(!kinds_since(&cursor).contains(&"restarted".to_owned()));
}

fn a_beat_needs_no_name_from_inside() {
    let script = "read x; forge --json beat > /home/ada/beaten 2>&1; sleep 1000";
    let (_session, _) = spawn("beating", &[], &["sh", "-c", script]);
    forge(&["send", "beating", "x"]).ok();
    wait_until(Duration::from_secs(10), "the beat", || {
        std::fs::read_to_string("beaten")
            .is_ok_and(|text| text == "{\"beat\":true,\"session\":\"beating\"}\n")
    });
    let _ = std::fs::remove_file("beaten");
    assert!(forge(&["beat"]).code(2).stderr.contains("hint: name the session"));
    assert_eq!(forge(&["--json", "beat", "nobody"]).code(1).json()["error"]["kind"], "no_session");
    assert_eq!(forge_json(&["beat", "beating"])["session"], "beating");
}

fn output_and_cpu_time_are_signs_of_life() {
    let session = |by: &str, script: &str| {
        format!(
            "[sessions.sign]\ncommand = ['sh', '-c', '{script}']\nstuck_after = 10\nstuck_by = ['{by}']\n"
        )
    };
    for (by, lively, silent) in [
        ("output", "while :; do echo x; sleep 1; done", "sleep 1000"),
        ("cpu", "while :; do :; done", "echo x; sleep 1000"),
    ] {
        let configuration = configured(&session(by, lively));
        let it = Supervised::start("sign");
        let cursor = journal_cursor();
        std::thread::sleep(Duration::from_secs(22));
        assert_eq!(kinds_since(&cursor), Vec::<String>::new(), "{by}");
        drop(it);
        drop(configuration);
        let _configuration = configured(&session(by, silent));
        let it = Supervised::start("sign");
        let reported = event_since(&cursor, "stuck");
        assert_eq!(reported["FORGE_MISSING"], by);
        // forge reports it once while nothing changes, and does nothing else without stuck_restart_after.
        std::thread::sleep(Duration::from_secs(12));
        let kinds = kinds_since(&cursor);
        assert_eq!(kinds.iter().filter(|kind| *kind == "stuck").count(), 1, "{by}: {kinds:?}");
        it.up();
    }
}

fn an_idle_session_is_left_alone() {
    let _settings = DropIn::new("patient", CLOSELY);
    let it = Supervised::spawn("patient", &[], &["cat"]);
    let before = it.up();
    let cursor = journal_cursor();
    std::thread::sleep(Duration::from_secs(10));
    assert_eq!(kinds_since(&cursor), Vec::<String>::new());
    assert_eq!(it.up()["pane_pid"], before["pane_pid"]);
}

fn a_typing_user_is_not_disturbed() {
    let _configuration = configured(
        "[sessions.busy]\ncommand = ['sh', '-c', 'echo up; cat > /home/ada/typed']\nready = 'up'\nstuck_after = 3\n\
         nudge_text = 'nudge'\nstuck_restart_after = 6\n",
    );
    let it = Supervised::start("busy");
    let before = it.up();
    let cursor = journal_cursor();
    // A user at a terminal who has just attached counts as one who has just typed. (`script` would type the
    // end of its input, so it has no input.)
    let attach = "sleep 1000 | TERM=xterm script -qec 'forge attach busy' /dev/null";
    let mut person = start(&["sh", "-c", attach]);
    wait_until(Duration::from_secs(10), "the person", || it.status()["attached"] == true);
    event_since(&cursor, "stuck");
    std::thread::sleep(Duration::from_secs(6));
    let kinds = kinds_since(&cursor);
    assert!(
        !kinds.iter().any(|kind| kind == "nudged" || kind == "restarted" || kind == "crashed"),
        "{kinds:?}"
    );
    assert_eq!(it.status()["pane_pid"], before["pane_pid"]);
    person.kill();
    // The watch continues once the user has detached.
    tmux("spawn-busy", &["detach-client", "-s", "busy"]);
    event_since(&cursor, "stuck");
    wait_until(Duration::from_secs(60), "the restart", || {
        kinds_since(&cursor).contains(&"restarted".to_owned())
    });
    let _ = std::fs::remove_file("typed");
}

fn a_reloaded_setting_counts_from_then_on() {
    let command = "[sessions.later]\ncommand = ['sh', '-c', 'while :; do echo x; sleep 0.3; done']\n";
    let configuration = configured(command);
    let it = Supervised::start("later");
    let before = it.up();
    let cursor = journal_cursor();
    std::thread::sleep(Duration::from_secs(16));
    drop(configuration);
    let _configuration =
        configured(&format!("{command}stuck_after = 10\nstuck_by = ['output']\nstuck_restart_after = 14\n"));
    // The program's output counts, however often the session is poked.
    for _ in 0..11 {
        forge(&["poke", "later"]).ok();
        std::thread::sleep(Duration::from_secs(2));
    }
    assert_eq!(kinds_since(&cursor), Vec::<String>::new());
    assert_eq!(it.up()["pane_pid"], before["pane_pid"]);
}

fn a_stuck_session_without_restart_is_not_ended() {
    let _configuration = configured(
        "[sessions.once]\ncommand = 'sleep 1000'\nrestart = 'never'\nstuck_after = 2\nstuck_restart_after = 4\n",
    );
    let it = Supervised::start("once");
    let before = it.up();
    let cursor = journal_cursor();
    event_since(&cursor, "stuck");
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(it.up()["pane_pid"], before["pane_pid"]);
}
