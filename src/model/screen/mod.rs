//! The screen of a pane, and the position of a typed text on it.
//!
//! Programs draw their input lines in different ways: with a prompt before the line, with a frame around it,
//! wrapped by the terminal or by the program, or with a long paste as `[Pasted text #1 +49 lines]`. So forge
//! compares texts without white space and frames, and looks for a text directly before the cursor.

pub mod captures;
pub mod fold;

pub mod prompts;
pub mod typing;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

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
    /// The program's terminal.
    pub terminal: String,
    pub clients: Vec<Client>,
    pub rows: Vec<String>,
    /// The rows with wrapped lines joined; patterns are matched on this.
    pub text: String,
}

/// The length of the end of a text that forge looks for, in characters.
const TAIL: usize = 24;

/// A shorter end may also appear elsewhere by chance, so it counts only before the cursor.
const TELLING: usize = 4;

/// The most rows above the cursor over which a text's end may be wrapped.
const ROWS: usize = 12;

impl Screen {
    /// The part of the cursor's row before the cursor.
    pub fn before_cursor(&self) -> &str {
        self.rows.get(self.row).map_or("", |row| cut(row, self.column))
    }

    /// The text before the cursor over up to [`ROWS`] rows, without white space and frames.
    fn behind(&self) -> String {
        let above = self.rows.get(self.row.saturating_sub(ROWS)..self.row).unwrap_or_default();
        let rows = above.iter().map(String::as_str).chain([self.before_cursor()]);
        rows.map(squashed).collect()
    }

    /// The last rows that are not empty, for an error.
    pub fn last_rows(&self, most: usize) -> String {
        let rows: Vec<&str> =
            self.rows.iter().map(|row| row.trim_end()).filter(|row| !row.is_empty()).collect();
        if rows.is_empty() {
            return "; its screen is empty".to_owned();
        }
        let last = &rows[rows.len().saturating_sub(most)..];
        quoted("; on its screen:", last.iter().copied())
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

    /// The line before the cursor, if it ends like a question with two answers: `[y/N]`, `(yes/no)?`.
    pub fn yes_or_no(&self) -> Option<&str> {
        const BEGINNINGS: [&str; 8] = ["[y/", "(y/", "[yes/", "(yes/", "[n/", "(n/", "[no/", "(no/"];
        let line = self.before_cursor().trim();
        let lower = line.to_ascii_lowercase();
        let answers = lower.trim_end_matches([' ', ':', '?', '>']).strip_suffix([']', ')'])?;
        let begins = |begin: &&str| answers.rfind(*begin).is_some_and(|at| !answers[at..].contains(' '));
        BEGINNINGS.iter().any(begins).then_some(line)
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

/// The placeholders for long pastes on a screen: `[Pasted text #1 +49 lines]`, `[Pasted Content 3000 chars]`.
fn chips(squashed: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = squashed;
    while let Some(at) = rest.find('[') {
        rest = &rest[at..];
        let Some(end) = rest.find(']') else { break };
        let chip = &rest[..=end];
        if chip.len() < 60 && chip.to_ascii_lowercase().contains("past") {
            found.push(chip);
        }
        rest = &rest[1..];
    }
    found
}

/// A typed text, in the form that forge looks for.
#[derive(Debug)]
pub struct TypedText {
    /// The end of its last line that is not empty.
    tail: String,
    is_one_line: bool,
}

/// Where a typed text is after Enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// The text is no longer in its place.
    Left,
    /// The text is no longer in its place, but there is no empty input line: something else may cover it.
    Covered,
    /// The text and the cursor are still in their places, or another text is in the text's place.
    Stands,
    /// The text is still in its place, and the cursor is on a new line of the same input box.
    Broken,
}

impl TypedText {
    /// `None` if the text has no visible characters.
    pub fn new(text: &str) -> Option<Self> {
        let last = text.lines().rev().map(squashed).find(|line| !line.is_empty())?;
        let skipped = last.chars().count().saturating_sub(TAIL);
        let tail: String = last.chars().skip(skipped).collect();
        Some(Self { tail, is_one_line: !text.contains('\n') })
    }

    /// Whether the text is directly before the cursor now, and was not before forge typed it.
    fn is_at_cursor(&self, before: &Screen, now: &Screen) -> bool {
        // Ignore the number of scrolled lines: tmux counts some when a program clears its screen from the first cell.
        if (now.row, now.column) == (before.row, before.column) && now.rows == before.rows {
            return false;
        }
        let is_short = self.tail.chars().count() < TELLING;
        // A few characters may appear anywhere: they must be on the cursor's row, after the text that was there.
        let behind = if is_short { squashed(now.before_cursor()) } else { now.behind() };
        if chips(&behind)
            .last()
            .is_some_and(|chip| behind.ends_with(chip) && !before.behind().ends_with(chip))
        {
            return true;
        }
        let Some(rest) = behind.strip_suffix(&self.tail) else { return false };
        let line = squashed(before.before_cursor());
        let near: String = line.chars().skip(line.chars().count().saturating_sub(TELLING)).collect();
        !is_short || !self.is_one_line || rest.ends_with(&near)
    }

    /// Whether the screen shows the text in a place where it was not before.
    pub fn shows(&self, before: &Screen, now: &Screen) -> bool {
        if self.is_at_cursor(before, now) {
            return true;
        }
        // Some programs keep the terminal's cursor elsewhere.
        let (old, new) = (squashed(&before.rows.concat()), squashed(&now.rows.concat()));
        chips(&new).len() > chips(&old).len()
            || (self.tail.chars().count() >= TELLING
                && new.matches(&self.tail).count() > old.matches(&self.tail).count())
    }

    /// A word of the text's last row, so that tmux can check for it when it presses Enter. The word has only
    /// letters and digits, because tmux expands other characters.
    pub fn token<'a>(&self, now: &'a Screen) -> Option<&'a str> {
        let row = now.before_cursor();
        let words = row.split(|c: char| !c.is_ascii_alphanumeric());
        words.max_by_key(|word| word.len()).filter(|word| !word.is_empty())
    }

