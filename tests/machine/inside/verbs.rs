//! Unusual moments of the verbs: each state, short and signalled runs, late waits, odd texts.

use crate::suite::{Test, inside};
use crate::support::{
    Session, TestFile, alive, cgroup_of, event_since, events_since, forge, forge_json, journal_cursor,
    nothing_left_of, run, shell, spawn, start, tmux, user_unit_property, wait_for, wait_until,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(each_state_is_seen),
        inside!(a_session_is_starting_and_stopping),
        inside!(other_panes_keep_a_session_whose_program_ended),
        inside!(a_status_of_nothing_is_an_error),
        inside!(what_changes_nothing_is_no_event),
        inside!(a_list_takes_patterns_and_no_prefixes),
        inside!(a_session_without_its_file_is_left_running_by_a_restart),
        inside!(a_run_gives_its_program_signals_as_they_were),
        inside!(a_run_that_is_terminated_ends_its_session_soon),
        inside!(a_run_of_a_short_command_has_its_status),
        inside!(a_service_of_a_run_is_active_when_it_is_ready_and_not_before),
        inside!(a_wait_tells_how_the_program_ended),
        inside!(a_wait_for_readiness_ends_with_it),
        inside!(a_text_arrives_whatever_it_ends_with),
        inside!(three_thousand_characters_arrive_while_another_types),
        inside!(who_is_attached_is_seen_and_a_wedged_server_shows_nothing),
        inside!(a_completion_completes),
        inside!(a_reader_that_goes_away_is_no_panic),
    ]
}

const SECONDS_5: Duration = Duration::from_secs(5);
const SECONDS_10: Duration = Duration::from_secs(10);

fn pid(value: &Value) -> u32 {
    value.as_u64().expect("a pid").try_into().expect("a pid")
}

fn state(name: &str) -> Value {
    let ran = forge(&["--json", "status", name]);
    if ran.code == 0 { ran.json()["state"].clone() } else { Value::Null }
}

#[track_caller]
fn wait_for_state(name: &str, wanted: &str) {
    let mut last = Value::Null;
    let end = Instant::now() + SECONDS_10;
    while last != wanted {
        assert!(Instant::now() < end, "{name} is {last} and not {wanted}");
        last = state(name);
    }
}

fn each_state_is_seen() {
    let (_session, spawned) = spawn("states", &[], &["sh", "-c", "read line; exit 3"]);
    let server = spawned["server_pid"].to_string();
    assert_eq!(state("states"), "running");
    run(&["kill", "-STOP", &server]).ok();
    let begin = Instant::now();
    assert_eq!(state("states"), "wedged");
    assert!(begin.elapsed() < Duration::from_secs(3), "one deadline");
    run(&["kill", "-CONT", &server]).ok();
    forge(&["freeze", "states"]).ok();
    let begin = Instant::now();
    assert_eq!(state("states"), "frozen");
    assert!(begin.elapsed() < Duration::from_millis(900), "what is frozen is not asked");
    forge(&["thaw", "states"]).ok();
    assert_eq!(state("states"), "running");
    tmux("spawn-states", &["set", "-gw", "remain-on-exit", "on"]).ok();
    tmux("spawn-states", &["send-keys", "Enter"]).ok();
    wait_for_state("states", "dead");
    let shown = forge_json(&["status", "states"]);
    assert_eq!((&shown["pane_pid"], shown["server_pid"].to_string()), (&Value::Null, server));
    assert_eq!(forge_json(&["wait", "states", "--exit"])["status"], 3);
}

