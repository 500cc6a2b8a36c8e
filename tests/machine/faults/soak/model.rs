//! The sessions that must be running, derived from the actions.

/// Knowledge of a program's pid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Program {
    /// Nothing happened to the program: its pid is this.
    Is(u32),
    /// The program was killed or restarted: its pid is not this.
    IsNot(u32),
}

/// One run of a session.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// The number of its spawn; the program's children have it in their command lines.
    pub(crate) serial: u32,
    pub(crate) supervised: bool,
    /// How many children its program has.
    pub(crate) children: usize,
    pub(crate) program: Program,
    /// The pid of its server, if that is stopped.
    pub(crate) stopped: Option<u32>,
    pub(crate) frozen: bool,
    /// The supervisor is restarting it or giving up: no pid is known.
    pub(crate) in_flux: bool,
}

/// The expected state of a session.
#[derive(Clone, Debug)]
pub(crate) enum Expect {
    /// Nothing.
    Absent,
    /// Nothing in the end: its program exited, and forge is cleaning up.
    Ending,
    /// A run of it.
    Up(Run),
    /// Its server was killed; only a restore starts it again, because its specification is kept.
    Lost(Run),
    /// Its program exited or its service was stopped: it can be started again, but is not restored.
    Over(Run),
}

impl Expect {
    pub(crate) fn run_mut(&mut self) -> Option<&mut Run> {
        match self {
            Self::Up(run) | Self::Lost(run) | Self::Over(run) => Some(run),
            Self::Absent | Self::Ending => None,
        }
    }
}

/// A session of the model.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) name: String,
    pub(crate) now: Expect,
}
