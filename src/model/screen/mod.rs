//! The screen of a pane: its rows, its cursor, and the input line of its program.

pub mod blocker;
pub mod captures;
pub mod fold;
pub mod prompts;
mod typed_text;
pub mod typing;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

pub use typed_text::{After, TypedText};

/// A terminal that is attached to the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The terminal's device, for example `/dev/pts/3`.
    pub terminal: String,
    /// The time of the last key press there, in seconds since 1970.
    pub typed_at_s: u64,
}

/// The state of a pane at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Screen {
    /// Whether the pane's program ended.
    pub dead: bool,
    /// Whether the pane is in copy mode or another mode, which receives the keys.
    pub in_mode: bool,
    /// Whether the program asked for bracketed paste; `None` before tmux 3.7, which does not report it.
    pub bracketed: Option<bool>,
    pub column: usize,
    pub row: usize,
    /// The number of lines that have scrolled off the top.
    pub scrolled: u64,
    /// The device of the program's terminal, for example `/dev/pts/3`.
    pub terminal: String,
    pub clients: Vec<Client>,
    pub rows: Vec<String>,
    /// The rows with wrapped lines joined; patterns are matched on this.
    pub text: String,
}

/// The most rows above the cursor over which a text's end may be wrapped.
const ROWS: usize = 12;

impl Screen {
    /// The part of the cursor's row before the cursor.
    pub fn before_cursor(&self) -> &str {
        self.rows.get(self.row).map_or("", |row| cut(row, self.column))
    }

    /// The text before the cursor over up to [`ROWS`] rows, without white space and frames.
    fn squashed_before_cursor(&self) -> String {
        let above = self.rows.get(self.row.saturating_sub(ROWS)..self.row).unwrap_or_default();
        let rows = above.iter().map(String::as_str).chain([self.before_cursor()]);
        rows.map(squashed).collect()
    }

    /// The last rows that are not empty, for an error.
    pub fn last_rows(&self, most: usize) -> String {
        last_rows(self.rows.iter().map(String::as_str), most)
    }

    /// Whether there is text below the cursor: the lower edge of an input box, or its hints. Below the prompt of a
    /// shell there is no text.
    pub fn is_in_box(&self) -> bool {
        self.rows.iter().skip(self.row + 1).any(|row| !row.trim().is_empty())
    }

    /// The position of the cursor, counted in lines that never scroll.
    fn place(&self) -> (u64, usize) {
        (self.scrolled + self.row as u64, self.column)
    }

    /// Whether both have the same rows and the same cursor position.
    pub fn shows_the_same_as(&self, other: &Self) -> bool {
        self.place() == other.place() && self.rows == other.rows
    }

    /// Whether the cursor is below its position on an earlier screen, counted in lines that never scroll, and the
    /// text before the earlier cursor is still there. This happens when a shell has accepted a line.
    pub fn is_below(&self, earlier: &Self) -> bool {
        let lines = self.place().0.saturating_sub(earlier.place().0);
        let at = usize::try_from(lines).ok().and_then(|lines| self.row.checked_sub(lines));
        let there = at.and_then(|at| self.rows.get(at));
        lines > 0 && there.is_some_and(|row| row.trim_end() == earlier.before_cursor().trim_end())
    }

    /// The text in the input line, between a prompt sign and the cursor; `None` if the line has no prompt sign.
    pub fn input(&self) -> Option<String> {
        let line = self.before_cursor();
        // tmux does not capture spaces at the end of a row.
        let blanks = " ".repeat(self.column.saturating_sub(line.width()));
        after_prompt(&format!("{line}{blanks}")).map(|text| text.trim().to_owned())
    }

    /// Whether the cursor is on an empty line of an input box that has others.
    pub fn is_on_blank_line(&self) -> bool {
        self.column > 0 && squashed(self.before_cursor()).is_empty()
    }
}

/// The last rows that are not empty, for the end of an error. The first line of the error stays complete
/// without them.
pub fn last_rows<'a>(rows: impl Iterator<Item = &'a str>, most: usize) -> String {
    let rows: Vec<&str> = rows.map(str::trim_end).filter(|row| !row.is_empty()).collect();
    if rows.is_empty() {
        return "; its screen is empty".to_owned();
    }
    let last = &rows[rows.len().saturating_sub(most)..];
    quoted("\non its screen:", last.iter().copied())
}

