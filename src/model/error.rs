//! Errors, their kinds and their exit statuses.

use std::fmt::{self, Write as _};

pub type Result<T> = std::result::Result<T, Error>;

/// The kinds of failure. Bots branch on [`Kind::word`]; scripts on [`Kind::exit_status`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A failure that no other kind describes.
    Failed,
    /// The command line is not valid.
    Usage,
    /// A configuration file is not valid or cannot be read.
    Config,
    /// A program, a file or a directory that forge needs is missing.
    Missing,
    /// The user's bus or the user manager is not running, or the connection broke.
    Bus,
    Deadline,
    /// A session with this name exists.
    Taken,
    /// No session has this name.
    NoSession,
    /// tmux could not create its socket or connect to it.
    Socket,
    /// Another process listens on a port that the session needs.
    Port,
    /// The program ended before the session was ready.
    Ended,
    /// The tmux socket directory is not safe to use.
    Unsafe,
    /// The user's tmux configuration does not load.
    TmuxConfig,
    /// The program asks a question: a text is not meant as an answer, or a start waits for the answer.
    Asking,
    /// The session's ready pattern does not match.
    NotReady,
    /// The typed text does not appear in the program's input line.
    NotShown,
    /// The input line is not empty.
    Input,
    /// A user is attached, and types or reads.
    Attached,
}

impl Kind {
    /// The exit status of a command that worked and found problems.
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

    /// The exit status of forge: 1 failed, 2 the usage or the configuration is not valid, 3 something that
    /// forge needs is missing, 4 a deadline passed.
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

/// An error: what forge tried, on what, why it failed, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    pub kind: Kind,
    /// The first line is one sentence that is complete by itself. Lines of a screen may be below it.
    pub message: String,
    /// The next step for the user.
    pub hint: Option<String>,
    /// The exit status of the session's program as a shell gives it, if the program's end is the error.
    pub program_status: Option<u8>,
}

impl Error {
    pub fn new(kind: Kind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string(), hint: None, program_status: None }
    }

    /// [`Kind::Failed`]
    pub fn failed(message: impl fmt::Display) -> Self {
        Self::new(Kind::Failed, message)
    }

    /// [`Kind::Usage`]
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Kind::Usage, message)
    }

    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// The message without the lines of a screen. Only this line goes to the journal, to systemd and into
    /// notices: a screen may be private.
    pub fn first_line(&self) -> &str {
        self.message.lines().next().unwrap_or_default()
    }

    /// Prefixes the message with the attempted action: `doing: message`.
    #[must_use]
    pub fn while_(mut self, doing: impl fmt::Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }
}

/// One error for several operations: the first error with the messages of the others below it, and the
/// names for which the operation worked (`done`).
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
    fn one_error_reports_all_operations() {
        let failed = ["a: no", "b: never"].map(Error::failed);
        let error = first_of(failed, "stopped", &["c".to_owned(), "d".to_owned()]).unwrap();
        assert_eq!(error.message, "a: no\nb: never\nstopped all the same: c, d");
        assert_eq!(first_of([], "stopped", &["c".to_owned()]), None);
    }

    #[test]
    fn kinds_have_the_documented_exit_statuses() {
        assert_eq!(Kind::Failed.exit_status(), 1);
        assert_eq!(Kind::Usage.exit_status(), 2);
        assert_eq!(Kind::Config.exit_status(), 2);
        assert_eq!(Kind::Missing.exit_status(), 3);
        assert_eq!(Kind::Deadline.exit_status(), 4);
    }
}
