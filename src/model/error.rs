//! Every error a person or a bot can meet, and the exit status it ends in.

use std::fmt::{self, Write as _};

/// What forge's functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// The kinds of failure. Bots branch on [`Kind::word`]; scripts on [`Kind::exit_status`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something did not work: the general case.
    Failed,
    /// The command line asks for what cannot be.
    Usage,
    /// A configuration file cannot be used.
    Config,
    /// Something on this machine that forge needs is missing.
    Missing,
    /// The user's bus, or the manager behind it, is not there or went away.
    Bus,
    /// A deadline passed.
    Deadline,
    /// The session's name is taken.
    Taken,
    /// There is no such session.
    NoSession,
    /// tmux could not make or reach its socket.
    Socket,
    /// Somebody else listens on a port that the session needs.
    Port,
    /// The program ended before the session was up.
    Ended,
    /// The tmux socket directory is not safe to use.
    Unsafe,
    /// The user's tmux configuration does not load.
    TmuxConfig,
    /// The program asks a question, and what was to be typed is no answer to it.
    Asking,
    /// The session's ready pattern does not match.
    NotReady,
    /// What was typed is not seen where the program reads.
    NotShown,
    /// Something stands in the input line already.
    Input,
    /// Somebody is attached, and types or reads.
    Attached,
}

impl Kind {
    /// The exit status of a verb that did its work and found something wrong.
    pub const UNHEALTHY: u8 = 5;

    /// The word in `error.kind` of the JSON form.
    pub fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Config => "config",
            Self::Missing | Self::Bus => "missing",
            Self::Deadline => "deadline",
            Self::Taken => "taken",
            Self::NoSession => "no_session",
            Self::Socket => "socket",
            Self::Port => "port",
            Self::Ended => "ended",
            Self::Unsafe => "unsafe",
            Self::TmuxConfig => "tmux_config",
            Self::Asking => "asking",
            Self::NotReady => "not_ready",
            Self::NotShown => "not_shown",
            Self::Input => "input",
            Self::Attached => "attached",
        }
    }

    /// The kind with that word.
    pub fn from_word(word: &str) -> Option<Self> {
        const ALL: [Kind; 17] = [
            Kind::Failed,
            Kind::Usage,
            Kind::Config,
            Kind::Missing,
            Kind::Deadline,
            Kind::Taken,
            Kind::NoSession,
            Kind::Socket,
            Kind::Port,
            Kind::Ended,
            Kind::Unsafe,
            Kind::TmuxConfig,
            Kind::Asking,
            Kind::NotReady,
            Kind::NotShown,
            Kind::Input,
            Kind::Attached,
        ];
        ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// The exit status of the process: 1 failed, 2 wrong usage or configuration, 3 something
    /// needed is missing, 4 a deadline passed.
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Failed
            | Self::Taken
            | Self::NoSession
            | Self::Socket
            | Self::Port
            | Self::Ended
            | Self::Unsafe
            | Self::TmuxConfig
            | Self::Asking
            | Self::NotReady
            | Self::NotShown
            | Self::Input
            | Self::Attached => 1,
            Self::Usage | Self::Config => 2,
            Self::Missing | Self::Bus => 3,
            Self::Deadline => 4,
        }
    }
}

/// What was tried, on what, why it failed, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The kind of failure.
    pub kind: Kind,
    /// One sentence, and below it what was on the screen where that helps.
    pub message: String,
    /// What to do next, where there is something to do.
    pub hint: Option<String>,
    /// How the session's program ended, as a shell tells it, where that is what went wrong.
    pub program_status: Option<u8>,
}

impl Error {
    /// An error without a hint.
    pub fn new(kind: Kind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string(), hint: None, program_status: None }
    }

    /// The general case.
    pub fn failed(message: impl fmt::Display) -> Self {
        Self::new(Kind::Failed, message)
    }

    /// Wrong usage.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// The same error with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// The same error, its message preceded by what was being tried.
    #[must_use]
    pub fn while_(mut self, doing: impl fmt::Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }
}

/// One error of several acts: the first, with what became of the others below.
pub fn first_of(failed: impl IntoIterator<Item = Error>, done: &str, names: &[String]) -> Option<Error> {
    let mut failed = failed.into_iter();
    let mut first = failed.next()?;
    for other in failed {
        let _ = write!(first.message, "\n{}", other.message);
    }
    if !names.is_empty() {
        let _ = write!(first.message, "\n{done} all the same: {}", names.join(", "));
    }
    Some(first)
}

/// An error type that is not forge's own. [`Trying`] accepts these only: it would drop the kind and the hint
/// of an [`Error`], for which [`Error::while_`] exists.
pub trait ForeignError: fmt::Display {}

impl ForeignError for std::io::Error {}
impl ForeignError for std::ffi::NulError {}
impl ForeignError for std::string::FromUtf8Error {}
impl ForeignError for std::sync::mpsc::RecvError {}
impl ForeignError for serde_json::Error {}
impl ForeignError for toml::de::Error {}

/// Turns another library's error into one of forge's that says what forge tried, and on what.
pub trait Trying<T> {
    /// `trying("cannot open /x")` gives `cannot open /x: Permission denied (os error 13)`.
    ///
    /// # Errors
    /// `Failed`, if this is an error.
    fn trying(self, doing: impl fmt::Display) -> Result<T>;
}

impl<T, E: ForeignError> Trying<T> for std::result::Result<T, E> {
    fn trying(self, doing: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Error::failed(format!("{doing}: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_acts_all_is_told() {
        let failed = ["a: no", "b: never"].map(Error::failed);
        let error = first_of(failed, "stopped", &["c".to_owned(), "d".to_owned()]).unwrap();
        assert_eq!(error.message, "a: no\nb: never\nstopped all the same: c, d");
        assert_eq!(first_of([], "stopped", &["c".to_owned()]), None);
    }

    #[test]
    fn exit_statuses_are_the_contract() {
        assert_eq!(Kind::Failed.exit_status(), 1);
        assert_eq!(Kind::Usage.exit_status(), 2);
        assert_eq!(Kind::Config.exit_status(), 2);
        assert_eq!(Kind::Missing.exit_status(), 3);
        assert_eq!(Kind::Deadline.exit_status(), 4);
    }
}