fn a_session_is_starting_and_stopping() {
    let program =
        "trap '' TERM HUP; echo up; while :; do sleep 0.2; test -e /tmp/prompt && echo prompt; done";
    let _ = std::fs::remove_file("/tmp/prompt");
    let spawning = start(&["forge", "spawn", "slow", "--ready", "prompt", "--", "sh", "-c", program]);
    let _session = Session("slow".into());
    wait_for_state("slow", "starting");
    let _prompt = TestFile::new("/tmp/prompt", "");
    spawning.wait(SECONDS_10).ok();
    assert_eq!(state("slow"), "running");
    let stopping = start(&["forge", "stop", "slow", "--timeout", "3"]);
    let mut seen = Vec::new();
    wait_until(SECONDS_10, "the end", || {
        let now = state("slow");
        if !seen.contains(&now) {
            seen.push(now.clone());
        }
        now.is_null()
    });
    seen.retain(|state| *state != "running");
    assert_eq!(json!(seen), json!(["stopping", null]));
    stopping.wait(SECONDS_10).ok();
}

fn other_panes_keep_a_session_whose_program_ended() {
    let (_session, _) = spawn("shared", &[], &["sh", "-c", "read line; exit 0"]);
    tmux("spawn-shared", &["new-window", "-d", "sleep 1000"]).ok();
    tmux("spawn-shared", &["send-keys", "-t", "=shared:0", "Enter"]).ok();
    wait_for_state("shared", "dead");
    assert_eq!(forge_json(&["wait", "shared", "--exit", "--timeout", "10"])["status"], 0);
    assert!(
        tmux("spawn-shared", &["-N", "list-windows"]).ok().stdout.contains("sleep"),
        "the other is there"
    );
    let restarted = forge_json(&["restart", "shared"]);
    assert!(alive(pid(&restarted["restarted"][0]["pane_pid"])));
}

fn a_status_of_nothing_is_an_error() {
    for verb in ["status", "capture", "freeze", "thaw", "restart"] {
        let ran = forge(&["--json", verb, "nobody"]).code(1);
        assert_eq!(ran.json()["error"]["kind"], "no_session", "{ran}");
    }
    let list = forge(&["list", "nobody"]).ok();
    assert!(list.stdout.starts_with("no sessions"), "{list}");
}

fn what_changes_nothing_is_no_event() {
    let (_session, _) = spawn("still", &[], &["sleep", "1000"]);
    let cursor = journal_cursor();
    for verb in ["thaw", "freeze", "freeze", "thaw", "thaw"] {
        forge(&[verb, "still"]).ok();
    }
    forge(&["stop", "still"]).ok();
    event_since(&cursor, "stopped");
    let events = events_since(&cursor);
    let kinds: Vec<&str> = events.iter().filter_map(|event| event["FORGE_EVENT"].as_str()).collect();
    assert_eq!(kinds, ["frozen", "thawed", "stopped"]);
}

fn a_list_takes_patterns_and_no_prefixes() {
    let sessions = ["pick-1", "pick-2", "picked"].map(|name| spawn(name, &[], &["sleep", "1000"]).0);
    let names = |pattern: &str| -> Vec<Value> {
        let list = forge_json(&["list", pattern]);
        list["sessions"].as_array().expect("a list").iter().map(|one| one["session"].clone()).collect()
    };
    assert_eq!(names("pick-?"), ["pick-1", "pick-2"]);
    assert_eq!(names("pick[-e]*"), ["pick-1", "pick-2", "picked"]);
    assert_eq!(names("pick"), Vec::<Value>::new());
    assert_eq!(names("picked"), ["picked"]);
    drop(sessions);
}

fn a_session_without_its_file_is_left_running_by_a_restart() {
    let (_session, spawned) = spawn("fileless", &[], &["sleep", "1000"]);
    std::fs::remove_file(".local/state/forge/sessions/fileless.json").expect("its file");
    let ran = forge(&["restart", "fileless"]).code(1);
    assert!(ran.stderr.contains("left alone"), "{ran}");
    assert!(alive(pid(&spawned["pane_pid"])));
    let list = forge_json(&["list", "fileless"]);
    assert_eq!(
        (&list["sessions"][0]["state"], &list["sessions"][0]["command"]),
        (&json!("running"), &json!([]))
    );
}

