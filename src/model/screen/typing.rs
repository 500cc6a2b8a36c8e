//! Texts and keys that forge types into a program, and the results.

use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};

use crate::model::error::{Error, Kind, Result};
use crate::model::similar::nearest;

/// The longest text, in bytes. tmux 3.7 accepts this much as one paste (`input-buffer-size`).
pub const LONGEST: usize = 1 << 20;

/// The longest line that the kernel passes to a program in canonical mode, without its line break
/// (`N_TTY_BUF_SIZE` in `drivers/tty/n_tty.c`). The kernel drops the rest of a longer line.
pub const LONGEST_CANONICAL: usize = 4095;

/// One step of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A text with line feeds as line breaks.
    Text(String),
    /// A key by its tmux name.
    Key(String),
}

/// A request to type into a session's program, and its safety options.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct Request {
    pub parts: Vec<Part>,
    /// Whether Enter follows the text.
    pub enter: bool,
    /// Whether each line is a separate entry with its own Enter.
    pub lines: bool,
    /// Whether to type although the program asks a question.
    pub answer: bool,
    /// Whether to type without evidence that the program reads.
    pub blind: bool,
    /// Whether to empty the input line first.
    pub replace_input: bool,
}

impl Request {
    /// One text with Enter.
    pub fn entry(text: &str) -> Self {
        Self { parts: vec![Part::Text(text.to_owned())], enter: true, ..Self::default() }
    }
}

/// The fate of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TextFate {
    /// The text left the input line.
    Submitted,
    /// The text is in the input line.
    Typed,
    /// The text is not on the screen.
    Unconfirmed,
}

impl TextFate {
    pub fn word(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Typed => "typed",
            Self::Unconfirmed => "unconfirmed",
        }
    }
}

/// The result of a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The fate of the text; [`TextFate::Typed`] for a request with keys only.
    pub fate: TextFate,
    /// How often forge pressed Enter after the text.
    pub attempts: u32,
    /// The length of the text.
    pub bytes: usize,
    /// Whether the screen changed.
    pub changed: bool,
    /// Whether the text is still in the input line although Enter was requested.
    pub stands_still: bool,
    pub elapsed_ms: u64,
}

impl Sent {
    /// The JSON of `forge send`.
    pub fn json(&self, session: &str, enter: bool) -> Value {
        json!({
            "session": session,
            "result": self.fate,
            "attempts": self.attempts,
            "bytes": self.bytes,
            "elapsed_ms": self.elapsed_ms,
            "enter": enter,
            "changed": self.changed,
        })
    }
}

/// The text in the form that forge types: with line feeds as line breaks, and without line breaks at the end.
///
/// # Errors
/// [`Kind::Usage`] if the text contains a control character, which a terminal treats as a key, or is too long.
pub fn text(text: &str) -> Result<String> {
    if text.len() > LONGEST {
        return Err(Error::usage(format!(
            "the text has more than {LONGEST} bytes (1 MiB), which is the limit"
        ))
        .hint("write the text to a file, and send the file's name to the program"));
    }
    let text = text.replace("\r\n", "\n");
    let text = text.trim_end_matches(['\n', '\r']);
    match text.char_indices().find(|(_, c)| c.is_control() && !['\n', '\t'].contains(c)) {
        None => Ok(text.to_owned()),
        Some((at, c)) => {
            Err(Error::usage(format!("byte {} of the text is the control character {}", at + 1, Spelled(c)))
                .hint(match key_of(c) {
                    Some(key) => format!("a text cannot contain keys; '--key {key}' presses this one"),
                    None => "leave it out: a text cannot contain keys".to_owned(),
                }))
        }
    }
}

/// A control character with its code and its name.
struct Spelled(char);

impl fmt::Display for Spelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "U+{:04X}", u32::from(self.0))?;
        key_of(self.0).map_or(Ok(()), |key| write!(f, " ({key})"))
    }
}

/// The key that produces a control character.
fn key_of(c: char) -> Option<String> {
    Some(match c {
        '\u{1b}' => "Escape".to_owned(),
        '\u{7f}' => "BSpace".to_owned(),
        '\r' => "Enter".to_owned(),
        '\t' => "Tab".to_owned(),
        '\u{1}'..='\u{1a}' => format!("C-{}", char::from_u32(u32::from(c) + 0x60)?),
        _ => return None,
    })
}

/// The names of tmux's keys; single characters are keys too. (`key-string.c`, 3.3a to 3.8.)
const KEYS: [&str; 33] = [
    "Enter", "Escape", "Tab", "BTab", "Space", "BSpace", "Up", "Down", "Left", "Right", "Home", "End",
    "PageUp", "PgUp", "PPage", "PageDown", "PgDn", "NPage", "Insert", "IC", "Delete", "DC", "F1", "F2", "F3",
    "F4", "F5", "F6", "F7", "F8", "F9", "F10", "F11",
];

