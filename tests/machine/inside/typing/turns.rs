//! `forge send --wait`: waiting for the end of the turn that the text began.

use super::{TEN_S, of, question, refusal, send};
use crate::input_box::options::{Form, Kind, Options, When};
use crate::input_box::played::Played;
use crate::ran::Ran;
use crate::suite::{Test, inside};
use crate::support::{run, start};
use std::time::{Duration, Instant};

pub(super) fn tests() -> Vec<Test> {
    vec![
        inside!(send_waits_for_the_end_of_the_turn_and_prints_what_was_added),
        inside!(a_turn_that_takes_longer_ends_at_the_deadline),
        inside!(a_turn_that_asks_is_over),
        inside!(waiting_for_idle_sends_nothing),
    ]
}

const READY: [&str; 4] = ["--ready", r"\? for shortcuts", "--asking", r"^Run on production\?"];

fn works(ms: u64) -> Options {
    Options { work_ms: ms, ..of(Kind::Bracketed) }
}

fn idle(args: &[&str]) -> Ran {
    run(&[&["forge", "--json", "wait"], args].concat())
}

fn send_waits_for_the_end_of_the_turn_and_prints_what_was_added() {
    let it = Played::spawn("turn", &works(1_500), &READY);
    let begun = Instant::now();
    let said = send(&it.name, &["--wait", "a text"]).ok().json();
    assert_eq!(said["result"], "submitted", "{said}");
    let output = said["output"].as_str().expect("the output");
    assert!(output.contains("● done") && !output.contains("Working"), "{output}");
    assert!(begun.elapsed() >= Duration::from_millis(1_500), "it waited");
    assert_eq!(it.submitted(), ["a text"]);
    // There is no other sign of the end of a turn.
    let it = Played::spawn("patternless", &works(100), &[]);
    let (kind, message) = refusal(&send(&it.name, &["--wait", "a text"]));
    assert_eq!(kind, "usage");
    assert!(message.contains("ready"), "{message}");
    super::is_untouched(&it);
}

fn a_turn_that_takes_longer_ends_at_the_deadline() {
    let it = Played::spawn("slow", &works(60_000), &READY);
    let ran = send(&it.name, &["--wait=2s", "a text"]);
    assert_eq!((refusal(&ran).0.as_str(), ran.code), ("deadline", 4), "{ran}");
    assert_eq!(it.submitted(), ["a text"]);
    let ran = idle(&[&it.name, "--idle", "--timeout", "1"]);
    assert_eq!((refusal(&ran).0.as_str(), ran.code), ("deadline", 4), "{ran}");
}

fn a_turn_that_asks_is_over() {
    let options = Options { question: Some(question(Form::Menu, When::Enter(800))), ..works(2_000) };
    let it = Played::spawn("asking", &options, &READY);
    let ran = send(&it.name, &["--wait", "a text"]);
    let (kind, message) = refusal(&ran);
    assert_eq!(kind, "asking");
    assert!(message.contains("Run on production?"), "{message}");
    super::is_unanswered(&it);
    assert_eq!(it.submitted(), ["a text"]);
}

fn waiting_for_idle_sends_nothing() {
    let it = Played::spawn("idles", &works(2_000), &READY);
    super::is_submitted(send(&it.name, &["a text"]));
    let begun = Instant::now();
    let waiting = start(&["forge", "--json", "wait", &it.name, "--idle", "--timeout", "30"]);
    waiting.wait(TEN_S * 3).ok();
    assert!(begun.elapsed() >= Duration::from_millis(1_500), "it waited");
    idle(&[&it.name, "--idle", "--timeout", "20"]).ok();
    assert_eq!((it.submitted(), super::keys(&it)), (vec!["a text".to_owned()], vec![]));
}
