//! `forge gate-pane`, hidden: becomes a session's program when tmux has settled.

use crate::hands::gate;
use crate::words::error::Result;
use crate::words::shown::Shown;

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    gate: String,
}

/// Waits, then becomes the program.
///
/// # Errors
/// When nobody waits for this pane.
pub fn run(arguments: &Args) -> Result<Shown> {
    gate::wait_then_exec_pane(&arguments.gate).map(|status| Shown::default().exit(status))
}
