//! The request for a spawn: the session to start, and how to treat an existing one.

use crate::model::session::spec::Spec;
use crate::ops::session::observe::ObservedSession;
use crate::ops::session::resume::Resumption;

/// A session to start, and the mode of the spawn.
#[derive(Debug, Clone, Copy)]
pub struct SpawnRequest<'a> {
    pub spec: &'a Spec,
    /// The program and its arguments, and which conversation they resume.
    pub resumption: &'a Resumption,
    pub mode: SpawnMode<'a>,
}

/// Selects how a spawn treats an existing session of the name.
#[derive(Debug, Clone, Copy)]
pub enum SpawnMode<'a> {
    /// The name must be free.
    New,
    /// Stop an existing session of the name first.
    Replacing,
    /// Restart from the existing specification, after ending the observed session if there is one. If the
    /// session does not start, its specification stays, so that the user can try again.
    Again(Option<&'a ObservedSession>),
    /// Like `Again`, started by the session's supervisor, which has ended the last run.
    Supervised,
    /// Like `Again`, for a restore. Holds the specification that was on disk when the restore was planned: if
    /// the session was stopped or started since then, forge leaves it alone.
    Restored(Option<&'a Spec>),
}

impl SpawnRequest<'_> {
    /// Whether the specification stays if the session does not start.
    pub(super) fn keeps_spec(&self) -> bool {
        matches!(self.mode, SpawnMode::Again(_) | SpawnMode::Supervised | SpawnMode::Restored(_))
    }
}
