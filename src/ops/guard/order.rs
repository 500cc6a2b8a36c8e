//! A request to run a guarded command: the command, the units to guard, and the rules for it.

use std::ffi::OsString;

use crate::model::guard::unit_state::Guarded;
use crate::model::session::limits::Limits;

/// What to run, and how.
#[derive(Debug)]
pub struct GuardOrder<'a> {
    /// The command.
    pub command: &'a [OsString],
    /// The units that it may not disturb.
    pub units: Vec<Guarded>,
    /// It is not run while one of these units is active, in whichever manager.
    pub refuse_if_active: &'a [String],
    /// It may not listen on TCP ports.
    pub deny_listen: bool,
    /// It is frozen from so much pressure on, in percent.
    pub freeze_on_pressure: Option<u64>,
    /// What it may use.
    pub limits: Limits,
    /// What it leaves running goes on.
    pub leave_children: bool,
    /// Its output goes to standard error: standard output is for the report.
    pub aside: bool,
}

impl GuardOrder<'_> {
    /// Its program's name: what may be logged, since arguments may hold secrets.
    pub(super) fn program(&self) -> String {
        let path = self.command.first().map(|program| program.to_string_lossy()).unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default().escape_debug().to_string()
    }
}
