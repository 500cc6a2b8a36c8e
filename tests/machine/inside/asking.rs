//! Programs that ask: forge shows and reports a question, and never answers it. Programs that only tick are
//! stuck.

use crate::suite::{Test, inside};
use crate::support::{
    DropIn, Session, Supervised, TestFile, configured, event_since, events_since, forge, forge_json,
    journal_cursor, run, shell, signal, spawn, wait_for, wait_until,
};
use serde_json::Value;
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(a_question_is_never_answered_by_a_nudge).limit_s(180),
        inside!(a_nudge_needs_a_prompt).limit_s(180),
        inside!(a_question_is_shown),
        inside!(a_question_is_noticed_once_and_one_a_minute).limit_s(180),
        inside!(the_next_supervisor_knows_the_question),
        inside!(a_silent_answer_is_detected),
        inside!(a_trust_question_is_not_ready),
        inside!(a_question_at_the_start_fails_at_once),
        inside!(a_program_that_only_ticks_is_stuck).limit_s(240),
        inside!(a_log_and_a_form_that_is_filled_in_are_not_stuck).limit_s(180),
        inside!(a_question_costs_nothing_while_nothing_happens).limit_s(120),
    ]
}

fn since(cursor: &u128, kind: &str) -> Vec<Value> {
    events_since(cursor).into_iter().filter(|event| event["FORGE_EVENT"] == kind).collect()
}

/// A menu as agents show it: the first Enter selects its first line.
const MENU: &str = "printf \"> \\n\"; sleep 2; printf \"Do you want to proceed?\\n> 1. Yes\\n  2. No\\n\"; \
                    read -r a && echo \"$a\" >> /home/ada/answered; clear; printf \"> \"; read -r a; \
                    echo \"$a\" >> /home/ada/answered; sleep 1000";

fn a_question_is_never_answered_by_a_nudge() {
    let _ = std::fs::remove_file("answered");
    let _configuration = configured(&format!(
        "[sessions.asks]\ncommand = ['sh', '-c', '{MENU}']\nready = '^> '\nasking = 'Do you want to'\n\
         stuck_after = 10\nstuck_by = ['output']\nnudge_text = 'go on'\nstuck_restart_after = 20\n"
    ));
    let it = Supervised::start("asks");
    let before = it.up();
    let cursor = journal_cursor();
    wait_until(Duration::from_secs(20), "the question", || it.status()["activity"] == "asking");
    std::thread::sleep(Duration::from_secs(45));
    for never in ["stuck", "nudged", "crashed", "restarted"] {
        assert_eq!(since(&cursor, never), Vec::<Value>::new(), "{never}");
    }
    assert!(!std::path::Path::new("answered").exists(), "nobody pressed Enter");
    assert_eq!(it.up()["pane_pid"], before["pane_pid"]);
    // After an answer, silence counts from the answer on.
    let answered = journal_cursor();
    shell("tmux -L spawn-asks send-keys -t asks Enter").ok();
    let stuck = event_since(&answered, "stuck");
    assert!(crate::support::sent_at(&stuck) - answered >= 9_000_000, "not before it was silent for so long");
}

fn a_nudge_needs_a_prompt() {
    let session = |prompts: &str, script: &str| {
        format!(
            "[sessions.prompted]\ncommand = ['sh', '-c', '{script}']\nstuck_after = 2\nstuck_restart_after = 100\n\
             nudge_text = 'go on'\n{prompts}"
        )
    };
    let typing = "while read -r x; do echo \"$x\" >> /home/ada/typed; done";
    for (prompts, script, result, why) in [
        ("", format!("echo hello; {typing}"), "refused", "no ready pattern"),
        (
            "ready = 'hello'\n",
            format!("echo hello; sleep 1; clear; {typing}"),
            "refused",
            "'hello' is not on its screen",
        ),
        (
            "ready = 'hello'\nnot_ready = 'trust'\n",
            format!("echo hello; sleep 1; echo trust me; {typing}"),
            "refused",
            "'trust' (not_ready)",
        ),
        ("ready = 'hello'\n", format!("echo hello; {typing}"), "submitted", ""),
    ] {
        let _ = std::fs::remove_file("typed");
        let _configuration = configured(&session(prompts, &script));
        let it = Supervised::start("prompted");
        let before = it.up();
        let cursor = journal_cursor();
        let nudged = event_since(&cursor, "nudged");
        assert_eq!(nudged["FORGE_RESULT"], result, "{nudged}");
        assert_eq!(nudged["FORGE_ARRIVED"], if result == "refused" { "false" } else { "true" }, "{nudged}");
        let error = nudged["FORGE_ERROR"].as_str().unwrap_or_default();
        assert!(error.contains(why), "{nudged}");
        // One record for each silence, also when the next supervisor continues it.
        if result == "refused" {
            assert!(!std::path::Path::new("typed").exists(), "{why}");
            signal("KILL", it.pid());
            std::thread::sleep(Duration::from_secs(6));
            assert_eq!(since(&cursor, "nudged").len(), 1, "{why}");
            assert_eq!(it.up()["pane_pid"], before["pane_pid"]);
        } else {
            wait_until(Duration::from_secs(5), "the text", || {
                std::fs::read_to_string("typed").is_ok_and(|text| text == "go on\n")
            });
        }
    }
    let _ = std::fs::remove_file("typed");
}

