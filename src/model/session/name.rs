//! The name of a session, and patterns over names.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::error::{Error, Result};

/// The longest id, in bytes. It is short enough for a socket path below the 107 bytes of `sun_path` (unix(7))
/// in any usual directory.
pub const MAX: usize = 48;

/// Names whose slice has another purpose.
const RESERVED: [&str; 1] = ["guard"];

/// The id of a session: `[A-Za-z0-9][A-Za-z0-9_-]{0,47}`.
///
/// Only these characters stay unchanged in a unit name, a tmux session name and a socket name: tmux
/// rewrites `:` and `.` (3.2 to 3.6), expands `#{…}` and does not keep `-L ../x` inside
/// its directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionId(String);

impl SessionId {
    /// The id for a name that a person gave. Each run of other characters becomes one `-`, and the ends are
    /// trimmed. Two names with the same id mean the same session.
    ///
    /// # Errors
    /// `Kind::Usage` if no characters are left, if more than [`MAX`] bytes are left, or if the name is
    /// reserved.
    pub fn from_name(name: &str) -> Result<Self> {
        if is_id(name) {
            return if RESERVED.contains(&name) {
                Err(Error::usage(format!(
                    "'{name}' cannot name a session: forge-{name}.slice is forge's own"
                ))
                .hint(format!("use another name, for example '{name}-1'")))
            } else {
                Ok(Self(name.to_owned()))
            };
        }
        let mut id = String::with_capacity(name.len().min(MAX));
        for c in name.chars() {
            if c.is_ascii_alphanumeric() || c == '_' || c == '-' {
                id.push(c);
            } else if !id.ends_with('-') {
                id.push('-');
            }
        }
        let id = id.trim_matches(|c| c == '-' || c == '_');
        if id.is_empty() {
            return Err(Error::usage(format!("'{}' cannot name a session", shown(name)))
                .hint("use at least one of A-Z a-z 0-9, for example 'agent-1'"));
        }
        if id.len() > MAX {
            return Err(Error::usage(format!(
                "the name '{}' is too long: {} characters where {MAX} are allowed",
                shown(name),
                id.len()
            ))
            .hint(format!("use a shorter name, for example '{}'", &id[..16])));
        }
        Self::from_name(id)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<SessionId> for String {
    fn from(id: SessionId) -> Self {
        id.0
    }
}

impl TryFrom<String> for SessionId {
    type Error = Error;

    /// Unlike [`SessionId::from_name`], this does not change the text: it refuses a text that is not an id.
    fn try_from(text: String) -> Result<Self> {
        let id = Self::from_name(&text)?;
        if id.0 == text {
            Ok(id)
        } else {
            Err(Error::usage(format!("'{}' is not a valid session id", shown(&text))))
        }
    }
}

fn is_id(text: &str) -> bool {
    text.len() <= MAX
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// The name for a message: shortened to a line, with control characters escaped.
fn shown(name: &str) -> String {
    let mut text: String = name.chars().take(60).flat_map(char::escape_debug).collect();
    if name.chars().nth(60).is_some() {
        text.push('…');
    }
    text
}

/// The sessions that a command works on: an id, or a pattern with `*`, `?` and `[…]` as in glob(7).
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    glob: glob::Pattern,
}

impl Pattern {
    /// Parses a pattern. A text without wildcards is a name, as for [`SessionId::from_name`].
    ///
    /// # Errors
    /// `Kind::Usage` if the text is neither a valid name nor a valid pattern.
    pub fn parse(text: &str) -> Result<Self> {
        let source =
            if text.contains(['*', '?', '[']) { text.to_owned() } else { SessionId::from_name(text)?.into() };
        let glob = glob::Pattern::new(&source).map_err(|error| {
            Error::usage(format!("'{}' is not a valid pattern: {}", shown(text), error.msg))
                .hint("use *, ? and [abc] as in a shell, for example 'bridge-*'")
        })?;
        Ok(Self { text: source, glob })
    }

    pub fn all() -> Self {
        Self { text: "*".into(), glob: glob::Pattern::default() }
    }

    pub fn matches(&self, id: &SessionId) -> bool {
        self.text == "*" || self.glob.matches(id.as_str())
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the pattern has no wildcards, so that it matches one session at most.
    pub fn is_name(&self) -> bool {
        !self.text.contains(['*', '?', '['])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> String {
        SessionId::from_name(name).unwrap().into()
    }

    #[test]
    fn a_valid_name_is_its_own_id() {
        for name in ["demo", "a", "Agent_7", "bridge-2", "9lives", "a-", "a__"] {
            assert_eq!(id(name), name);
        }
    }

    #[test]
    fn other_characters_become_one_dash() {
        assert_eq!(id("my agent"), "my-agent");
        assert_eq!(id("../x"), "x");
        assert_eq!(id("a//..//b"), "a-b");
        assert_eq!(id("  spaces  "), "spaces");
        assert_eq!(id("агент-7"), "7");
        assert_eq!(id("#{pid}"), "pid");
        assert_eq!(id("a:b.c"), "a-b-c");
        assert_eq!(id("-L"), "L");
    }

    #[test]
    fn a_name_without_valid_characters_is_an_error() {
        for name in ["", "---", "мост", "\u{1b}[31m"] {
            let result = SessionId::from_name(name);
            match name {
                "\u{1b}[31m" => assert_eq!(String::from(result.unwrap()), "31m"),
                _ => assert!(result.unwrap_err().message.contains(name), "{name}"),
            }
        }
    }

    #[test]
    fn a_reserved_name_is_refused() {
        assert!(SessionId::from_name("guard").unwrap_err().message.contains("forge-guard.slice"));
        assert!(SessionId::from_name("guard!").is_err());
        assert_eq!(id("guard-1"), "guard-1");
    }

    #[test]
    fn the_length_has_a_limit() {
        assert_eq!(id(&"a".repeat(48)).len(), 48);
        let error = SessionId::from_name(&"a".repeat(300)).unwrap_err();
        assert!(error.message.contains("300 characters"), "{error}");
        assert!(error.message.len() < 200);
    }

    #[test]
    fn an_id_is_parsed_without_changes() {
        assert!(SessionId::try_from("a b".to_owned()).is_err());
        assert!(SessionId::try_from("a-b".to_owned()).is_ok());
    }

    #[test]
    fn patterns_match_ids() {
        let bridges = Pattern::parse("bridge-*").unwrap();
        assert!(bridges.matches(&SessionId::from_name("bridge-1").unwrap()));
        assert!(!bridges.matches(&SessionId::from_name("abridge-1").unwrap()));
        let one = Pattern::parse("my agent").unwrap();
        assert!(one.is_name());
        assert!(one.matches(&SessionId::from_name("my-agent").unwrap()));
        assert!(!one.matches(&SessionId::from_name("my-agent2").unwrap()));
        assert!(Pattern::parse("[a").is_err());
    }
}