    /// Whether the text is exactly where it was, so that Enter may follow.
    pub fn stands_still(&self, first: &Screen, now: &Screen) -> bool {
        let row = first.before_cursor().trim_end();
        if squashed(row).is_empty() {
            return self.after_elsewhere(first, now) == After::Stands;
        }
        now.before_cursor().trim_end() == row
    }

    /// Where the text is since Enter.
    pub fn after(&self, pressed: &Screen, now: &Screen) -> After {
        let row = pressed.before_cursor().trim_end();
        if squashed(row).is_empty() {
            return self.after_elsewhere(pressed, now);
        }
        if now.before_cursor().starts_with(row) {
            // A sign for a line break may follow the text.
            return After::Stands;
        }
        let above = now.row.checked_sub(1).and_then(|at| now.rows.get(at)).map(|row| row.trim_end());
        let is_new_line =
            squashed(now.before_cursor()).is_empty() && above.is_some_and(|above| above.starts_with(row));
        let below = |screen: &Screen| {
            let rows = screen.rows.get(screen.row + 1..).unwrap_or_default();
            rows.iter().map(|row| row.trim_end().to_owned()).find(|row| !row.is_empty())
        };
        // The same lower edge of a box, or line of hints below it, shows that the line break is inside the box.
        if is_new_line && below(now).is_some() && below(now) == below(pressed) {
            After::Broken
        } else if !pressed.is_in_box() || pressed.input().is_none() {
            After::Left
        } else {
            match now.input().as_deref() {
                Some("") => After::Left,
                // Another text: a list of completions consumed the Enter and changed the text.
                Some(_) => After::Stands,
                None => After::Covered,
            }
        }
    }

