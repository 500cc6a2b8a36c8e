//! The patterns of a session, by which forge recognises whether its program reads input.

use std::fmt;
use std::ops::Range;

use regex_lite::{Regex, RegexBuilder};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::error::{Error, Result};

/// The most lines of a question that forge shows: in notices, in the state of a session and in errors.
pub const QUESTION_LINES: usize = 3;

/// The most characters of a question that forge shows.
pub const QUESTION_CHARS: usize = 300;

/// The meaning of a pattern; its word is the key in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatternKey {
    /// The program is up and reads input.
    Ready,
    /// The program is not up yet, whatever else is on the screen: a trust question, a log-in.
    NotReady,
    /// The program asks its user something.
    Asking,
    /// The program works on a turn.
    Working,
}

impl PatternKey {
    /// The key in `[sessions.NAME]`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::NotReady => "not_ready",
            Self::Asking => "asking",
            Self::Working => "working",
        }
    }

    /// The hint for a user whose expression matches everything.
    fn advice(self) -> &'static str {
        match self {
            Self::Ready => "name some text that is only there when the program is up",
            Self::NotReady => "name some text that is only there while the program is not up yet",
            Self::Asking => "name some text that is only there while the program asks",
            Self::Working => "name some text that is only there while the program works",
        }
    }
}

/// A regular expression that forge looks for on the screen of a session's pane.
#[derive(Debug, Clone)]
pub struct ScreenPattern {
    key: PatternKey,
    regex: Regex,
}

impl ScreenPattern {
    /// Parses the expression. `^` and `$` match at each line of the screen, `\z` at its end.
    ///
    /// # Errors
    /// `Kind::Usage` if it is not a valid regular expression, or if it matches an empty screen and would prove
    /// nothing. The message names the key.
    pub fn parse(key: PatternKey, text: &str) -> Result<Self> {
        let word = key.word();
        let regex = RegexBuilder::new(text).multi_line(true).build().map_err(|error| {
            Error::usage(format!("the {word} pattern '{text}' is not a valid regular expression: {error}"))
                .hint("a prompt such as $ or [x] is written \\$ or \\[x\\]")
        })?;
        if regex.is_match("") {
            return Err(Error::usage(format!(
                "the {word} pattern '{text}' matches an empty screen, so it proves nothing"
            ))
            .hint(key.advice()));
        }
        Ok(Self { key, regex })
    }

    pub fn key(&self) -> PatternKey {
        self.key
    }

    /// The expression as the user wrote it.
    pub fn as_str(&self) -> &str {
        self.regex.as_str()
    }

    /// Whether the expression matches somewhere on the screen.
    pub fn matches(&self, screen: &str) -> bool {
        self.regex.is_match(screen) || self.regex.is_match(&trimmed(screen))
    }

    /// The lines of the screen that the expression matches, in the screen's order, each once.
    fn lines<'a>(&self, screen: &'a str) -> Vec<&'a str> {
        let lines: Vec<&str> = screen.lines().collect();
        let mut matched = vec![false; lines.len()];
        for text in [screen, &trimmed(screen)] {
            for found in self.regex.find_iter(text) {
                let rows = rows(text, &found.range());
                matched.iter_mut().take(rows.end).skip(rows.start).for_each(|row| *row = true);
            }
            if matched.contains(&true) {
                break;
            }
        }
        lines.into_iter().zip(matched).filter_map(|(line, matched)| matched.then_some(line)).collect()
    }
}

/// The screen without the spaces at the ends of its lines. Users expect both `\$ $` and `\$$` to match the prompt
/// "$ ", so forge tries both screens.
fn trimmed(screen: &str) -> String {
    screen.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// The rows of a text that a match touches. A match that ends with a line break touches only the line
/// before the break.
fn rows(text: &str, range: &Range<usize>) -> Range<usize> {
    let breaks = |end: usize| text.get(..end).map_or(0, |before| before.matches('\n').count());
    let end = text.get(range.clone()).map_or(range.end, |found| range.start + found.trim_end().len());
    breaks(range.start)..breaks(end.max(range.start)) + 1
}

/// The expression and its key, for a message: `'Do you trust' (not_ready)`.
impl fmt::Display for ScreenPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' ({})", self.as_str(), self.key.word())
    }
}

impl PartialEq for ScreenPattern {
    fn eq(&self, other: &Self) -> bool {
        (self.key, self.as_str()) == (other.key, other.as_str())
    }
}

impl Serialize for ScreenPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// For `#[serde(deserialize_with)]` of a field `ready`: only the field knows the key.
///
/// # Errors
/// As for [`ScreenPattern::parse`].
pub fn ready<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Option<ScreenPattern>, D::Error> {
    pattern(PatternKey::Ready, from)
}

