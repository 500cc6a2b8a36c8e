//! `forge guard-keeper`, hidden: waits until a guard is gone.

use crate::acts::guard::gone;
use crate::words::error::Result;
use crate::words::shown::Shown;

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    pid: u32,
    start: u64,
}

/// Waits.
///
/// # Errors
/// When the guard cannot be watched.
pub fn run(arguments: &Args) -> Result<Shown> {
    gone::wait_for_guard(arguments.pid, arguments.start)?;
    Ok(Shown::default())
}
