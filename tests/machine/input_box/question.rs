//! A question that replaces the box, and the keys that it reads.

use super::keys::Key;
use super::log::Event;
use super::options::{Form, Question};
use std::time::{Duration, Instant};

pub(super) struct Shown {
    pub(super) question: Question,
    /// The index of the marked answer of a menu.
    pub(super) marked: usize,
    /// The time when the program began to draw it.
    pub(super) since: Instant,
    /// How many bytes were received before that and not yet read.
    pending: u64,
}

/// The effect of a key on a question.
#[derive(PartialEq, Eq)]
pub(super) enum Outcome {
    Stays,
    Over,
}

impl Shown {
    pub(super) fn new(question: Question, pending: u64) -> Self {
        Self { question, marked: 0, since: Instant::now(), pending }
    }

    /// Counts one more byte as read; returns whether it was received before the question was drawn.
    pub(super) fn byte_was_pending(&mut self) -> bool {
        let was = self.pending > 0;
        self.pending = self.pending.saturating_sub(1);
        was
    }

    pub(super) fn key(&mut self, key: &Key, pending: bool, log: &mut impl FnMut(Event)) -> Outcome {
        let since_us = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        log(Event::QuestionKey { key: key.name(), since_us, pending });
        let answer = match (self.question.form, key) {
            (Form::Menu | Form::Numbered, Key::Enter) => ["Yes", "No"][self.marked],
            (Form::Numbered, key) if is(key, "1") => "Yes",
            (Form::Numbered, key) if is(key, "2") => "No",
            (Form::SingleKey, Key::Character('y' | 'Y')) => "Yes",
            (Form::SingleKey, Key::Character('n' | 'N')) => "No",
            (Form::Menu | Form::Numbered, Key::Named(name)) => match name.as_str() {
                "Up" => return self.mark(0),
                "Down" => return self.mark(1),
                "Escape" => {
                    log(Event::Cancelled { by: "Escape".to_owned() });
                    return Outcome::Over;
                }
                _ => return Outcome::Stays,
            },
            _ => return Outcome::Stays,
        };
        log(Event::Answered { answer: answer.to_owned(), key: key.name(), since_us, pending });
        Outcome::Over
    }

    fn mark(&mut self, at: usize) -> Outcome {
        self.marked = at;
        Outcome::Stays
    }

    pub(super) fn end(&self) -> Instant {
        self.since + Duration::from_millis(self.question.stays_ms)
    }
}

/// Whether a key is this character, or a paste of only this character.
fn is(key: &Key, text: &str) -> bool {
    match key {
        Key::Character(c) => text.chars().eq([*c]),
        Key::Paste(pasted) => pasted == text,
        _ => false,
    }
}
