//! What a spawn is to start, and what there may be of it already.

use crate::model::session::command::Argv;
use crate::model::session::spec::Spec;
use crate::ops::session::observe::ObservedSession;

/// What to start, and how.
#[derive(Debug, Clone, Copy)]
pub struct SpawnOrder<'a> {
    /// The session.
    pub spec: &'a Spec,
    /// The program and its arguments: those of the specification, or what resumes the program.
    pub argv: &'a Argv,
    /// What is there of it already.
    pub mode: SpawnMode<'a>,
}

/// What there may be of a session that is to be started.
#[derive(Debug, Clone, Copy)]
pub enum SpawnMode<'a> {
    /// Nothing.
    New,
    /// A session of that name: it is stopped first.
    Replacing,
    /// Its specification, and perhaps what that says is there of it, which is ended first. When it
    /// does not start, the specification stays, so that it can be tried again.
    Again(Option<&'a ObservedSession>),
    /// The same, started by its supervisor.
    Supervised,
    /// The same for a restore, which plans first: with what was on disk then. A session that was
    /// stopped since, or started otherwise, is left alone.
    Restored(Option<&'a Spec>),
}

impl<'a> SpawnOrder<'a> {
    /// To start a session by its own command.
    pub fn new(spec: &'a Spec, mode: SpawnMode<'a>) -> Self {
        Self { spec, argv: &spec.command, mode }
    }

    /// Whether the specification stays when the session does not start.
    pub(super) fn keeps_spec(&self) -> bool {
        matches!(self.mode, SpawnMode::Again(_) | SpawnMode::Supervised | SpawnMode::Restored(_))
    }
}