/// The key in tmux's spelling. tmux types an unknown name as a text, so forge checks each name before it sends
/// anything.
///
/// # Errors
/// [`Kind::Usage`] with the most similar known name.
pub fn key(name: &str) -> Result<String> {
    let mut rest = name;
    let mut modifiers = String::new();
    while let Some((modifier, after)) = rest.split_once('-')
        && ["C", "M", "S"].contains(&modifier)
        && !after.is_empty()
        && !modifiers.contains(modifier)
    {
        modifiers.push_str(modifier);
        modifiers.push('-');
        rest = after;
    }
    let mut characters = rest.chars();
    let single = characters.next().filter(|c| characters.next().is_none() && !c.is_control());
    let base = match single {
        // tmux would parse a single `;` as the end of a command.
        Some(c) => Some(if c == ';' { "\\;".to_owned() } else { c.to_string() }),
        None => known_keys().find(|known| known.eq_ignore_ascii_case(rest)).map(ToOwned::to_owned),
    };
    match base {
        Some(base) if !modifiers.contains('S') || single.is_none() => Ok(format!("{modifiers}{base}")),
        _ => Err(unknown_key(name, rest)),
    }
}

fn known_keys() -> impl Iterator<Item = &'static str> {
    KEYS.into_iter().chain(["F12"])
}

fn unknown_key(name: &str, base: &str) -> Error {
    let error = Error::usage(format!("'{}' is not the name of a key", name.escape_debug()));
    match nearest(base, known_keys()) {
        Some(known) => error.hint(format!("did you mean '{known}'?")),
        None => error.hint("for example Enter, Escape, Tab, Up, F1, C-c (Ctrl), M-x (Alt), S-Up (Shift)"),
    }
}

/// Whether the key leaves a question without an answer.
pub fn declines(key: &str) -> bool {
    ["Escape", "C-c"].contains(&key)
}

/// Splits a text: the first piece has one character, the others about `most` bytes at most. Each piece contains a
/// visible character, if the text has one left. The flag marks the last piece.
pub fn pieces(text: &str, most: usize) -> Vec<(&str, bool)> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let limit = if pieces.is_empty() { 1 } else { most };
        let mut end = 0;
        let mut is_seen = false;
        for (at, c) in rest.char_indices() {
            if end >= limit && is_seen {
                break;
            }
            end = at + c.len_utf8();
            is_seen |= !c.is_whitespace();
        }
        let (piece, tail) = rest.split_at(end);
        // Spaces at the end belong to the piece before them.
        let (piece, tail) = if tail.trim().is_empty() { (rest, "") } else { (piece, tail) };
        pieces.push((piece, tail.is_empty()));
        rest = tail;
    }
    pieces
}

/// The text, if it has only one line.
///
/// # Errors
/// [`Kind::Usage`] with the reason why forge cannot type several lines.
pub fn only_line<'a>(text: &'a str, why: &str) -> Result<&'a str> {
    if text.contains('\n') {
        let lines = text.lines().count();
        return Err(Error::new(Kind::Usage, format!("the text has {lines} lines, and {why}"))
            .hint("--lines types each line as a separate entry, with its own Enter"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_character_in_a_text_is_refused_by_its_name() {
        for (bad, name, key) in [
            ("a\u{1b}[31m", "byte 2 of the text is the control character U+001B (Escape)", "Escape"),
            ("\u{3}", "byte 1 of the text is the control character U+0003 (C-c)", "C-c"),
            ("a\rb", "U+000D (Enter)", "Enter"),
            ("\u{7f}", "U+007F (BSpace)", "BSpace"),
        ] {
            let error = text(bad).unwrap_err();
            assert!(error.message.contains(name), "{error}");
            assert!(error.hint.unwrap().contains(&format!("--key {key}'")));
        }
        assert!(text("a\u{9b}1m").unwrap_err().message.contains("U+009B"));
        assert!(text("a\0").unwrap_err().hint.unwrap().contains("leave it out"));
    }

    #[test]
    fn line_breaks_stay_except_at_the_end() {
        assert_eq!(text("a\r\nb\tc\n\r\n").unwrap(), "a\nb\tc");
        assert_eq!(text("путь ❯ ").unwrap(), "путь ❯ ");
        assert_eq!(text("").unwrap(), "");
        assert!(text(&"x".repeat(LONGEST)).is_ok());
        assert!(text(&"x".repeat(LONGEST + 1)).unwrap_err().message.contains("more than 1048576 bytes"));
        assert!(
            only_line("a\nb\nc", "it does not").unwrap_err().message.contains("has 3 lines, and it does")
        );
    }

    #[test]
    fn pieces_join_to_the_text_and_each_is_visible() {
        assert_eq!(pieces("hello", 3), [("h", false), ("ell", false), ("o", true)]);
        assert_eq!(pieces("жук", 2), [("ж", false), ("у", false), ("к", true)]);
        assert_eq!(pieces("a    b ", 2), [("a", false), ("    b ", true)]);
        assert_eq!(pieces("", 2), []);
    }

    #[test]
    fn keys_are_spelled_as_by_tmux() {
        for (name, known) in [
            ("enter", "Enter"),
            ("C-c", "C-c"),
            ("M-C-x", "M-C-x"),
            ("S-up", "S-Up"),
            ("x", "x"),
            ("-", "-"),
            ("C--", "C--"),
            (";", "\\;"),
            ("ж", "ж"),
            ("F12", "F12"),
        ] {
            assert_eq!(key(name).unwrap(), known, "{name}");
        }
        assert_eq!(key("Entr").unwrap_err().hint.as_deref(), Some("did you mean 'Enter'?"));
        for bad in ["", "C-", "S-x", "X-a", "hello", "C-C-a", "\u{1b}", "Enter "] {
            assert_eq!(key(bad).unwrap_err().kind, Kind::Usage, "{bad}");
        }
    }
}
