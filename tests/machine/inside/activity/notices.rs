//! Notices of what hooks report, questions and the end of a turn, and of crashes.

use super::{activity, recorded, report, screen, servant, serving, show, unknown};
use crate::suite::{Test, inside};
use crate::support::{
    Supervised, configured, event_since, forge, journal_cursor, run, shell, spawn, wait_until,
};
use serde_json::Value;
use std::time::Duration;

pub(super) fn tests() -> Vec<Test> {
    vec![
        inside!(a_reported_question_is_noticed_once).limit_s(180),
        inside!(a_crash_is_noticed_if_configured),
        inside!(done_is_noticed_if_configured).limit_s(180),
    ]
}

fn notices() -> Vec<Value> {
    let text = std::fs::read_to_string("reported").unwrap_or_default();
    text.lines()
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// A configuration with a channel for notices.
fn notified(on: &str, session: &str) -> String {
    let _ = std::fs::remove_file("reported");
    format!(
        "[notify]\n{on}command = ['sh', '-c', 'cat >> /home/ada/reported; echo >> /home/ada/reported']\n{session}"
    )
}

#[track_caller]
fn has_no_secret() {
    let journal = run(&["journalctl", "-o", "json", "--all", "-n", "2000"]).stdout;
    assert!(!journal.contains("SECRET"), "what a hook says is in no journal");
    let left = shell("ls /run/user/1000/forge/notices | wc -l").ok().stdout;
    assert_eq!(left.trim(), "0", "the text is gone with its notice");
}

fn a_crash_is_noticed_if_configured() {
    let usual = configured(&notified("", ""));
    let crash = |name: &str| {
        let (_session, _) = spawn(name, &[], &["sh", "-c", "sleep 1; exit 3"]);
        forge(&["wait", name, "--exit", "--timeout", "20"]).ok();
    };
    crash("quiet");
    std::thread::sleep(Duration::from_secs(2));
    assert!(notices().is_empty(), "nobody asked for it");
    drop(usual);
    let _configuration = configured(&notified("on = ['crashed']\n", ""));
    crash("loud");
    wait_until(Duration::from_secs(20), "the notice", || notices().len() == 1);
    let notice = notices().remove(0);
    assert_eq!((&notice["kind"], &notice["session"]), (&"crashed".into(), &"loud".into()));
    assert!(notice["text"].as_str().expect("a text").contains("loud crashed: exit status 3"), "{notice}");
    assert!(forge(&["notify", "crashed", "nobody"]).ok().stdout.contains("nobody has not crashed"));
    let _ = std::fs::remove_file("reported");
}

fn a_reported_question_is_noticed_once() {
    let script = servant("curious");
    let _configuration = configured(&notified(
        "",
        &format!("[sessions.curious]\ncommand = ['sh', '-c', '''{script}''']\nasking = 'Sure\\? ?\\z'\n"),
    ));
    let it = Supervised::start("curious");
    it.up();
    let cursor = journal_cursor();
    // The hook is faster than the screen.
    report("curious", "asking --text \"Delete SECRET-1?\"");
    show("curious", "Sure? ");
    wait_until(Duration::from_secs(20), "the notice", || !notices().is_empty());
    assert_eq!(notices()[0]["kind"], "asking");
    let text = notices()[0]["text"].as_str().expect("a text").to_owned();
    assert!(text.contains("curious asks\nDelete SECRET-1?\n  forge attach curious"), "{text}");
    report("curious", "asking --text \"The same SECRET\"");
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!((recorded(&cursor, &["asking"]).len(), notices().len()), (1, 1));
    assert_eq!(activity("curious"), screen("asking"));
    // Answered, and asked again without a hook: the next question, and a notice after the minute.
    show("curious", "working on it");
    wait_until(Duration::from_secs(10), "the answer", || activity("curious") == unknown());
    std::thread::sleep(Duration::from_secs(3));
    show("curious", "Quite SECRET, Sure? ");
    wait_until(Duration::from_secs(10), "the next question", || recorded(&cursor, &["asking"]).len() == 2);
    // Here the screen is faster than the hook.
    report("curious", "working");
    report("curious", "asking");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!((recorded(&cursor, &["asking"]).len(), notices().len()), (2, 1));
    wait_until(Duration::from_secs(70), "the next notice", || notices().len() == 2);
    assert!(notices()[1]["text"].as_str().expect("a text").contains("Quite SECRET, Sure?"));
    has_no_secret();
    let _ = std::fs::remove_file("reported");
}

fn done_is_noticed_if_configured() {
    let _session = serving("eager", &[]);
    let usual = configured(&notified("", ""));
    let cursor = journal_cursor();
    report("eager", "done --text SECRET-0");
    event_since(&cursor, "done");
    std::thread::sleep(Duration::from_secs(2));
    assert!(notices().is_empty(), "nobody asked for it");
    assert!(forge(&["notify", "done", "eager"]).ok().stdout.contains("[notify] on does not name 'done'"));
    drop(usual);
    let _configuration = configured(&notified("on = ['done']\n", ""));
    report("eager", "working");
    report("eager", "done --text \"SECRET-1: all tests pass.\"");
    wait_until(Duration::from_secs(20), "the notice", || notices().len() == 1);
    let notice = notices().remove(0);
    assert_eq!((&notice["kind"], &notice["session"]), (&"done".into(), &"eager".into()));
    let text = notice["text"].as_str().expect("a text");
    assert!(text.contains("eager is done\nSECRET-1: all tests pass.\n"), "{text}");
    report("eager", "asking --text SECRET-2");
    // One a minute; what is over by then needs no notice.
    for n in [3, 4] {
        report("eager", "working");
        report("eager", &format!("done --text SECRET-{n}"));
    }
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(notices().len(), 1);
    wait_until(Duration::from_secs(70), "the next notice", || notices().len() == 2);
    assert!(notices()[1]["text"].as_str().expect("a text").contains("eager is done\nSECRET-4\n"));
    wait_until(Duration::from_secs(10), "its unit to go", || {
        !run(&["systemctl", "--user", "list-units", "--all", "--plain"]).stdout.contains("forge-done-")
    });
    has_no_secret();
    let _ = std::fs::remove_file("reported");
}
