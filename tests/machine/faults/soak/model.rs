//! What must be running, as far as what was done tells.

/// What is known of a program's pid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Program {
    /// Nothing happened to it: it is this one.
    Is(u32),
    /// It was killed or started anew: it is any but this one.
    IsNot(u32),
}

/// One run of a session.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// Which of all spawns it is of; its program's children have it in their command lines.
    pub(crate) serial: u32,
    pub(crate) supervised: bool,
    /// How many children its program has.
    pub(crate) children: usize,
    pub(crate) program: Program,
    /// Its server, where that is stopped.
    pub(crate) stopped: Option<u32>,
    pub(crate) frozen: bool,
    /// Its supervisor is starting it again, or giving it up: nothing is known of pids.
    pub(crate) in_flux: bool,
}

/// What must be there of a session.
#[derive(Clone, Debug)]
pub(crate) enum Expect {
    /// Nothing.
    Absent,
    /// Nothing in the end: its program ended, and it is being cleared.
    Ending,
    /// A run of it.
    Up(Run),
    /// Its server was killed and nobody starts it again, but a restore: how it is started is known.
    Lost(Run),
    /// Its program came to its end, or its service was stopped: it can be started again, and is not
    /// restored.
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
