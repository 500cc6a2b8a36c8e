//! Typing into programs: texts arrive completely and once, and never answer a question. Most programs are the
//! input box of the tests, some are real ones.

mod arriving;
mod people;
mod programs;
mod refused;
mod sizes;
mod turns;

use crate::input_box::log::Event;
use crate::input_box::options::{Form, Kind, Options, Question, When};
use crate::input_box::played::Played;
use crate::ran::Ran;
use crate::suite::{Group, group};
use crate::support::run;
use serde_json::Value;
use std::time::Duration;

pub(crate) fn groups() -> Vec<Group> {
    vec![
        group("typing", [arriving::tests(), turns::tests()].into_iter().flatten().collect()),
        group("typing_refused", [refused::tests(), people::tests()].into_iter().flatten().collect()),
        Group {
            packages: programs::PACKAGES,
            ..group("typing_programs", [programs::tests(), sizes::tests()].into_iter().flatten().collect())
        },
    ]
}

const TEN_S: Duration = Duration::from_secs(10);

/// `forge --json send`
#[track_caller]
fn send(session: &str, args: &[&str]) -> Ran {
    run(&[&["forge", "--json", "send", session], args].concat())
}

/// `forge --json send` with this text on its standard input.
#[track_caller]
fn send_input(session: &str, args: &[&str], text: &[u8]) -> Ran {
    let file = format!("/tmp/{session}.input");
    std::fs::write(&file, text).expect("the input");
    let line = r#"exec forge --json send "$@" <"$0""#;
    run(&[&["sh", "-c", line, &file, session], args].concat())
}

/// The result and the number of Enters of a `send` that ended with that status.
#[track_caller]
fn result(ran: Ran, status: i32) -> (String, u64) {
    let said = ran.code(status).json();
    let result = said["result"].as_str().unwrap_or_else(|| panic!("no result: {said}"));
    (result.to_owned(), said["attempts"].as_u64().expect("attempts"))
}

#[track_caller]
fn is_submitted(ran: Ran) {
    let said = ran.ok().json();
    assert_eq!((&said["result"], &said["attempts"]), (&"submitted".into(), &1.into()), "{said}");
}

/// The kind and the message of a refusal.
#[track_caller]
fn refusal(ran: &Ran) -> (String, String) {
    assert_ne!(ran.code, 0, "{ran}");
    let said: Value = ran.json();
    let text = |key: &str| said["error"][key].as_str().unwrap_or_default().to_owned();
    (text("kind"), text("message"))
}

fn of(kind: Kind) -> Options {
    Options { kind, ..Options::default() }
}

/// A question that stays for a minute.
fn question(form: Form, when: When) -> Question {
    Question { form, when, stays_ms: 60_000 }
}

/// The keys that the program read beside the texts, once no more arrive. forge may send an empty paste to
/// find out whether the program accepts pastes.
fn keys(session: &Played) -> Vec<String> {
    session.standing();
    let key = |event: Event| match event {
        Event::Key { key } | Event::QuestionKey { key, .. } => Some(key),
        Event::LineBreak => Some("Enter".to_owned()),
        _ => None,
    };
    let keys = session.log().into_iter().filter_map(|entry| key(entry.event));
    keys.filter(|key| key != "Paste of 0 bytes").collect()
}

/// Asserts that forge typed nothing and answered nothing.
#[track_caller]
fn is_untouched(session: &Played) {
    assert_eq!((session.standing(), session.submitted()), (String::new(), vec![]), "{}", session.story());
    assert_eq!(keys(session), Vec::<String>::new(), "{}", session.story());
}

/// Asserts that no question was answered or cancelled.
#[track_caller]
fn is_unanswered(session: &Played) {
    let is_answer = |event: &Event| matches!(event, Event::Answered { .. } | Event::Cancelled { .. });
    assert!(!session.log().iter().any(|entry| is_answer(&entry.event)), "{}", session.story());
}
