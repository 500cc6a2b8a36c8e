//! The activity of a session's program, as far as forge knows.

use serde::{Deserialize, Serialize};

use crate::model::screen::fold;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Activity {
    /// The program asks its user something.
    Asking,
    #[default]
    Unknown,
}

/// The source of the activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A pattern of the session matches its screen.
    Screen,
}

/// A question on a screen, as hashes: the text may be private, and supervisors only have to recognise the
/// question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The question's lines, without the mark of the selected line in a menu.
    text: u64,
    /// The same, without spinners and counters (`model::screen::fold`).
    folded: u64,
    /// The screen, without spinners and counters.
    screen: u64,
}

/// The marks that menus put before the selected line. Moving the mark does not make a new question.
const SELECTED: [char; 6] = ['❯', '›', '▶', '➜', '→', '>'];

impl Question {
    pub fn new(text: &str, screen: &str) -> Self {
        let text: String = text.chars().filter(|c| !SELECTED.contains(c) && !c.is_whitespace()).collect();
        let folded = fold::digest(&fold::folded(&text));
        Self { text: fold::digest(&text), folded, screen: fold::digest(&fold::folded(screen)) }
    }

    /// Whether both are the same question: the same words, or words that differ only in numbers and spinners
    /// (a countdown, for example) while the rest of the screen is the same as well.
    pub fn is_same(&self, other: &Self) -> bool {
        self.text == other.text || (self.folded == other.folded && self.screen == other.screen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_countdown_does_not_make_a_new_question() {
        let is_same =
            |a: (&str, &str), b: (&str, &str)| Question::new(a.0, a.1).is_same(&Question::new(b.0, b.1));
        assert!(is_same(("Sure?", "Sure?"), ("Sure?", "a log line\nSure?")));
        assert!(is_same(("Sure? (9s)", "a\nSure? (9s)"), ("Sure? (10s)", "a\nSure? (10s)")), "a countdown");
        assert!(is_same(("❯ 1. Yes\n2. No", ""), ("1. Yes\n❯ 2. No", "")), "another line is selected");
        assert!(!is_same(("Delete 1?", "Delete 1?"), ("Delete 2?", "deleted 1\nDelete 2?")), "the next one");
        assert!(!is_same(("Delete it?", ""), ("Keep it?", "")));
    }
}