/// A message with lines of a screen below it.
pub fn quoted<'a>(message: &str, lines: impl IntoIterator<Item = &'a str>) -> String {
    lines.into_iter().fold(message.to_owned(), |text, line| format!("{text}\n  | {line}"))
}

/// The text after the prompt sign of an input line; `None` if the line has no prompt sign.
fn after_prompt(line: &str) -> Option<&str> {
    const SIGNS: [char; 8] = ['❯', '›', '»', '➜', 'λ', '$', '#', '%'];
    let inner = line.trim_start_matches(|c| is_frame(c) || c == ' ' || c == '|');
    let is_space = |c: char| c == ' ' || c == '\u{a0}';
    let behind_sign = |text: &'_ str| -> Option<usize> {
        let mut characters = text.char_indices();
        let (_, sign) = characters.next()?;
        let is_sign = SIGNS.contains(&sign) || sign == '>';
        match characters.next() {
            // Several signs in a row are the prompt of Python and others.
            Some((at, '>')) if sign == '>' => text[at..].find(|c| c != '>').map(|more| at + more),
            Some((at, next)) if is_sign && is_space(next) => Some(at + next.len_utf8()),
            _ => None,
        }
    };
    if let Some(at) = behind_sign(inner) {
        return inner.get(at..);
    }
    // The prompt of a shell: `user@host:~$ `, `sh-5.2# `. The sign follows a word directly.
    let mut before = ' ';
    let mut found = None;
    for (at, c) in inner.char_indices() {
        let rest = &inner[at + c.len_utf8()..];
        if ['$', '#', '%', '>'].contains(&c)
            && !is_space(before)
            && rest.starts_with(is_space)
            && found.is_none()
        {
            found = Some(rest);
        }
        before = c;
    }
    found
}

/// Whether programs draw frames with the character: box drawing and block elements.
fn is_frame(c: char) -> bool {
    matches!(c, '\u{2500}'..='\u{259f}')
}

/// The text without white space, frames and characters of no width: programs put U+200B and the like into their
/// lines.
fn squashed(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace() && !is_frame(*c) && c.width() != Some(0)).collect()
}

/// The first columns of a row.
fn cut(row: &str, columns: usize) -> &str {
    let mut width = 0;
    for (at, c) in row.char_indices() {
        if width >= columns && c.width() != Some(0) {
            return &row[..at];
        }
        width += c.width().unwrap_or(0);
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A screen of these rows; `‸` is the cursor.
    pub(super) fn screen(rows: &[&str]) -> Screen {
        let row = rows.iter().position(|row| row.contains('‸')).unwrap();
        let column = rows[row].split('‸').next().unwrap().chars().map(|c| c.width().unwrap_or(0)).sum();
        let rows: Vec<String> = rows.iter().map(|row| row.replace('‸', "")).collect();
        Screen { row, column, text: rows.join("\n"), rows, ..Screen::default() }
    }

    #[test]
    fn what_stands_in_the_input_line_is_what_follows_the_prompt() {
        for (line, standing) in [
            ("ada@host:~$ ‸", Some("")),
            ("ada@host:~$ rm -rf x‸", Some("rm -rf x")),
            ("sh-5.2# ls‸ tail", Some("ls")),
            ("❯ ‸", Some("")),
            ("❯\u{a0}‸Try \"fix it\"", Some("")),
            ("│ > draft‸   │", Some("draft")),
            (">>> ‸", Some("")),
            (" >   ‸ Type", Some("")),
            (">>> a > b‸", Some("a > b")),
            ("Cost in $ per item: ‸", None),
            ("Overwrite? [y/N] ‸", None),
            ("‸", None),
        ] {
            assert_eq!(screen(&[line]).input().as_deref(), standing, "{line}");
            let mut cleared = screen(&[line]);
            cleared.rows[0] = cleared.rows[0].trim_end().to_owned();
            assert_eq!(cleared.input().as_deref(), standing, "{line}, without blanks at its end");
        }
    }

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!(screen(&["> 漢字‸ x"]).before_cursor(), "> 漢字");
        assert_eq!(screen(&["> e\u{301}‸x"]).before_cursor(), "> e\u{301}");
    }
}
