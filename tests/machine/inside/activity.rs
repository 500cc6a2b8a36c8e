//! The activity of a session's program, by the reports of its hooks and by its screen.

mod notices;
mod stuck;

use crate::suite::{Test, inside};
use crate::support::{
    DropIn, Session, Supervised, configured, event_since, events_since, forge, forge_json, journal_cursor,
    run, shell, signal, spawn, start, tmux, wait_until,
};
use serde_json::Value;
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    let tests = vec![
        inside!(a_hook_reports_what_its_program_does),
        inside!(a_report_never_fails_a_hook),
        inside!(a_process_that_outlived_its_session_reports_nothing),
        inside!(of_two_reports_at_once_one_counts),
        inside!(waiting_for_a_question_and_for_the_end_of_a_turn),
        inside!(a_working_pattern_shows_the_end_of_a_turn),
        inside!(a_minute_has_few_events),
        inside!(a_reported_conversation_is_resumed),
    ];
    [tests, stuck::tests(), notices::tests()].into_iter().flatten().collect()
}

/// A program that runs what [`order`] says, as an agent runs its hooks. It prints nothing by itself.
fn servant(name: &str) -> String {
    shell(&format!("rm -f orders-{name}; mkfifo orders-{name}")).ok();
    format!(
        "T=$(tty); export T; printf \"> \"; while :; do read -r o < /home/ada/orders-{name} || continue; \
         sh -c \"$o\" > /home/ada/said-{name} 2>&1; echo $? > /home/ada/result; \
         mv /home/ada/result /home/ada/result-{name}; done"
    )
}

/// Spawns a session with such a program.
#[track_caller]
fn serving(name: &str, options: &[&str]) -> Session {
    spawn(name, options, &["sh", "-c", &servant(name)]).0
}

/// Has the program run a command; returns the exit status and the output.
#[track_caller]
fn order(name: &str, command: &str) -> (i32, String) {
    let result = format!("result-{name}");
    let _ = std::fs::remove_file(&result);
    std::fs::write(format!("orders-{name}"), format!("{command}\n")).expect("the order");
    wait_until(Duration::from_secs(20), command, || std::fs::exists(&result).is_ok_and(|there| there));
    let said = std::fs::read_to_string(format!("said-{name}")).expect("the output");
    let status = std::fs::read_to_string(&result).expect("the result");
    (status.trim().parse().expect("a status"), said)
}

/// Has the program report something.
#[track_caller]
fn report(name: &str, arguments: &str) {
    assert_eq!(order(name, &format!("forge report {arguments}")), (0, String::new()), "{arguments}");
}

