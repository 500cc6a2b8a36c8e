//! The log of what the input box received and did: one JSON object a line, written at once.

use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Microseconds of the monotonic clock since this log began.
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
    /// A text left the box by Enter.
    Submitted {
        lines: usize,
        text: String,
    },
    /// A key that is not text of the box.
    Key {
        key: String,
    },
    /// An Enter that the box took for a line break of the text.
    LineBreak,
    /// A question is about to be drawn. So many bytes were received before and were not yet read: who
    /// sent them cannot have seen the question.
    Question {
        pending: u64,
    },
    /// A key was read while the question was shown.
    QuestionKey {
        key: String,
        since_us: u64,
        pending: bool,
    },
    /// That key was an answer.
    Answered {
        answer: String,
        key: String,
        since_us: u64,
        pending: bool,
    },
    /// The question went away without an answer.
    Cancelled {
        by: String,
    },
    Busy {
        ms: u64,
    },
    /// Asked for by a signal: what stands in the box once all that came is read, whether a question covers
    /// it, and how many bytes came in all.
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

    /// Writes one line. A log that cannot be written is no log: the program ends.
    pub(super) fn write(&mut self, event: Event) {
        let at_us = u64::try_from(self.begun.elapsed().as_micros()).expect("a short time");
        let mut line = serde_json::to_vec(&Entry { at_us, event }).expect("an entry as JSON");
        line.push(b'\n');
        self.file.write_all(&line).expect("the log");
    }
}

/// What the log at `path` says so far. A line that is still being written is left out.
pub(crate) fn read(path: &str) -> Vec<Entry> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{path}: {error}: {line}")))
        .collect()
}