/// The same for a field `not_ready`.
///
/// # Errors
/// As for [`ScreenPattern::parse`].
pub fn not_ready<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Option<ScreenPattern>, D::Error> {
    pattern(PatternKey::NotReady, from)
}

/// The same for a field `asking`.
///
/// # Errors
/// As for [`ScreenPattern::parse`].
pub fn asking<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Option<ScreenPattern>, D::Error> {
    pattern(PatternKey::Asking, from)
}

/// The same for a field `working`.
///
/// # Errors
/// As for [`ScreenPattern::parse`].
pub fn working<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Option<ScreenPattern>, D::Error> {
    pattern(PatternKey::Working, from)
}

fn pattern<'de, D: Deserializer<'de>>(
    key: PatternKey,
    from: D,
) -> std::result::Result<Option<ScreenPattern>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    text.map(|text| ScreenPattern::parse(key, &text)).transpose().map_err(D::Error::custom)
}

/// The patterns of one session.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prompts {
    /// The program reads input when this matches and neither of the others does.
    pub ready: Option<ScreenPattern>,
    /// The program does not read input yet.
    pub not_ready: Option<ScreenPattern>,
    /// The program asks its user something.
    pub asking: Option<ScreenPattern>,
    /// The program works on a turn.
    pub working: Option<ScreenPattern>,
}

impl Prompts {
    /// Checks the patterns against each other.
    ///
    /// # Errors
    /// `Kind::Usage` if there is a `not_ready` without `ready`, because then nothing waits for the program.
    pub fn check(&self) -> Result<()> {
        if self.not_ready.is_some() && self.ready.is_none() {
            return Err(Error::usage("not_ready needs ready: without it nothing waits for the program")
                .hint("name a ready pattern too, such as the program's prompt"));
        }
        Ok(())
    }

    /// Whether the program reads input: `ready` matches, and neither `not_ready` nor `asking` does. Always `false`
    /// without a `ready` pattern, because then it is unknown.
    pub fn is_ready(&self, screen: &str) -> bool {
        self.ready.as_ref().is_some_and(|ready| ready.matches(screen)) && self.blocking(screen).is_none()
    }

    /// The pattern that keeps the program from being ready, whatever `ready` says.
    pub fn blocking(&self, screen: &str) -> Option<&ScreenPattern> {
        [&self.not_ready, &self.asking].into_iter().flatten().find(|pattern| pattern.matches(screen))
    }

    /// Whether the program asks its user something.
    pub fn is_asking(&self, screen: &str) -> bool {
        self.asking.as_ref().is_some_and(|asking| asking.matches(screen))
    }

    /// Whether the program works on a turn.
    pub fn is_working(&self, screen: &str) -> bool {
        self.working.as_ref().is_some_and(|working| working.matches(screen))
    }

    /// Whether a screen can show what the program does: see `model::session::activity`.
    pub fn show_activity(&self) -> bool {
        self.asking.is_some() || self.working.is_some()
    }

    /// The question of the program: the lines that `asking` matches, trimmed, at most [`QUESTION_LINES`] of them
    /// and [`QUESTION_CHARS`] characters. It may be private, so forge never writes it to the journal.
    pub fn question(&self, screen: &str) -> Option<String> {
        let asking = self.asking.as_ref().filter(|asking| asking.matches(screen))?;
        let lines = asking.lines(screen);
        Some(shortened(lines))
    }
}

/// The first lines of a text, trimmed: at most [`QUESTION_LINES`] lines that are not blank, and
/// [`QUESTION_CHARS`] characters.
pub fn shortened<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    let lines = lines.into_iter().map(str::trim).filter(|line| !line.is_empty());
    let text = lines.take(QUESTION_LINES).collect::<Vec<_>>().join("\n");
    match text.char_indices().nth(QUESTION_CHARS) {
        None => text,
        // The last character shows that there is more.
        Some(_) => text.chars().take(QUESTION_CHARS - 1).chain(['…']).collect(),
    }
}