fn a_question_is_shown() {
    let script = "printf 'Delete it? [y/N] '; read -r a; clear; echo done; sleep 1000";
    let (_session, _) = spawn("shown", &["--asking", r"\[y/N\] ?\z"], &["sh", "-c", script]);
    let (_plain, _) = spawn("plain", &[], &["sh", "-c", script]);
    wait_until(Duration::from_secs(10), "the question", || {
        forge_json(&["status", "shown"])["activity"] == "asking"
    });
    let sessions = forge_json(&["list"]);
    let sessions = sessions["sessions"].as_array().expect("a list");
    let of = |name: &str| sessions.iter().find(|one| one["session"] == name).expect("it").clone();
    assert_eq!(
        (&of("shown")["activity"], &of("shown")["activity_source"]),
        (&"asking".into(), &"screen".into())
    );
    assert_eq!(of("shown")["activity_since"], Value::Null, "nobody saw it begin");
    assert_eq!(
        (&of("plain")["activity"], &of("plain")["activity_source"]),
        (&"unknown".into(), &Value::Null)
    );
    assert_eq!(of("shown").get("question"), None);
    let list = forge(&["list"]).ok().stdout;
    assert!(
        list.lines().any(|line| line.starts_with("shown ") && line.contains("running (asking)")),
        "{list}"
    );
    let status = forge(&["status", "shown"]).ok().stdout;
    for part in ["activity   asking", "| Delete it? [y/N]", "forge attach shown", "--answer"] {
        assert!(status.contains(part), "{status}");
    }
    // Many at once.
    let others: Vec<_> = (0..9)
        .map(|n| spawn(&format!("many-{n}"), &["--asking", "Delete"], &["sh", "-c", script]).0)
        .collect();
    wait_until(Duration::from_secs(10), "all questions", || {
        let sessions = forge_json(&["list", "many-*"]);
        sessions["sessions"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(|one| one["activity"] == "asking")
            .count()
            == others.len()
    });
    shell("tmux -L spawn-shown send-keys -t shown n Enter").ok();
    wait_until(Duration::from_secs(10), "the answer", || {
        forge_json(&["status", "shown"])["activity"] == "unknown"
    });
}

fn notices() -> Vec<Value> {
    let text = std::fs::read_to_string("reported").unwrap_or_default();
    text.lines()
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// A program that asks one question after another.
const ASKS_ON: &str = "while read -r q < /home/ada/questions && [ -n \"$q\" ]; do clear; printf \"%s [y/N] \" \"$q\"; \
                       read -r a; clear; echo working; sleep 2; done; sleep 1000";

fn a_question_is_noticed_once_and_one_a_minute() {
    let _ = std::fs::remove_file("reported");
    let questions = TestFile::new("questions", "Delete SECRET-1?\n");
    let _configuration = configured(&format!(
        "[sessions.curious]\ncommand = ['sh', '-c', '''{ASKS_ON}''']\nasking = '\\[y/N\\] ?\\z'\n\
         [notify]\ncommand = ['sh', '-c', 'cat >> /home/ada/reported; echo >> /home/ada/reported']\n"
    ));
    let cursor = journal_cursor();
    let it = Supervised::start("curious");
    wait_until(Duration::from_secs(20), "the notice", || !notices().is_empty());
    let first = std::time::Instant::now();
    let notice = notices().remove(0);
    assert_eq!((&notice["kind"], &notice["session"]), (&"asking".into(), &"curious".into()));
    let text = notice["text"].as_str().expect("a text");
    assert!(text.contains("curious asks\nDelete SECRET-1? [y/N]\n  forge attach curious"), "{text}");
    let asked = event_since(&cursor, "asking");
    assert_eq!((&asked["FORGE_SESSION"], &asked["PRIORITY"]), (&"curious".into(), &"6".into()));
    assert!(it.status()["activity_since"].is_string(), "its supervisor saw it begin");
    let supervisor = it.pid();
    // forge observes the same question again; that is not another question.
    forge(&["poke", "curious"]).ok();
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!((since(&cursor, "asking").len(), notices().len()), (1, 1));
    // forge records the next question within the minute at once, and sends its notice after the minute.
    drop(questions);
    let _questions = TestFile::new("questions", "Delete SECRET-2?\n");
    shell("tmux -L spawn-curious send-keys -t curious y Enter").ok();
    wait_until(Duration::from_secs(10), "the next question", || since(&cursor, "asking").len() == 2);
    assert_eq!(notices().len(), 1);
    wait_until(Duration::from_secs(70), "the next notice", || notices().len() == 2);
    assert!(first.elapsed() >= Duration::from_secs(55), "{:?}", first.elapsed());
    assert!(notices()[1]["text"].as_str().expect("a text").contains("SECRET-2"));
    // The notice units are gone; the supervisor is the same process and has no children.
    assert_eq!(it.pid(), supervisor);
    assert_eq!(shell(&format!("pgrep -P {supervisor} | wc -l")).ok().stdout.trim(), "0");
    wait_until(Duration::from_secs(10), "its unit to go", || {
        !run(&["systemctl", "--user", "list-units", "--all", "--plain"]).stdout.contains("forge-asking-")
    });
    let journal = run(&["journalctl", "-o", "json", "--all", "-n", "2000"]).stdout;
    assert!(!journal.contains("SECRET"), "what is on a screen is in no journal");
    // A question that is answered before its notice is sent needs no notice.
    let nothing = {
        shell("tmux -L spawn-curious send-keys -t curious y Enter").ok();
        shell("tmux -L spawn-curious clear-history -t curious").ok();
        forge(&["notify", "asking", "curious"]).ok().stdout
    };
    assert!(nothing.contains("does not ask a question"), "{nothing}");
    let _ = std::fs::remove_file("reported");
}

fn the_next_supervisor_knows_the_question() {
    let _settings = DropIn::new("kept", "[Service]\nRestartSec=50ms\n");
    let _ = std::fs::remove_file("reported");
    let _configuration = configured(
        "[sessions.kept]\ncommand = ['sh', '-c', 'printf \"Sure? \"; read -r a; sleep 1000']\nasking = 'Sure'\n\
         [notify]\ncommand = ['sh', '-c', 'cat >> /home/ada/reported; echo >> /home/ada/reported']\n",
    );
    let cursor = journal_cursor();
    let it = Supervised::start("kept");
    wait_until(Duration::from_secs(20), "the notice", || !notices().is_empty());
    for _ in 0..3 {
        let supervisor = it.pid();
        signal("KILL", supervisor);
        wait_until(Duration::from_secs(20), "the next", || ![0, supervisor].contains(&it.pid()));
        it.up();
        std::thread::sleep(Duration::from_secs(2));
    }
    assert_eq!((since(&cursor, "asking").len(), notices().len()), (1, 1));
    let _ = std::fs::remove_file("reported");
}

fn a_silent_answer_is_detected() {
    let script = "while :; do printf \"Sure? \"; read -r a; sleep 2; done";
    let _configuration = configured(&format!(
        "[sessions.terse]\ncommand = ['sh', '-c', '{script}']\nasking = 'Sure\\? ?\\z'\n"
    ));
    let cursor = journal_cursor();
    let it = Supervised::start("terse");
    for n in 1..=3 {
        wait_until(Duration::from_secs(15), "the question", || since(&cursor, "asking").len() == n);
        shell("tmux -L spawn-terse send-keys -t terse y Enter").ok();
    }
    it.up();
}

fn a_trust_question_is_not_ready() {
    let script = "echo Do you trust this folder; echo '> 1. Yes'; sleep 1000";
    let options = ["--ready", "^> ", "--not-ready", "Do you trust", "--ready-timeout", "2"];
    let failed = forge(&[&["spawn", "wary"], &options[..], &["--", "sh", "-c", script]].concat()).code(4);
    for part in [
        "boot failed: the prompt never appeared ('^> ', waited 2 s); 'Do you trust' (not_ready) is on its screen\n",
        "\non its screen:\n  | Do you trust this folder\n  | > 1. Yes\n",
    ] {
        assert!(failed.stderr.contains(part), "{failed}");
    }
    crate::support::nothing_left_of("wary");
    // The session is up after the answer.
    let script = "echo Do you trust this folder; sleep 1; clear; echo '> '; sleep 1000";
    let options = ["--ready", "^> ?", "--not-ready", "Do you trust"];
    let (_session, spawned) = spawn("wary", &options, &["sh", "-c", script]);
    assert!(spawned["elapsed_ms"].as_u64().expect("a time") >= 1000, "{spawned}");
    forge(&["wait", "wary", "--ready", "--timeout", "5"]).ok();
    let ask = "echo '> '; sleep 2; echo Sure; sleep 1000";
    let (_asks, _) = spawn("asker", &["--ready", "^> ?", "--asking", "Sure"], &["sh", "-c", ask]);
    wait_until(Duration::from_secs(10), "the question", || {
        forge_json(&["status", "asker"])["activity"] == "asking"
    });
    let late = forge(&["wait", "asker", "--ready", "--timeout", "1"]).code(4);
    assert!(late.stderr.contains("asker is not ready: 'Sure' (asking) is on its screen"), "{late}");
    let refused = forge(&["spawn", "alone", "--not-ready", "x", "--", "sleep", "1"]).code(2);
    assert!(refused.stderr.contains("not_ready needs ready"), "{refused}");
    let refused = forge(&["spawn", "alone", "--asking", "[", "--", "sleep", "1"]).code(2);
    assert!(refused.stderr.contains("the asking pattern '['"), "{refused}");
}

fn a_question_at_the_start_fails_at_once() {
    let spawned = |options: &[&str], script: &str| {
        let start = ["--json", "spawn", "wary", "--ready", "^> ?", "--ready-timeout", "3600"];
        forge(&[&start, options, &["--", "sh", "-c", script]].concat())
    };
    let trust = "echo Do you trust this folder; echo '> 1. Yes'; sleep 1000";
    for (option, pattern) in
        [("--not-ready", "'Do you trust' (not_ready)"), ("--asking", "'Do you trust' (asking)")]
    {
        let failed = spawned(&[option, "Do you trust"], trust).code(1);
        let error = failed.json()["error"].clone();
        let message = format!(
            "boot failed: the program waits for an answer: {pattern} is on its screen\non its screen:\n  \
             | Do you trust this folder\n  | > 1. Yes"
        );
        assert_eq!((&error["kind"], &error["message"]), (&"asking".into(), &message.into()), "{failed}");
        let hint = error["hint"].as_str().expect("a hint");
        assert!(hint.contains("run sh in /home/ada by hand") && hint.contains("--agent generic"), "{hint}");
        crate::support::nothing_left_of("wary");
    }
    // A program that goes on by itself is ready later: its log-in counts down.
    let counts = "for n in 6 5 4 3 2 1; do clear; echo Do you trust me in $n; sleep 1; done; clear; echo '> '; sleep 1000";
    let _session = Session("wary".into());
    spawned(&["--not-ready", "Do you trust"], counts).ok();
    forge(&["stop", "wary"]).ok();
    // The end of the program is the reason, whatever is on its screen.
    let ended =
        spawned(&["--not-ready", "Do you trust"], "echo Do you trust this folder; sleep 1; exit 9").code(1);
    assert_eq!(ended.json()["error"]["kind"], "ended", "{ended}");
}

fn a_program_that_only_ticks_is_stuck() {
    let spinner = r#"while :; do for c in "|" / - "\\"; do printf "\r%s Working (%ss)" "$c" $((n=n+1)); sleep 0.2; done; done"#;
    let clock = r#"while :; do printf "\033[H%s  load %s" "$(date +%H:%M:%S)" "$(cut -d" " -f1 /proc/loadavg)"; sleep 1; done"#;
    let counter = r#"n=90; while :; do n=$((n+1)); printf "\r%s%% of 1.%s MB" $n $n; sleep 0.3; done"#;
    let redrawn =
        r#"while :; do printf "\033[H\033[JWorking since noon\n%s" "$(date +%H:%M:%S)"; sleep 0.5; done"#;
    for (what, script) in
        [("spinner", spinner), ("clock", clock), ("counter", counter), ("redrawn clock", redrawn)]
    {
        let _configuration = configured(&format!(
            "[sessions.ticks]\ncommand = ['sh', '-c', '''{script}''']\nstuck_after = 12\nstuck_by = ['output']\n"
        ));
        let it = Supervised::start("ticks");
        let cursor = journal_cursor();
        let stuck = wait_for(Duration::from_secs(40), what, || since(&cursor, "stuck").pop());
        let after = crate::support::sent_at(&stuck) - cursor;
        assert!((11_000_000..32_000_000).contains(&after), "{what}: after {after} us");
        // The state stays, reported once.
        std::thread::sleep(Duration::from_secs(10));
        assert_eq!(since(&cursor, "stuck").len(), 1, "{what}");
        it.up();
    }
}

fn a_log_and_a_form_that_is_filled_in_are_not_stuck() {
    let log = "n=0; while :; do n=$((n+1)); echo \"request $n done\"; sleep 2; done";
    let bar = "while :; do printf \"#\"; sleep 2; done";
    let alternate = "printf \"\\033[?1049h\"; for w in a b c d e f g h i j k l m n; do printf \"\\033[H$w\"; sleep 2; done";
    for (what, script) in [("log", log), ("bar", bar), ("alternate screen", alternate)] {
        let _configuration = configured(&format!(
            "[sessions.lively]\ncommand = ['sh', '-c', '''{script}''']\nstuck_after = 9\nstuck_by = ['output']\n"
        ));
        let it = Supervised::start("lively");
        let cursor = journal_cursor();
        std::thread::sleep(Duration::from_secs(24));
        assert_eq!(since(&cursor, "stuck"), Vec::<Value>::new(), "{what}");
        it.up();
    }
}

fn wake_ups(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.expect("its wake-ups").trim().parse().expect("a number")
}

fn a_question_costs_nothing_while_nothing_happens() {
    // A tmux that logs each call.
    let _tmux =
        TestFile::new("bin/tmux", "#!/bin/sh\necho x >> /home/ada/calls\nexec /usr/bin/tmux \"$@\"\n");
    shell("chmod +x bin/tmux").ok();
    let _settings = DropIn::new("calm", "[Service]\nEnvironment=PATH=/home/ada/bin:/usr/bin:/bin\n");
    let session = |script: &str| {
        configured(&format!("[sessions.calm]\ncommand = ['sh', '-c', '{script}']\nasking = 'Sure'\n"))
    };
    let calls = || std::fs::read_to_string("calls").map_or(0, |text| text.lines().count());
    let configuration = session("sleep 1000");
    let it = Supervised::start("calm");
    let pid = it.pid();
    std::thread::sleep(Duration::from_secs(3));
    let (before, asked) = (wake_ups(pid), calls());
    std::thread::sleep(Duration::from_secs(30));
    assert_eq!(calls(), asked, "forge does not read a screen that does not change");
    // At most the watchdog's wake-up, which is a few steps at once.
    let woke = wake_ups(pid) - before;
    assert!(woke <= 10, "it woke up {woke} times");
    drop((it, configuration));
    let _configuration = session("while :; do echo x; sleep 0.02; done");
    let it = Supervised::start("calm");
    let pid = it.pid();
    std::thread::sleep(Duration::from_secs(8));
    let (before, asked) = (wake_ups(pid), calls());
    std::thread::sleep(Duration::from_secs(20));
    let (looks, woke) = (calls() - asked, wake_ups(pid) - before);
    eprintln!("beside a program that prints 50 times a second: {looks} looks, {woke} switches in 20 s");
    assert!((2..=20).contains(&looks), "{looks} looks in 20 s");
    let _ = std::fs::remove_file("calls");
}
