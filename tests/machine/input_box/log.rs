//! The log of the input box's input and actions: one JSON object per line, written at once.

use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Microseconds since this log began (monotonic clock).
    pub(crate) at_us: u64,
    #[serde(flatten)]
    pub(crate) event: Event,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    Started {
        pid: u32,
    },
    /// The box was drawn for the first time.
    Drawn,
    /// Enter submitted a text.
    Submitted {
        lines: usize,
        text: String,
    },
    /// A key that is not text.
    Key {
        key: String,
    },
    /// An Enter that the box took for a line break of the text.
    LineBreak,
    /// A question is about to be drawn. This many bytes were received before and not yet read: their sender
    /// cannot have seen the question.
    Question {
        pending: u64,
    },
    /// A key was read while the question was shown.
    QuestionKey {
        key: String,
        since_us: u64,
        pending: bool,
    },
    /// The key answered the question.
    Answered {
        answer: String,
        key: String,
        since_us: u64,
        pending: bool,
    },
    /// The question disappeared without an answer.
    Cancelled {
        by: String,
    },
    Busy {
        ms: u64,
    },
    /// Logged on SIGUSR1: the contents of the box once all input is read, whether a question covers it, and
    /// the number of all bytes received.
    Standing {
        text: String,
        question: bool,
        received: u64,
    },
    /// The terminal was closed.
    Hangup,
}

pub(super) struct Log {
    file: File,
    begun: Instant,
}

impl Log {
    pub(super) fn create(path: &Path) -> std::io::Result<Self> {
        Ok(Self { file: File::create(path)?, begun: Instant::now() })
    }

    /// Writes one line. If the log cannot be written, the program ends.
    pub(super) fn write(&mut self, event: Event) {
        let at_us = u64::try_from(self.begun.elapsed().as_micros()).expect("a short time");
        let mut line = serde_json::to_vec(&Entry { at_us, event }).expect("an entry as JSON");
        line.push(b'\n');
        self.file.write_all(&line).expect("the log");
    }
}

/// The entries of the log at `path` so far, without a line that is still being written.
pub(crate) fn read(path: &str) -> Vec<Entry> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{path}: {error}: {line}")))
        .collect()
}