/// The line, trimmed, if it ends like a question with two answers: `[y/N]`, `(yes/no)?`. Programs ask such a
/// question directly before the cursor.
pub fn yes_or_no(line: &str) -> Option<&str> {
    const BEGINNINGS: [&str; 8] = ["[y/", "(y/", "[yes/", "(yes/", "[n/", "(n/", "[no/", "(no/"];
    let line = line.trim();
    let lower = line.to_ascii_lowercase();
    let answers = lower.trim_end_matches([' ', ':', '?', '>']).strip_suffix([']', ')'])?;
    let begins = |begin: &&str| answers.rfind(*begin).is_some_and(|at| !answers[at..].contains(' '));
    BEGINNINGS.iter().any(begins).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(key: PatternKey, text: &str) -> ScreenPattern {
        ScreenPattern::parse(key, text).unwrap()
    }

    fn prompts(ready: &str, not_ready: &str, asking: &str) -> Prompts {
        Prompts {
            ready: Some(of(PatternKey::Ready, ready)),
            not_ready: Some(of(PatternKey::NotReady, not_ready)),
            asking: Some(of(PatternKey::Asking, asking)),
            working: None,
        }
    }

    #[test]
    fn a_prompt_is_found_on_its_line() {
        let screen = "Welcome\n❯ \n";
        let matches = |text| of(PatternKey::Ready, text).matches(screen);
        assert!(matches("❯") && matches("^❯ $") && matches("❯$") && matches(r"❯\z"));
        assert!(!matches("^> "));
    }

    #[test]
    fn an_invalid_pattern_is_refused_with_a_hint() {
        for bad in ["[", "(", "*"] {
            let error = ScreenPattern::parse(PatternKey::Ready, bad).unwrap_err();
            assert!(
                error.message.contains("not a valid regular expression") && error.hint.is_some(),
                "{bad}"
            );
        }
        for key in [PatternKey::Ready, PatternKey::NotReady, PatternKey::Asking, PatternKey::Working] {
            for empty in ["", "x*"] {
                let message = ScreenPattern::parse(key, empty).unwrap_err().message;
                assert!(message.contains("empty screen") && message.contains(key.word()), "{message}");
            }
        }
        assert!(ScreenPattern::parse(PatternKey::Ready, "a)|(b").is_err());
    }

    #[test]
    fn a_program_that_asks_is_not_ready() {
        let prompts = prompts("❯", "Do you trust", r"\[y/N\]");
        assert!(prompts.is_ready("hello\n❯ "));
        assert!(!prompts.is_ready("hello"));
        let trust = "Do you trust this folder?\n❯ 1. Yes";
        assert!(!prompts.is_ready(trust));
        assert_eq!(prompts.blocking(trust).unwrap().to_string(), "'Do you trust' (not_ready)");
        let question = "❯ \nDelete it? [y/N] ";
        assert!(!prompts.is_ready(question) && prompts.is_asking(question));
        assert_eq!(prompts.blocking(question).unwrap().key(), PatternKey::Asking);
        assert!(prompts.blocking("❯").is_none());
        assert!(!Prompts::default().is_ready("❯"), "without a pattern it is unknown");
    }

    #[test]
    fn a_question_is_shown_by_its_lines() {
        let asking =
            |text: &str| Prompts { asking: Some(of(PatternKey::Asking, text)), ..Prompts::default() };
        let screen = "  rm -rf build\n  Do you want to proceed?  \n  ❯ 1. Yes\n    2. No\n";
        assert_eq!(asking("proceed").question(screen).unwrap(), "Do you want to proceed?");
        assert_eq!(asking(r"proceed\?\s*❯ 1").question(screen).unwrap(), "Do you want to proceed?\n❯ 1. Yes");
        assert_eq!(asking(r"1\. Yes$|^ +rm").question(screen).unwrap(), "rm -rf build\n❯ 1. Yes");
        assert_eq!(asking(r"proceed\?$").question(screen).unwrap(), "Do you want to proceed?", "trimmed");
        assert_eq!(asking(r"[\s\S]+").question(screen).unwrap().lines().count(), QUESTION_LINES);
        assert_eq!(asking("nothing").question(screen), None);
        assert_eq!(Prompts::default().question(screen), None);
        let long = "x".repeat(1000);
        let question = asking("x").question(&long).unwrap();
        assert!(question.chars().count() == QUESTION_CHARS && question.ends_with('…'));
    }

    #[test]
    fn not_ready_needs_ready() {
        assert!(prompts("a", "b", "c").check().is_ok() && Prompts::default().check().is_ok());
        let alone = Prompts { ready: None, ..prompts("a", "b", "c") };
        assert!(alone.check().unwrap_err().message.contains("not_ready needs ready"));
        assert!(Prompts { not_ready: None, ..alone }.check().is_ok());
    }

    #[test]
    fn a_question_with_two_answers_is_known() {
        for (line, asks) in [
            ("Keep the data? [Y/n] ", true),
            ("Overwrite (yes/no)? ", true),
            ("continue connecting (yes/no/[fingerprint])? ", true),
            ("Proceed [y/N]:", true),
            ("Keep the data? [Y/n] y", false),
            ("ada@host:~/x (y)$ ", false),
            ("[a/b] ", false),
            ("> ", false),
        ] {
            assert_eq!(yes_or_no(line).is_some(), asks, "{line}");
        }
    }
}