fn a_run_gives_its_program_signals_as_they_were() {
    // Of the shell that starts both, so that what the machine does to logins does not count.
    let own = shell("grep -E '^Sig(Blk|Ign)' /proc/self/status").ok().stdout;
    let running = start(&["forge", "run", "signals", "--", "sleep", "1000"]);
    let _session = Session("signals".into());
    wait_for_state("signals", "running");
    let shown = forge_json(&["status", "signals"]);
    let of = |pid: &Value| shell(&format!("grep -E '^Sig(Blk|Ign)' /proc/{pid}/status")).ok().stdout;
    assert_eq!(of(&shown["pane_pid"]), own, "what is blocked or ignored in the program");
    assert!(of(&shown["server_pid"]).contains("SigBlk:\t0000000000000000"), "{}", of(&shown["server_pid"]));
    let stopped = forge_json(&["stop", "signals"]);
    assert_eq!(stopped["stopped"][0]["killed"], 0, "{stopped}");
    running.wait(SECONDS_10);
}

fn a_run_that_is_terminated_ends_its_session_soon() {
    for signal in ["TERM", "INT", "HUP"] {
        let running = start(&["forge", "run", "ended", "--", "sleep", "1000"]);
        let _session = Session("ended".into());
        wait_for_state("ended", "running");
        let cursor = journal_cursor();
        let begin = Instant::now();
        shell(&format!("pkill -{signal} -x -f 'forge run ended -- sleep 1000'")).ok();
        let number = [("TERM", 15), ("INT", 2), ("HUP", 1)].into_iter().find(|(name, _)| *name == signal);
        assert_eq!(running.wait(Duration::from_secs(20)).code, 128 + number.expect("one of them").1);
        assert!(begin.elapsed() < SECONDS_5, "{signal}: sleep(1) ends when asked, {:?}", begin.elapsed());
        assert_eq!(event_since(&cursor, "stopped")["FORGE_KILLED"], "0", "{signal}");
        nothing_left_of("ended");
    }
}

fn a_run_of_a_short_command_has_its_status() {
    for (command, status) in [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137)] {
        let ran = forge(&["run", "short", "--", "sh", "-c", command]);
        assert_eq!(ran.code, status, "however short it is: {command}: {ran}");
        nothing_left_of("short");
    }
}

fn a_service_of_a_run_is_active_when_it_is_ready_and_not_before() {
    let program = "until test -e /tmp/go; do sleep 0.05; done; echo ready; exec sleep 1000";
    let _ = std::fs::remove_file("/tmp/go");
    let service =
        ["systemd-run", "--user", "--quiet", "--collect", "--no-block", "--unit=r", "-p", "Type=notify"];
    let command = ["forge", "run", "served", "--ready", "ready", "--", "sh", "-c", program];
    run(&[&service[..], &command].concat()).ok();
    let _session = Session("served".into());
    wait_for_state("served", "starting");
    assert_eq!(user_unit_property("r.service", "ActiveState"), "activating");
    let _go = TestFile::new("/tmp/go", "");
    wait_until(SECONDS_10, "the service", || user_unit_property("r.service", "ActiveState") == "active");
    let shown = forge_json(&["status", "served"]);
    assert_eq!(shown["state"], "running");
    assert!(!cgroup_of(pid(&shown["pane_pid"])).contains("r.service"), "beside the service and not inside");
    run(&["systemctl", "--user", "stop", "r"]).ok();
    nothing_left_of("served");
    assert_eq!(user_unit_property("r.service", "ActiveState"), "inactive");
}

