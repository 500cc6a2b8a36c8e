//! The output of a command before it is printed, for people and for bots.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

/// The result of a command.
#[derive(Debug, Clone, Default)]
pub struct Output {
    /// For people.
    pub text: Vec<Piece>,
    /// For bots: one JSON object.
    pub json: Value,
    pub status: u8,
    /// The signal that ended the command that forge ran; forge ends itself with the same signal.
    pub signal: Option<i32>,
    /// Whether the text goes to standard error, because standard output belongs to the command that forge
    /// ran.
    pub to_stderr: bool,
}

/// A piece of text for people.
#[derive(Debug, Clone)]
pub enum Piece {
    Line(String),
    /// Text that is the result itself; it is printed unchanged, with `-q` too.
    Raw(String),
    Table {
        head: Vec<&'static str>,
        rows: Vec<Vec<String>>,
    },
}

/// The text with its control characters escaped, except line breaks and tabs. The name of a file, a program or a
/// unit may contain escape sequences of a terminal, and journalctl prints a message with control characters as
/// `[… blob data]`.
pub fn plain(text: &str) -> String {
    spelled_out(text, &['\n', '\t'])
}

/// A path for a line of text: all control characters are escaped, because any user may have created a path
/// with line breaks in it.
pub fn legible(path: &Path) -> String {
    spelled_out(&path.to_string_lossy(), &[])
}

fn spelled_out(text: &str, kept: &[char]) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && !kept.contains(&c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

impl Output {
    /// An output with this value as its JSON; null if the value cannot be serialized.
    pub fn new(json: &impl Serialize) -> Self {
        Self { json: serde_json::to_value(json).unwrap_or_default(), ..Self::default() }
    }

    #[must_use]
    pub fn line(mut self, line: impl AsRef<str>) -> Self {
        self.text.push(Piece::Line(plain(line.as_ref())));
        self
    }

    /// Adds text that is the result itself.
    #[must_use]
    pub fn raw(mut self, text: impl Into<String>) -> Self {
        self.text.push(Piece::Raw(text.into()));
        self
    }

    #[must_use]
    pub fn table(mut self, head: &[&'static str], rows: Vec<Vec<String>>) -> Self {
        let rows = rows.into_iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
        self.text.push(Piece::Table { head: head.to_vec(), rows });
        self
    }

    #[must_use]
    pub fn on_stderr(mut self) -> Self {
        self.to_stderr = true;
        self
    }

    #[must_use]
    pub fn exit(mut self, status: u8) -> Self {
        self.status = status;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(plain("a\u{1b}[31m\r\u{9b}1m ❯\n\tb"), "a\\u{1b}[31m\\r\\u{9b}1m ❯\n\tb");
        assert_eq!(legible(Path::new("/tmp/x\ny ❯")), "/tmp/x\\ny ❯");
    }
}