/// Has the program replace its screen.
#[track_caller]
fn show(name: &str, text: &str) {
    assert_eq!(order(name, &format!(r#"printf "\033[H\033[J{text}" > $T"#)), (0, String::new()), "{text}");
}

/// The activity and its source.
#[track_caller]
fn activity(name: &str) -> (String, Value) {
    let status = forge_json(&["status", name]);
    (status["activity"].as_str().expect("an activity").to_owned(), status["activity_source"].clone())
}

fn hook(activity: &str) -> (String, Value) {
    (activity.to_owned(), "hook".into())
}

fn screen(activity: &str) -> (String, Value) {
    (activity.to_owned(), "screen".into())
}

fn unknown() -> (String, Value) {
    ("unknown".to_owned(), Value::Null)
}

/// The events of these kinds, each with its activity.
fn recorded(cursor: &u128, kinds: &[&str]) -> Vec<String> {
    let of = |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
    let events = events_since(cursor).into_iter().filter(|event| kinds.contains(&&*of(event, "FORGE_EVENT")));
    events
        .map(|event| {
            format!("{} {}", of(&event, "FORGE_EVENT"), of(&event, "FORGE_ACTIVITY")).trim().to_owned()
        })
        .collect()
}

const KINDS: [&str; 3] = ["activity", "asking", "done"];

fn a_hook_reports_what_its_program_does() {
    let _session = serving("hooked", &[]);
    assert_eq!(activity("hooked"), unknown());
    assert!(!forge(&["status", "hooked"]).ok().stdout.contains("activity"));
    let cursor = journal_cursor();
    for (word, shown) in [("working", "working"), ("asking", "asking"), ("idle", "idle"), ("done", "idle")] {
        report("hooked", word);
        assert_eq!(activity("hooked"), hook(shown));
        let list = forge(&["list"]).ok().stdout;
        assert!(list.contains(&format!("running ({shown})")), "{list}");
    }
    assert_eq!(
        recorded(&cursor, &KINDS),
        ["activity working", "activity asking", "asking", "activity idle", "done"]
    );
    assert_eq!(event_since(&cursor, "activity")["FORGE_SOURCE"], "hook");
    let status = forge_json(&["status", "hooked"]);
    report("hooked", "idle");
    assert_eq!(forge_json(&["status", "hooked"])["activity_since"], status["activity_since"]);
    assert!(status["activity_since"].is_string(), "{status}");
    let text = forge(&["status", "hooked"]).ok().stdout;
    assert!(text.contains("activity   idle since 2") && text.contains(" (hook)\n"), "{text}");
    let counts = &forge_json(&["probe"])["activity"];
    assert_eq!((&counts["idle"], &counts["working"]), (&1.into(), &0.into()));
    let metrics = forge(&["probe", "--metrics"]).ok().stdout;
    assert!(metrics.contains("\nforge_sessions_by_activity{activity=\"idle\"} 1\n"), "{metrics}");
    let (status, said) = order("hooked", "forge --json report done");
    assert_eq!(
        (status, said.as_str()),
        (0, "{\"activity\":\"idle\",\"done\":true,\"session\":\"hooked\"}\n")
    );
}

fn a_report_never_fails_a_hook() {
    let outside = "forge: this command does not run in a session\n";
    for argv in [&["forge", "report", "working"][..], &["env", "FORGE_SESSION=x", "forge", "report", "done"]]
    {
        let ran = run(argv).ok();
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", outside));
    }
    let json = forge(&["--json", "report", "idle"]).ok().json();
    assert_eq!(json["error"]["kind"], "no_session");
    let _session = serving("careful", &[]);
    let (status, said) = order("careful", "forge report asking --resume-id \"a b\" --text --no");
    assert!(status == 0 && said.contains("'a b' is not a valid resume id"), "{said}");
    assert_eq!(activity("careful"), hook("asking"), "the rest of the report counts");
    let _configuration = configured("[notify]\non = ['sunshine']\n");
    let (status, said) = order("careful", "forge report done");
    assert!(status == 0 && said.contains("sunshine"), "{said}");
    assert_eq!(activity("careful"), hook("idle"));
    for wrong in ["sleeping", "", "working --loudly"] {
        assert_eq!(order("careful", &format!("forge report {wrong}")).0, 2, "{wrong}");
    }
}

fn a_process_that_outlived_its_session_reports_nothing() {
    let session = serving("left", &[]);
    let beyond = servant("beyond");
    std::fs::write("beyond.sh", beyond).expect("a script");
    let scope =
        "systemd-run --user --scope --quiet --collect setsid sh /home/ada/beyond.sh > /dev/null 2>&1 &";
    assert_eq!(order("left", scope).0, 0);
    assert_eq!(order("beyond", "echo $FORGE_SESSION"), (0, "left\n".to_owned()));
    drop(session);
    let _session = serving("left", &[]);
    let (status, said) = order("beyond", "forge report asking; s=$?; (sleep 1; kill $PPID) & exit $s");
    assert_eq!((status, said.as_str()), (0, "forge: this command does not run in a session\n"));
    assert_eq!(activity("left"), unknown());
    // The program ends, and the user's other pane stays.
    report("left", "idle");
    tmux("spawn-left", &["new-window", "-d", &servant("pane")]).ok();
    assert_eq!(order("pane", "echo here"), (0, "here\n".to_owned()));
    let pid = forge_json(&["status", "left"])["pane_pid"].as_u64().expect("a pid");
    signal("KILL", u32::try_from(pid).expect("a pid"));
    wait_until(Duration::from_secs(10), "its end", || forge_json(&["status", "left"])["state"] == "dead");
    let (status, said) = order("pane", "forge report asking");
    assert_eq!((status, said.as_str()), (0, "forge: the program of left does not run\n"));
    assert_eq!(activity("left"), unknown());
}

fn of_two_reports_at_once_one_counts() {
    let _session = serving("both", &[]);
    let at_once = "for n in 1 2 3 4 5 6 7 8; do forge report working & forge report idle & done; wait";
    assert_eq!(order("both", at_once), (0, String::new()));
    assert!([hook("working"), hook("idle")].contains(&activity("both")));
    report("both", "asking");
    assert_eq!(activity("both"), hook("asking"));
    assert_eq!(forge_json(&["status", "both"])["state"], "running", "the mark is another attribute");
}

fn waiting_for_a_question_and_for_the_end_of_a_turn() {
    let _session = serving("awaited", &[]);
    let wait = |what: &str| start(&["forge", "--json", "wait", "awaited", what, "--timeout", "40"]);
    let asking = wait("--asking");
    report("awaited", "working");
    assert_eq!(forge(&["wait", "awaited", "--asking", "--timeout", "1"]).code(4).stdout, "");
    assert_eq!(forge(&["wait", "awaited", "--idle", "--timeout", "1"]).code(4).stdout, "");
    let idle = wait("--idle");
    report("awaited", "asking");
    assert_eq!(asking.wait(Duration::from_secs(10)).ok().json()["asking"], true);
    assert_eq!(idle.wait(Duration::from_secs(10)).json()["error"]["kind"], "asking");
    report("awaited", "working");
    let idle = wait("--idle");
    report("awaited", "idle");
    assert_eq!(idle.wait(Duration::from_secs(10)).ok().json()["idle"], true);
    let ended = wait("--asking");
    std::thread::sleep(Duration::from_millis(500));
    forge(&["stop", "awaited"]).ok();
    assert_eq!(ended.wait(Duration::from_secs(10)).json()["error"]["kind"], "ended");
    // The screen counts, too, and more than the report.
    let _session = serving("awaited", &["--asking", r"Sure\? ?\z"]);
    report("awaited", "working");
    let asking = wait("--asking");
    show("awaited", "Sure? ");
    asking.wait(Duration::from_secs(10)).ok();
    assert_eq!(activity("awaited"), screen("asking"));
    forge(&["wait", "awaited"]).code(2);
    forge(&["wait", "awaited", "--idle", "--asking"]).code(2);
}

fn a_working_pattern_shows_the_end_of_a_turn() {
    let _session = serving("signs", &["--ready", "> ?", "--working", "esc to interrupt", "--asking", "Sure"]);
    assert_eq!(activity("signs"), screen("idle"));
    show("signs", "(esc to interrupt) > ");
    assert_eq!(activity("signs"), screen("working"));
    let late = forge(&["wait", "signs", "--idle", "--timeout", "4"]).code(4);
    assert!(late.stderr.contains("signs has not finished its turn"), "{late}");
    let idle = start(&["forge", "wait", "signs", "--idle", "--timeout", "40"]);
    show("signs", "> ");
    idle.wait(Duration::from_secs(20)).ok();
    show("signs", "Sure? > ");
    assert_eq!(activity("signs"), screen("asking"));
    show("signs", "neither");
    assert_eq!(activity("signs"), unknown());
    // A report counts more, until the question that it reported is not on the screen.
    report("signs", "asking");
    show("signs", "(esc to interrupt) > ");
    wait_until(Duration::from_secs(10), "the answer", || activity("signs") == screen("working"));
    report("signs", "idle");
    assert_eq!(activity("signs"), hook("idle"));
    let _prompt_only = serving("mute", &["--ready", "> ?"]);
    assert_eq!(activity("mute"), unknown(), "a prompt alone proves nothing");
}

fn a_minute_has_few_events() {
    let _session = serving("hasty", &[]);
    let cursor = journal_cursor();
    let often = "for n in $(seq 20); do forge report working; forge report asking; forge report done; done";
    assert_eq!(order("hasty", often), (0, String::new()));
    let events = recorded(&cursor, &["activity"]);
    assert_eq!((events.len(), events[0].as_str()), (10, "activity working"), "{events:?}");
    assert!(recorded(&cursor, &KINDS).len() <= 20);
    assert_eq!(activity("hasty"), hook("idle"), "the state is always true");
}

fn a_reported_conversation_is_resumed() {
    let _settings = DropIn::new("talks", "[Service]\nRestartSec=50ms\n");
    let script = servant("talks");
    let _configuration = configured(&format!(
        "[sessions.talks]\ncommand = ['sh', '-c', '''{script}''']\n\
         resume = ['sh', '-c', 'echo resumed $1; sleep 1000', 'x', '{{resume_id}}']\nresume_id = ['echo', 'old']\n"
    ));
    let it = Supervised::start("talks");
    it.up();
    forge(&["save"]).ok();
    let saved = || std::fs::read_to_string(".local/state/forge/sessions/talks.json").expect("its file");
    assert!(saved().contains("\"saved_id\": \"old\""), "{}", saved());
    report("talks", "idle --resume-id first-7");
    report("talks", "idle --resume-id newer-8");
    // Everything of the session is killed at once, and nobody can save anything.
    for pid in [it.server(), it.program()] {
        signal("KILL", pid);
    }
    wait_until(Duration::from_secs(30), "the conversation", || {
        forge(&["capture", "talks"]).stdout.contains("resumed newer-8")
    });
    assert_eq!(activity("talks"), unknown(), "the report went away with its run");
    // At a shutdown the command knows the present conversation.
    forge(&["save"]).ok();
    assert!(saved().contains("\"saved_id\": \"old\""), "{}", saved());
}