fn a_wait_tells_how_the_program_ended() {
    for (command, told) in [
        ("exit 7", json!({ "session": "waited", "status": 7, "signal": null, "result": "exit status 7" })),
        (
            "kill -9 $$",
            json!({ "session": "waited", "status": null, "signal": 9, "result": "signal 9 (SIGKILL)" }),
        ),
    ] {
        let (_session, _) = spawn("waited", &[], &["sh", "-c", &format!("read line; {command}")]);
        let ran = forge(&["--json", "wait", "waited", "--exit", "--timeout", "1"]).code(4);
        assert_eq!(ran.json()["error"]["kind"], "deadline", "{ran}");
        let waiting = start(&["forge", "--json", "wait", "waited", "--exit"]);
        tmux("spawn-waited", &["send-keys", "Enter"]).ok();
        assert_eq!(waiting.wait(SECONDS_10).ok().json(), told);
        // Who comes too late is told the same, and who waits may have the name at once.
        assert_eq!(forge_json(&["wait", "waited", "--exit"]), told);
    }
    assert_eq!(forge(&["--json", "wait", "nobody", "--exit"]).code(1).json()["error"]["kind"], "no_session");
}

fn a_wait_for_readiness_ends_with_it() {
    // Its pattern is there at the start, goes, and comes back.
    let program = "echo prompt; read line; clear; read line; echo prompt; sleep 1000";
    let (_session, _) = spawn("prompting", &["--ready", "prompt"], &["sh", "-c", program]);
    forge(&["wait", "prompting", "--ready", "--timeout", "5"]).ok();
    forge(&["send", "prompting", ""]).ok();
    wait_until(SECONDS_5, "the screen to be cleared", || {
        !forge(&["capture", "prompting"]).ok().stdout.contains("prompt")
    });
    let ran = forge(&["--json", "wait", "prompting", "--ready", "--timeout", "1"]).code(4);
    assert_eq!(ran.json()["error"]["kind"], "deadline", "{ran}");
    let mut waiting = start(&["forge", "--json", "wait", "prompting", "--ready"]);
    assert!(waiting.running());
    tmux("spawn-prompting", &["send-keys", "Enter"]).ok();
    assert_eq!(waiting.wait(SECONDS_5).ok().json(), json!({ "session": "prompting", "ready": true }));
}

fn a_reader_that_goes_away_is_no_panic() {
    let (_session, _) = spawn("unread", &[], &["sleep", "1000"]);
    for verb in [
        "",
        "list",
        "--json list",
        "status unread",
        "capture unread",
        "help",
        "completions bash",
        "man",
        "logs",
        "nonsense",
    ] {
        // The shell's own end of the pipe is closed before forge starts.
        let line = format!(
            "{{ sleep 0.05; forge {verb}; echo $? >/tmp/unread; }} 2>/tmp/complaints | true; cat /tmp/complaints"
        );
        let said = shell(&line).ok().stdout;
        assert!(!said.contains("panicked"), "{verb}: {said}");
        let status: i32 =
            std::fs::read_to_string("/tmp/unread").expect("it ended").trim().parse().expect("it");
        assert!(status < 3 || status == 141, "{verb}: {status}");
    }
    let closed = shell("forge list >&- 2>&-; echo $?").ok().stdout;
    assert_eq!(closed.trim(), "0", "without any output at all");
}

/// What came of typing these texts, each with Enter, into a program that takes lines as they are.
#[track_caller]
fn typed(name: &str, texts: &[&str]) -> String {
    let path = format!("/tmp/typed-{name}");
    let _ = std::fs::remove_file(&path);
    let program = format!("stty -icanon -echo; echo go; exec cat >{path}");
    let (_session, _) = spawn(name, &["--ready", "go"], &["sh", "-c", &program]);
    for text in texts {
        forge(&["send", "--no-enter", name, text]).ok();
        tmux(&format!("spawn-{name}"), &["send-keys", "Enter"]).ok();
    }
    let lines = || std::fs::read_to_string(&path).unwrap_or_default();
    wait_until(SECONDS_10, "the lines", || lines().lines().count() == texts.len());
    lines()
}