    /// As [`TypedText::after`], for a program that keeps the terminal's cursor away from the text: compares all rows
    /// from the text on. An additional blank row is a line break.
    fn after_elsewhere(&self, pressed: &Screen, now: &Screen) -> After {
        let from_there = |screen: &Screen| {
            let at = screen.rows.iter().rposition(|row| squashed(row).contains(&self.tail))?;
            let rows = screen.rows[at..].iter().map(|row| row.trim_end().to_owned());
            Some(rows.filter(|row| !squashed(row).is_empty()).collect::<Vec<_>>())
        };
        let (old, new) = (from_there(pressed), from_there(now));
        if old.is_some() && old == new { After::Stands } else { After::Left }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(rows: &[&str]) -> Screen {
        // `‸` is the cursor.
        let row = rows.iter().position(|row| row.contains('‸')).unwrap();
        let column = rows[row].split('‸').next().unwrap().chars().map(|c| c.width().unwrap_or(0)).sum();
        let rows: Vec<String> = rows.iter().map(|row| row.replace('‸', "")).collect();
        Screen { row, column, text: rows.join("\n"), rows, ..Screen::default() }
    }

    #[test]
    fn a_text_is_seen_where_the_cursor_is() {
        let typed = TypedText::new("echo hello").unwrap();
        let before = screen(&["ada@host:~$ ‸"]);
        assert!(typed.shows(&before, &screen(&["ada@host:~$ echo hello‸"])));
        assert!(!typed.shows(&before, &before));
        assert!(!typed.shows(&before, &screen(&["ada@host:~$ echo‸"])));
        let boxed = screen(&["╭──────╮", "│ ❯ ‸  │", "╰──────╯"]);
        assert!(typed.shows(&boxed, &screen(&["╭──────╮", "│ ❯ echo │", "│ hello‸ │", "╰──────╯"])));
    }

    #[test]
    fn one_character_must_follow_what_stood_there() {
        let typed = TypedText::new("y").unwrap();
        let before = screen(&["clock 10:00", "> ‸"]);
        assert!(typed.shows(&before, &screen(&["clock 10:01", "> y‸"])));
        assert!(!typed.shows(&before, &screen(&["a y", "> ‸"])), "elsewhere");
        assert!(!typed.shows(&before, &screen(&["y‸", ""])), "the cursor went there");
        let menu = screen(&["Run on production?", "‸", "❯ Yes"]);
        assert!(!TypedText::new("?").unwrap().shows(&before, &menu), "in the row above");
        assert!(TypedText::new(" \n ").is_none());
    }

    #[test]
    fn a_long_paste_may_be_shown_by_a_sign() {
        let typed = TypedText::new(&"line of text\n".repeat(50)).unwrap();
        let before = screen(&["❯ ‸"]);
        assert!(typed.shows(&before, &screen(&["❯ [Pasted text #1 +49 lines]‸"])));
        assert!(typed.shows(&before, &screen(&["› [Pasted Content 3000 chars]", "‸"])));
        assert!(!typed.shows(&before, &screen(&["❯ [x] past‸"])));
    }

    #[test]
    fn a_submitted_text_left_the_input_line() {
        let typed = TypedText::new("echo hello").unwrap();
        let pressed = screen(&["$ echo hello‸", ""]);
        assert_eq!(typed.after(&pressed, &screen(&["$ echo hello", "hello", "$ ‸"])), After::Left);
        assert_eq!(typed.after(&pressed, &screen(&["$ echo hello", "‸"])), After::Left);
        assert_eq!(typed.after(&pressed, &screen(&["tick", "$ echo hello‸"])), After::Stands);
        let boxed = screen(&["❯ echo hello‸", "──────", "  ? for help"]);
        let broken = screen(&["❯ echo hello", "  ‸", "──────", "  ? for help"]);
        assert_eq!(typed.after(&boxed, &broken), After::Broken);
        let left = screen(&["❯ echo hello", "", "❯ ‸", "──────", "  ? for help"]);
        assert_eq!(typed.after(&boxed, &left), After::Left);
        let completed = screen(&["❯ echo hello.txt‸", "──────", "  ? for help"]);
        assert_eq!(typed.after(&boxed, &completed), After::Stands);
        assert!(!typed.stands_still(&boxed, &completed) && typed.stands_still(&boxed, &boxed));
        let changed = screen(&["❯ see hello.txt‸", "──────", "  ? for help"]);
        assert_eq!(typed.after(&boxed, &changed), After::Stands);
        let covered = screen(&["Run it?", "‸❯ Yes", "  No"]);
        assert_eq!(typed.after(&boxed, &covered), After::Covered);
        let signed = screen(&["❯ echo hello⏎‸", "──────", "  ? for help"]);
        assert_eq!(typed.after(&boxed, &signed), After::Stands);
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
    fn a_question_with_two_answers_is_known() {
        for (line, asks) in [
            ("Keep the data? [Y/n] ‸", true),
            ("Overwrite (yes/no)? ‸", true),
            ("continue connecting (yes/no/[fingerprint])? ‸", true),
            ("Proceed [y/N]:‸", true),
            ("Keep the data? [Y/n] y‸", false),
            ("ada@host:~/x (y)$ ‸", false),
            ("[a/b] ‸", false),
            ("> ‸", false),
        ] {
            assert_eq!(screen(&[line]).yes_or_no().is_some(), asks, "{line}");
        }
    }

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!(screen(&["> 漢字‸ x"]).before_cursor(), "> 漢字");
        assert_eq!(screen(&["> e\u{301}‸x"]).before_cursor(), "> e\u{301}");
    }

    #[test]
    fn a_word_before_the_cursor_is_found_again() {
        let now = screen(&["$ echo #{hello}‸"]);
        assert_eq!(TypedText::new("echo #{hello}").unwrap().token(&now), Some("hello"));
        assert_eq!(TypedText::new("❯").unwrap().token(&screen(&["❯‸"])), None);
    }
}
