//! The command of a session: an argument vector. forge never passes it to a shell.

use serde::{Deserialize, Serialize};

use crate::model::error::{Error, Result};

/// An argument vector with at least the program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ListOrLine", into = "Vec<String>")]
pub struct Argv(Vec<String>);

impl Argv {
    /// # Errors
    /// `Kind::Usage` if there is no program, or if an argument contains a NUL byte, which execve(2) cannot
    /// pass.
    pub fn new(argv: Vec<String>) -> Result<Self> {
        if argv.first().is_none_or(String::is_empty) {
            return Err(Error::usage("the command is empty").hint("name the program after --"));
        }
        if argv.iter().any(|argument| argument.contains('\0')) {
            return Err(Error::usage("an argument of the command contains a NUL byte"));
        }
        Ok(Self(argv))
    }

    pub fn login_shell(shell: &str) -> Self {
        Self(vec![shell.to_owned(), "-l".to_owned()])
    }

    pub fn program(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// The program's name without its directory. forge logs only this, because arguments may hold secrets.
    pub fn name(&self) -> &str {
        self.program().rsplit('/').next().unwrap_or_default()
    }

    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

impl From<Argv> for Vec<String> {
    fn from(argv: Argv) -> Self {
        argv.0
    }
}

/// In a configuration file the vector may also be one line with quotes; forge splits it, and no shell runs
/// it.
#[derive(Deserialize)]
#[serde(untagged)]
enum ListOrLine {
    List(Vec<String>),
    Line(String),
}

impl TryFrom<ListOrLine> for Argv {
    type Error = Error;

    fn try_from(value: ListOrLine) -> Result<Self> {
        Self::new(match value {
            ListOrLine::List(list) => list,
            ListOrLine::Line(line) => shlex::split(&line)
                .ok_or_else(|| Error::usage(format!("the command '{line}' has an unclosed quote")))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_without_a_shell() {
        let argv: Argv = serde_json::from_str(r#""claude --resume 'my session' $HOME""#).unwrap();
        assert_eq!(argv.as_slice(), ["claude", "--resume", "my session", "$HOME"]);
    }

    #[test]
    fn an_empty_command_is_an_error() {
        assert!(Argv::new(vec![]).is_err());
        assert!(Argv::new(vec![String::new()]).is_err());
        assert!(Argv::new(vec!["a\0b".into()]).is_err());
    }

    #[test]
    fn the_logged_name_has_no_directory() {
        assert_eq!(Argv::new(vec!["/usr/bin/env".into(), "TOKEN=x".into()]).unwrap().name(), "env");
    }
}