fn a_text_arrives_whatever_it_ends_with() {
    let semicolon_at_a_piece = format!("{};{}", "x".repeat(511), "y".repeat(20));
    let texts =
        ["echo one;", ";", "back\\;", "#{pid};", "-l", "Enter", "C-c", &semicolon_at_a_piece, "~ ^ \\ ' \""];
    let wanted = texts.map(|text| format!("{text}\n")).concat();
    assert_eq!(typed("endings", &texts), wanted);
}

fn three_thousand_characters_arrive_while_another_types() {
    let path = "/tmp/typed-crowd";
    let _ = std::fs::remove_file(path);
    let program = format!("stty -icanon -echo; echo go; exec cat >{path}");
    let (_session, _) = spawn("crowd", &["--ready", "go"], &["sh", "-c", &program]);
    let texts = ["a❯", "bж"].map(|text| text.repeat(1500));
    let sends = texts.each_ref().map(|text| start(&["forge", "send", "crowd", text]));
    for send in sends {
        send.wait(Duration::from_secs(30)).ok();
    }
    let lines = || std::fs::read_to_string(path).unwrap_or_default();
    wait_until(SECONDS_10, "both", || lines().lines().filter(|line| !line.is_empty()).count() == 2);
    let (first, second) = (format!("{}\n", texts[0]), format!("{}\n", texts[1]));
    // One after another and not mixed. An Enter that showed nothing is pressed once more.
    let seen: Vec<String> =
        lines().lines().filter(|line| !line.is_empty()).map(|line| format!("{line}\n")).collect();
    assert!(seen == [first.clone(), second.clone()] || seen == [second, first], "{seen:?}");
}

fn who_is_attached_is_seen_and_a_wedged_server_shows_nothing() {
    let (_session, spawned) = spawn("seen", &["--ready", "look"], &["sh", "-c", "echo look; sleep 1000"]);
    let ran = forge(&["--json", "attach", "seen"]).code(2);
    assert_eq!(ran.json()["error"]["kind"], "usage", "{ran}");
    let terminal = start(&["env", "TERM=xterm", "script", "-qefc", "forge attach seen", "/dev/null"]);
    wait_until(SECONDS_10, "the terminal", || {
        forge_json(&["list", "seen"])["sessions"][0]["attached"] == true
    });
    assert!(forge(&["list", "seen"]).ok().stdout.contains("(attached)"));
    tmux("spawn-seen", &["detach-client", "-a"]).ok();
    tmux("spawn-seen", &["detach-client", "-s", "=seen"]).ok();
    assert_eq!(terminal.wait(SECONDS_10).code, 0, "a detached client ends well");
    wait_until(SECONDS_5, "it to be detached", || forge_json(&["status", "seen"])["attached"] == false);
    let server = spawned["server_pid"].to_string();
    run(&["kill", "-STOP", &server]).ok();
    let begin = Instant::now();
    for (verb, code) in [(&["capture", "seen"][..], 4), (&["send", "seen", "x"], 4), (&["attach", "seen"], 1)]
    {
        let ran = forge(verb);
        assert_eq!(ran.code, code, "{ran}");
        assert!(ran.stderr.contains("hint: "), "{ran}");
    }
    assert!(begin.elapsed() < Duration::from_secs(20), "no client waits for ever");
    run(&["kill", "-CONT", &server]).ok();
    forge(&["capture", "seen"]).ok();
}

fn a_completion_completes() {
    for name in ["bash", "zsh", "fish", "elvish"] {
        let script = forge(&["completions", name]).ok().stdout;
        assert!(script.contains("sweep") && !script.contains("pane-died"), "{name}");
    }
    let line = "source <(forge completions bash); COMP_WORDS=(forge sw); COMP_CWORD=1; _forge forge sw forge; \
                echo ${COMPREPLY[*]}";
    assert_eq!(run(&["bash", "-c", line]).ok().stdout.trim(), "sweep");
}
