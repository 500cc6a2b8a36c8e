//! `forge gate-server`, hidden: becomes a session's tmux when the manager has it in its scope.

use crate::hands::gate;
use crate::words::error::Result;
use crate::words::shown::Shown;

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(last = true)]
    command: Vec<String>,
}

/// Waits, then becomes the command.
///
/// # Errors
/// When the spawn was given up.
pub fn run(arguments: &Args) -> Result<Shown> {
    match gate::wait_then_exec_server(&arguments.command)? {}
}
