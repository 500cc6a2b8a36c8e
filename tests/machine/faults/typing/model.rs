//! The invariants of a case, checked against the program's log and forge's output.

use super::case::{Case, Patterns};
use crate::input_box::log::{Entry, Event};
use crate::input_box::options::{Form, Kind};
use crate::input_box::played::submitted;
use crate::ran::Ran;
use serde_json::Value;

/// A key that is read this soon after a question was drawn was sent before anybody could see the question:
/// the program writes it, tmux reads and draws it, forge asks tmux for the screen, and the key takes the same
/// way back, each step with a wait for one of two busy processors. Users have the same race, and slower eyes.
/// The key is counted, not a failure.
const ON_ITS_WAY_US: u64 = 30_000;

/// The result that forge reported for a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Submitted { attempts: u64 },
    Typed { attempts: u64 },
    Unconfirmed { attempts: u64 },
    Refused { kind: String },
}

impl Told {
    /// The result in the output; an error if forge must not print it.
    pub(super) fn parse(ran: &Ran) -> Result<Self, String> {
        let said: Value = serde_json::from_str(&ran.stdout).map_err(|error| format!("no JSON: {error}"))?;
        if let Some(kind) = said["error"]["kind"].as_str() {
            let status = if kind == "usage" { 2 } else { i32::from(kind == "deadline") * 3 + 1 };
            return if ran.code == status || ran.code == 1 {
                Ok(Self::Refused { kind: kind.to_owned() })
            } else {
                Err(format!("status {} with the error {kind}", ran.code))
            };
        }
        let attempts = said["attempts"].as_u64().ok_or("no attempts")?;
        match (said["result"].as_str(), ran.code) {
            (Some("submitted"), 0) => Ok(Self::Submitted { attempts }),
            (Some("typed"), 0 | 4) => Ok(Self::Typed { attempts }),
            (Some("unconfirmed"), 0) => Ok(Self::Unconfirmed { attempts }),
            (result, code) => Err(format!("the result {result:?} with status {code}")),
        }
    }

    /// The column of the table that counts this result.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Submitted { .. } => "submitted",
            Self::Typed { .. } => "typed",
            Self::Unconfirmed { .. } => "unconfirmed",
            Self::Refused { kind } => kind,
        }
    }
}

/// The outcome of a case.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) failures: Vec<String>,
    /// Answers that were in transit when the question was drawn.
    pub(super) races: usize,
    /// First keys of texts that reached a single-key question, in a session without a pattern.
    pub(super) first_keys: usize,
    /// Characters of a text that reached a question without answering it.
    pub(super) stray: usize,
    /// Texts of which such an answer was a part, so that the program got only the rest.
    pub(super) cut: usize,
    /// Texts that forge reported as typed, because the program had read Enter and drew nothing for longer
    /// than forge waits: the texts were in the box then, and were submitted later.
    pub(super) late: usize,
}

pub(super) fn judge(case: &Case, reported: &Result<Told, String>, log: &[Entry], standing: &str) -> Verdict {
    let mut verdict = questions(case, log);
    let reported = match reported {
        Ok(reported) => reported,
        Err(reason) => {
            verdict.failures.push(format!("forge's answer: {reason}"));
            return verdict;
        }
    };
    let submitted = submitted(log);
    verdict.late = usize::from(is_late(case, reported, &submitted, standing));
    let texts = texts(case, reported, &submitted, standing).filter(|_| verdict.late == 0);
    if verdict.races + verdict.first_keys > 0 {
        verdict.cut = usize::from(texts.is_some());
    } else {
        verdict.failures.extend(texts);
    }
    verdict.failures.extend(enters(case, reported, log));
    if case.is_calm() {
        verdict.failures.extend(calm(case, reported));
    }
    verdict
}

/// Checks that no question was answered.
fn questions(case: &Case, log: &[Entry]) -> Verdict {
    let mut verdict = Verdict::default();
    // Enters read that were not line breaks; for separate entries, those of the current one.
    let mut enters = 0;
    let by_design = case.patterns == Patterns::None
        && case.options.question.is_some_and(|question| question.form != Form::Menu)
        && !case.options.kind.is_canonical();
    for entry in log {
        match &entry.event {
            Event::Answered { answer, key, since_us, pending } => {
                if is_on_its_way(case, key, *since_us, *pending, enters) {
                    verdict.races += 1;
                } else if by_design && key != "Enter" {
                    verdict.first_keys += 1;
                } else {
                    let ms = since_us / 1000;
                    let when = if *pending { "typed before it was drawn" } else { "typed at it" };
                    verdict.failures.push(format!(
                        "the question was answered with '{answer}' by {key}, {when}, and read {ms} ms after that"
                    ));
                }
            }
            Event::QuestionKey { key, since_us, pending } => {
                enters += usize::from(key == "Enter");
                let late = !is_on_its_way(case, key, *since_us, *pending, enters);
                if late && key == "Enter" {
                    let ms = since_us / 1000;
                    verdict.failures.push(format!("Enter reached a question {ms} ms after it was drawn"));
                }
                verdict.stray += usize::from(late && key != "Enter");
            }
            Event::Cancelled { by } if by != "time" => {
                verdict.failures.push(format!("the question was cancelled by {by}"));
            }
            Event::Submitted { .. } if case.lines => enters = 0,
            Event::Submitted { .. } => enters += 1,
            Event::Key { key } => enters += usize::from(key == "Enter"),
            _ => {}
        }
    }
    verdict
}

