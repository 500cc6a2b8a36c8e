//! The pattern that shows that a program is up.

use regex_lite::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use super::error::{Error, Result};

/// A regular expression, looked for in what is on the screen of the pane.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ready(Regex);

impl Ready {
    /// Reads the expression. `^` and `$` match at each line of the screen.
    ///
    /// # Errors
    /// When it is no regular expression, or matches an empty screen (it would show nothing).
    pub fn parse(text: &str) -> Result<Self> {
        let regex = RegexBuilder::new(text).multi_line(true).build().map_err(|error| {
            Error::usage(format!("the ready pattern '{text}' is no regular expression: {error}"))
                .hint("a prompt such as $ or [x] is written \\$ or \\[x\\]")
        })?;
        if regex.is_match("") {
            return Err(Error::usage(format!(
                "the ready pattern '{text}' matches an empty screen, so it shows nothing"
            ))
            .hint("name some text that is only there when the program is up"));
        }
        Ok(Self(regex))
    }

    /// Whether the screen shows that the program is up.
    pub fn matches(&self, screen: &str) -> bool {
        // With the spaces at the ends of lines and without: `\$ $` and `\$$` are both meant to
        // match the prompt "$ ".
        let trimmed: Vec<&str> = screen.lines().map(str::trim_end).collect();
        self.0.is_match(screen) || self.0.is_match(&trimmed.join("\n"))
    }

    /// The expression as the user wrote it.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl PartialEq for Ready {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl TryFrom<String> for Ready {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl From<Ready> for String {
    fn from(ready: Ready) -> Self {
        ready.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_found_on_its_line() {
        let screen = "Welcome\n❯ \n";
        assert!(Ready::parse("❯").unwrap().matches(screen));
        assert!(Ready::parse("^❯ $").unwrap().matches(screen));
        assert!(Ready::parse("❯$").unwrap().matches(screen));
        assert!(!Ready::parse("^> ").unwrap().matches(screen));
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_a_remedy() {
        for bad in ["[", "(", "*"] {
            let error = Ready::parse(bad).unwrap_err();
            assert!(error.message.contains("no regular expression") && error.hint.is_some(), "{bad}");
        }
        assert!(Ready::parse("").unwrap_err().message.contains("empty screen"));
        assert!(Ready::parse("x*").unwrap_err().message.contains("empty screen"));
        assert!(Ready::parse("a)|(b").is_err());
    }
}
