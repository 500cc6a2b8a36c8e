//! `forge guard-gone`, hidden: what runs after a guard's keeper, and after the watch.

use crate::acts::World;
use crate::acts::guard::{gone, watch};
use crate::words::error::Result;
use crate::words::shown::Shown;

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The id of the guarded command, or `watch`
    id: String,
    pid: Option<u32>,
    start: Option<u64>,
    #[arg(long)]
    leave_children: bool,
}

/// Leaves nothing frozen, and nothing unguarded.
///
/// # Errors
/// When something stays.
pub fn run(world: &World, arguments: &Args) -> Result<Shown> {
    match (arguments.pid, arguments.start) {
        (Some(pid), Some(start)) => {
            gone::command(world, &arguments.id, (pid, start), arguments.leave_children)?;
        }
        _ => watch::thaw_all(world)?,
    }
    Ok(Shown::default())
}
