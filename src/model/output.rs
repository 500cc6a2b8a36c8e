//! What a verb has to say, before it is printed: for people and for bots.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

/// The result of a verb.
#[derive(Debug, Clone, Default)]
pub struct Output {
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

/// The text without control characters: files, programs and units may be named so that a terminal would
/// take the name for commands, and journalctl shows no text that has them.
pub fn plain(text: &str) -> String {
    spelled_out(text, &['\n', '\t'])
}

/// A path in a line of text: its name may be anybody's, and have line breaks in it.
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
    /// A result that bots read as that value. A value that is no JSON cannot be built here.
    pub fn new(json: &impl Serialize) -> Self {
        Self { json: serde_json::to_value(json).unwrap_or_default(), ..Self::default() }
    }

    /// With one more line.
    #[must_use]
    pub fn line(mut self, line: impl AsRef<str>) -> Self {
        self.text.push(Piece::Line(plain(line.as_ref())));
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
        let rows = rows.into_iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_command_to_a_terminal() {
        assert_eq!(plain("a\u{1b}[31m\r\u{9b}1m ❯\n\tb"), "a\\u{1b}[31m\\r\\u{9b}1m ❯\n\tb");
        assert_eq!(legible(Path::new("/tmp/x\ny ❯")), "/tmp/x\\ny ❯");
    }
}
