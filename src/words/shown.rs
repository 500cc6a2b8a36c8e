//! What a verb has to say, before it is printed: for people and for bots.

use serde::Serialize;
use serde_json::Value;

/// The result of a verb.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// For people.
    pub text: Vec<Piece>,
    /// For bots: one object.
    pub json: Value,
    /// The exit status.
    pub status: u8,
    /// The signal that ended the command that was run: forge ends by it, too.
    pub signal: Option<i32>,
    /// Whether the text goes to standard error: standard output is a command's, and the text was not asked
    /// for.
    pub to_stderr: bool,
}

/// A piece of text for people.
#[derive(Debug, Clone)]
pub enum Piece {
    /// A line.
    Line(String),
    /// Text that is the result itself, printed as it is, with `-q` too.
    Raw(String),
    /// Rows to compare.
    Table {
        /// The headings.
        head: Vec<&'static str>,
        /// The rows.
        rows: Vec<Vec<String>>,
    },
}

impl Shown {
    /// A result that bots read as that value. A value that is no JSON cannot be built here.
    pub fn new(json: &impl Serialize) -> Self {
        Self { json: serde_json::to_value(json).unwrap_or_default(), ..Self::default() }
    }

    /// With one more line.
    #[must_use]
    pub fn line(mut self, line: impl Into<String>) -> Self {
        self.text.push(Piece::Line(line.into()));
        self
    }

    /// With text that is the result itself.
    #[must_use]
    pub fn raw(mut self, text: impl Into<String>) -> Self {
        self.text.push(Piece::Raw(text.into()));
        self
    }

    /// With a table.
    #[must_use]
    pub fn table(mut self, head: &[&'static str], rows: Vec<Vec<String>>) -> Self {
        self.text.push(Piece::Table { head: head.to_vec(), rows });
        self
    }

    /// With its text on standard error.
    #[must_use]
    pub fn on_stderr(mut self) -> Self {
        self.to_stderr = true;
        self
    }

    /// With that exit status.
    #[must_use]
    pub fn exit(mut self, status: u8) -> Self {
        self.status = status;
        self
    }
}
