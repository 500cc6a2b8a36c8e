//! A request to run a guarded command: the command, the units to guard, and the rules for it.

use std::ffi::OsString;

use crate::model::guard::unit_state::Guarded;
use crate::model::session::limits::Limits;

#[derive(Debug)]
pub struct GuardRequest<'a> {
    /// The program and its arguments.
    pub command: &'a [OsString],
    /// The units that the command must not disturb.
    pub units: Vec<Guarded>,
    /// The command does not run while one of these units is active, in either manager.
    pub refuse_if_active: &'a [String],
    /// Whether the command may not listen on TCP ports.
    pub deny_listen: bool,
    /// The pressure from which on forge freezes the command, in percent.
    pub freeze_on_pressure: Option<u64>,
    /// The resource limits, for the command's slice.
    pub limits: Limits,
    /// Whether processes that the command leaves behind may continue.
    pub leave_children: bool,
    /// Whether the command's standard output goes to standard error. Standard output is then free for the
    /// report.
    pub stdout_to_stderr: bool,
}

impl GuardRequest<'_> {
    /// The program's name, for logs. forge does not log the arguments, since they may hold secrets.
    pub(super) fn program(&self) -> String {
        let path = self.command.first().map(|program| program.to_string_lossy()).unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default().escape_debug().to_string()
    }
}
