//! The command of a session: an argument vector, never a line for a shell.

use serde::{Deserialize, Serialize};

use crate::model::error::{Error, Result};

/// An argument vector with at least a program in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ListOrLine", into = "Vec<String>")]
pub struct Argv(Vec<String>);

impl Argv {
    /// Checks the vector.
    ///
    /// # Errors
    /// When there is no program, or an argument has a NUL byte, which execve(2) cannot take.
    pub fn new(argv: Vec<String>) -> Result<Self> {
        if argv.first().is_none_or(String::is_empty) {
            return Err(Error::usage("the command is empty").hint("name the program after --"));
        }
        if argv.iter().any(|argument| argument.contains('\0')) {
            return Err(Error::usage("the command has a NUL byte in an argument"));
        }
        Ok(Self(argv))
    }

    /// A login shell.
    pub fn login_shell(shell: &str) -> Self {
        Self(vec![shell.to_owned(), "-l".to_owned()])
    }

    /// The program, as given.
    pub fn program(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// The program's name without its directory: what may be logged, since arguments may hold
    /// secrets.
    pub fn name(&self) -> &str {
        self.program().rsplit('/').next().unwrap_or_default()
    }

    /// The whole vector.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

impl From<Argv> for Vec<String> {
    fn from(argv: Argv) -> Self {
        argv.0
    }
}

/// A configuration file may also write the vector as one line with quotes; it is split, not run
/// by a shell.
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
                .ok_or_else(|| Error::usage(format!("the command '{line}' has a quote that does not end")))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_and_not_run_by_a_shell() {
        let argv: Argv = serde_json::from_str(r#""claude --resume 'my session' $HOME""#).unwrap();
        assert_eq!(argv.as_slice(), ["claude", "--resume", "my session", "$HOME"]);
    }

    #[test]
    fn no_program_is_an_error() {
        assert!(Argv::new(vec![]).is_err());
        assert!(Argv::new(vec![String::new()]).is_err());
        assert!(Argv::new(vec!["a\0b".into()]).is_err());
    }

    #[test]
    fn only_the_name_is_for_the_log() {
        assert_eq!(Argv::new(vec!["/usr/bin/env".into(), "TOKEN=x".into()]).unwrap().name(), "env");
    }
}
