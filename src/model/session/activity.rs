//! What a session's program does, as far as forge knows.

use serde::{Deserialize, Serialize};

use crate::model::screen::fold;

/// What the program does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Activity {
    /// It asks its user something.
    Asking,
    /// forge does not know.
    #[default]
    Unknown,
}

/// Where forge knows the activity from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A pattern of the session matches on its screen.
    Screen,
}

/// A question that stands on a screen, without its text: that may be private, and supervisors only have
/// to recognise it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The question's lines, without the mark of a menu's selected line.
    text: u64,
    /// The same without what ticks: `model::screen::fold`.
    folded: u64,
    /// The whole screen without what ticks.
    screen: u64,
}

/// What menus put before the line that is selected: moving it asks nothing new.
const SELECTED: [char; 6] = ['❯', '›', '▶', '➜', '→', '>'];

impl Question {
    /// The question with that text, on that screen.
    pub fn new(text: &str, screen: &str) -> Self {
        let text: String = text.chars().filter(|c| !SELECTED.contains(c) && !c.is_whitespace()).collect();
        let folded = fold::digest(&fold::folded(&text));
        Self { text: fold::digest(&text), folded, screen: fold::digest(&fold::folded(screen)) }
    }

    /// Whether the two are one question: the same words, or words in which only numbers and spinners
    /// differ, as a countdown does, while the rest of the screen is the same as well.
    pub fn is_same(&self, other: &Self) -> bool {
        self.text == other.text || (self.folded == other.folded && self.screen == other.screen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_one_while_it_only_ticks() {
        let is_same =
            |a: (&str, &str), b: (&str, &str)| Question::new(a.0, a.1).is_same(&Question::new(b.0, b.1));
        assert!(is_same(("Sure?", "Sure?"), ("Sure?", "a log line\nSure?")));
        assert!(is_same(("Sure? (9s)", "a\nSure? (9s)"), ("Sure? (10s)", "a\nSure? (10s)")), "a countdown");
        assert!(is_same(("❯ 1. Yes\n2. No", ""), ("1. Yes\n❯ 2. No", "")), "another line is selected");
        assert!(!is_same(("Delete 1?", "Delete 1?"), ("Delete 2?", "deleted 1\nDelete 2?")), "the next one");
        assert!(!is_same(("Delete it?", ""), ("Keep it?", "")));
    }
}
