//! `forge gate-guarded`, hidden: the process that becomes a guarded command.

use std::ffi::OsString;

use crate::hands::gate;
use crate::words::error::Result;
use crate::words::shown::Shown;

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    gate: String,
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Waits, then becomes the command.
///
/// # Errors
/// When nobody holds the gate.
pub fn run(arguments: &Args) -> Result<Shown> {
    let status = gate::wait_then_exec_guarded(&arguments.gate, &arguments.command)?;
    Ok(Shown::default().exit(status))
}
