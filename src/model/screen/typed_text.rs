//! The position of a typed text on a screen.
//!
//! Programs draw their input lines in different ways: with a prompt before the line, with a frame around it,
//! wrapped by the terminal or by the program, or with a long paste as `[Pasted text #1 +49 lines]`. So forge
//! compares texts without white space and frames, and looks for a text directly before the cursor.

use super::{Screen, squashed};

/// The length of the end of a text that forge looks for, in characters.
const TAIL: usize = 24;

/// A shorter end may also appear elsewhere by chance, so it counts only before the cursor.
const TELLING: usize = 4;

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
        let behind = if is_short { squashed(now.before_cursor()) } else { now.squashed_before_cursor() };
        if chips(&behind)
            .last()
            .is_some_and(|chip| behind.ends_with(chip) && !before.squashed_before_cursor().ends_with(chip))
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

#[cfg(test)]
mod tests {
    use super::super::tests::screen;
    use super::*;

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
    fn a_word_before_the_cursor_is_found_again() {
        let now = screen(&["$ echo #{hello}‸"]);
        assert_eq!(TypedText::new("echo #{hello}").unwrap().token(&now), Some("hello"));
        assert_eq!(TypedText::new("❯").unwrap().token(&screen(&["❯‸"])), None);
    }
}
