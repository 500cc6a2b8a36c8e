//! Texts of all sizes, with one line and many, sent to an idle agent and to a working one.

use super::agent::{Agent, Session, WORK};
use super::model::{Model, write};
use std::fmt::Write as _;

/// Bytes, in ascending order.
const SIZES: [usize; 4] = [40, 600, 3_000, 20_000];

/// One line of the report.
#[derive(Default)]
struct Tally {
    submitted: usize,
    reported: usize,
    slowest_ms: u64,
}

/// A text of exactly this many bytes. Its first word identifies it and occurs nowhere else.
fn text(name: &str, bytes: usize, lines: bool) -> String {
    let words = ["plain", "words", "größer", "→", "with", "\"quotes\"", "and", "(others)", "日本語", "end."];
    let mut text = format!("{name}:");
    for (at, word) in words.iter().cycle().enumerate() {
        if text.len() + word.len() + 1 > bytes {
            break;
        }
        text.push(if lines && at % 9 == 8 { '\n' } else { ' ' });
        text.push_str(word);
    }
    // The text must not end with a blank: agents strip those.
    while text.len() < bytes {
        text.push('.');
    }
    text
}

/// Sends a text; returns whether forge reports it as submitted.
#[track_caller]
fn send(session: &Session, text: &str, tally: &mut Tally) -> bool {
    write("/home/ada/text", text);
    let ran = session.send(&["--file", "/home/ada/text"]);
    let said: serde_json::Value = ran.json();
    tally.slowest_ms = tally.slowest_ms.max(said["elapsed_ms"].as_u64().unwrap_or(0));
    if said["result"] == "submitted" {
        assert_eq!((ran.code, &said["bytes"]), (0, &text.len().into()), "{ran}");
        tally.submitted += 1;
        return true;
    }
    // An unconfirmed text may be in the box in another form: a completion has taken the Enter.
    assert!(ran.code != 0 || said["result"] == "unconfirmed", "{ran}");
    println!("{} bytes were not submitted: {ran}{}", text.len(), session.screen());
    tally.reported += 1;
    emptied(session);
    false
}

/// Empties the input box: closes a completion list, then removes the line.
#[track_caller]
fn emptied(session: &Session) {
    session.send(&["--key", "Escape", "--key", "C-u"]).ok();
    session.rests();
}

/// Asserts that each text reported as submitted arrived once, and no other arrived.
#[track_caller]
fn check(model: &Model, sent: &[(String, bool)]) {
    for (text, submitted) in sent {
        let name = text.split(':').next().expect("a name");
        assert_eq!(model.times(text), usize::from(*submitted), "{name} of {} bytes", text.len());
    }
}

fn report(agent: &Agent, state: &str, tallies: &[Tally]) {
    let mut lines = String::new();
    for (size, tally) in SIZES.iter().zip(tallies) {
        let Tally { submitted, reported, slowest_ms } = tally;
        let _ = writeln!(
            lines,
            "{}, {state}, {size} bytes: {submitted} submitted, {reported} reported as not; {slowest_ms} ms at most",
            agent.name
        );
    }
    print!("{lines}");
    for tally in tallies {
        let rounds = agent.rounds;
        assert!(tally.submitted + 1 >= rounds, "more than one of {rounds} was not submitted:\n{lines}");
    }
}

pub(crate) fn idle(agent: &Agent) {
    let model = agent.settled();
    let session = agent.session();
    let (mut sent, mut tallies) = (Vec::new(), SIZES.map(|_| Tally::default()));
    for round in 0..agent.rounds {
        for (at, size) in SIZES.into_iter().enumerate() {
            let text = text(&format!("idle-{round}-{size}"), size, round % 2 == 1);
            let submitted = send(&session, &text, &mut tallies[at]);
            if submitted {
                model.hears(&text);
                model.answers();
            }
            sent.push((text, submitted));
        }
    }
    session.rests();
    check(&model, &sent);
    report(agent, "idle", &tallies);
}

pub(crate) fn working(agent: &Agent) {
    let model = agent.settled();
    let session = agent.session();
    let sizes: Vec<usize> = SIZES.into_iter().filter(|size| *size <= agent.most_at_work).collect();
    let (mut sent, mut tallies) = (Vec::new(), Vec::new());
    tallies.resize_with(sizes.len(), Tally::default);
    for round in 0..agent.rounds {
        model.hold();
        let first = text(&format!("busy-{round}"), 30, false);
        session.send(&[&first]).ok();
        model.hears(&first);
        let mut of_round = Vec::new();
        for (at, &size) in sizes.iter().enumerate() {
            let text = text(&format!("busy-{round}-{size}"), size, round % 2 == 1);
            let submitted = send(&session, &text, &mut tallies[at]);
            of_round.push((text, submitted));
        }
        model.go_on();
        for (text, _) in of_round.iter().filter(|(_, submitted)| *submitted) {
            model.hears(text);
        }
        model.answers();
        sent.extend(of_round);
        session.rests();
    }
    check(&model, &sent);
    report(agent, "at work", &tallies);
}

/// Texts whose end opens a completion list, of files or of names, which takes the Enter.
pub(crate) fn completions(agent: &Agent) {
    let model = agent.settled();
    let session = agent.session();
    write(&format!("{WORK}/notes.txt"), "notes\n");
    let (mut sent, mut tally, mut fates) = (Vec::new(), Tally::default(), String::new());
    for (at, end) in
        ["look at @notes", "it costs $and", "look at @nothing-like-it", "and /nowhere"].iter().enumerate()
    {
        let text = format!("list-{at}: {end}");
        let submitted = send(&session, &text, &mut tally);
        let _ = write!(fates, " '{end}': {};", if submitted { "submitted" } else { "reported" });
        session.rests();
        sent.push((text, submitted));
    }
    model.answers();
    check(&model, &sent);
    println!("{}:{fates}", agent.name);
}