/// Whether a key that reached a question may have been typed before the question was visible.
fn is_on_its_way(case: &Case, key: &str, since_us: u64, pending: bool, enters: usize) -> bool {
    if !pending {
        return since_us <= ON_ITS_WAY_US;
    }
    if key != "Enter" {
        return true;
    }
    // forge pressed the first Enter when it saw the text. It may press another only after the program has
    // read the first. The kernel echoes lines for a program that does not read: only the ready pattern shows
    // whether it reads.
    let is_reported = matches!(case.patterns, Patterns::Ready | Patterns::Both);
    enters == 1 && !(case.lines && case.options.kind.is_canonical() && is_reported)
}

/// An Enter that the box itself read.
fn is_enter(event: &Event) -> bool {
    match event {
        Event::Submitted { .. } | Event::LineBreak => true,
        Event::Key { key } => key == "Enter",
        _ => false,
    }
}

/// Checks that no text is lost, doubled or cut without a report.
fn texts(case: &Case, reported: &Told, submitted: &[String], standing: &str) -> Option<String> {
    let entries = case.entries();
    let is_whole = submitted == entries;
    let is_beginning = case.lines && entries.starts_with(submitted);
    let fails = |what: &str| {
        let texts: Vec<String> = submitted.iter().map(|text| brief(text)).collect();
        let (texts, standing) = (texts.join(", "), brief(standing));
        Some(format!("forge said {reported:?}, and {what}: submitted [{texts}], standing {standing}"))
    };
    match reported {
        Told::Submitted { .. } if !is_whole => fails("it was not submitted once and whole"),
        Told::Submitted { .. } if !standing.is_empty() => fails("text stands there"),
        Told::Typed { .. } if !(submitted.is_empty() || is_beginning) => fails("something was submitted"),
        Told::Typed { .. } if !stands(case, standing, submitted.len()) => {
            fails("it does not stand there whole")
        }
        Told::Unconfirmed { .. } if !(is_whole || submitted.is_empty()) => fails("a part was submitted"),
        Told::Unconfirmed { attempts: 1.. } if case.is_calm() && !is_whole => fails("it was not submitted"),
        Told::Refused { kind } if kind == "deadline" => {
            if is_whole || is_beginning || submitted.is_empty() {
                None
            } else {
                fails("a part was submitted")
            }
        }
        Told::Refused { .. } if !(submitted.is_empty() || is_beginning) => fails("something was submitted"),
        Told::Refused { .. } if standing.len() > case.options.standing.len() + case.text.len() + 1 => {
            fails("more stands there than was sent")
        }
        _ => None,
    }
}

/// Whether a busy program later submitted the text that forge saw in the box.
fn is_late(case: &Case, reported: &Told, submitted: &[String], standing: &str) -> bool {
    let entries = case.entries();
    let is_busy = case.options.busy.for_ms >= 1_000;
    matches!(reported, Told::Typed { attempts: 1.. })
        && is_busy
        && !submitted.is_empty()
        && entries.starts_with(submitted)
        && standing.is_empty()
}

/// Whether the text is in the box as `typed` requires.
fn stands(case: &Case, standing: &str, submitted: usize) -> bool {
    if case.options.kind.is_canonical() {
        // The kernel has buffered the text.
        return true;
    }
    let before = if case.replace_input { "" } else { &case.options.standing };
    let wanted = case.entries().get(submitted).cloned().unwrap_or_default();
    standing.trim_end_matches('\n') == format!("{before}{wanted}")
}

/// Checks that Enter was pressed as often as forge reports, and at most twice.
fn enters(case: &Case, reported: &Told, log: &[Entry]) -> Option<String> {
    let (Told::Submitted { attempts } | Told::Typed { attempts } | Told::Unconfirmed { attempts }) = reported
    else {
        return None;
    };
    let pressed = log
        .iter()
        .filter(|entry| {
            is_enter(&entry.event) || matches!(&entry.event, Event::QuestionKey { key, .. } if key == "Enter")
        })
        .count() as u64;
    let most = if case.lines { 2 * case.entries().len() as u64 } else { 2 };
    if pressed > most {
        return Some(format!("Enter was pressed {pressed} times"));
    }
    // The kernel's line editor does not show an Enter.
    (pressed != *attempts && !case.lines && !case.options.kind.is_canonical())
        .then(|| format!("forge says {attempts} Enters, and the program read {pressed}"))
}

/// Checks that an unhindered text arrives.
fn calm(case: &Case, reported: &Told) -> Option<String> {
    let kind = case.options.kind;
    let longest = case.entries().iter().map(String::len).max().unwrap_or(0);
    let wanted: &[&str] = if case.text.contains('\n') && kind != Kind::Bracketed && !case.lines
        || kind.is_canonical() && longest > 4095
    {
        &["usage"]
    } else if kind == Kind::Password {
        &["unconfirmed"]
    } else if case.no_enter {
        &["typed"]
    } else {
        &["submitted"]
    };
    if case.options.parked_cursor && reported.name() == "not_shown" && longest < 4 {
        // So few characters may occur anywhere by chance.
        return None;
    }
    (!wanted.contains(&reported.name()))
        .then(|| format!("nothing hindered the text, and forge said {reported:?}"))
}

/// The text, shortened for a message.
pub(super) fn brief(text: &str) -> String {
    let count = text.chars().count();
    let part: String = text.chars().take(60).collect();
    if count <= 60 {
        return format!("{part:?}");
    }
    let end: String = text.chars().skip(count - 20).collect();
    format!("{part:?}…{end:?} ({} bytes)", text.len())
}
