//! systemd-analyze(1).

use std::path::PathBuf;
use std::process::Command;

use crate::model::error::Result;
use crate::sys::clock::Deadline;
use crate::sys::command::{CommandOutput, run};

/// Runs `systemd-analyze verify` on unit files of the user's manager.
///
/// # Errors
/// `Failed` if the program cannot be started; `Deadline` if it does not end in time.
pub fn analyze(files: &[&PathBuf], deadline: Deadline) -> Result<CommandOutput> {
    let mut command = Command::new("systemd-analyze");
    // Manual pages may not be installed, and have nothing to do with the order of units.
    command.args(["--user", "--man=no", "verify"]).args(files);
    run(&mut command, deadline)
}
