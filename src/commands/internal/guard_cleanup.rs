//! `forge guard-gone`, hidden: what runs after a guard's keeper, and after the watch.

use crate::model::error::Result;
use crate::model::output::Shown;
use crate::ops::World;
use crate::ops::guard::cleanup::{self, Who};
use crate::ops::guard::watch;

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// After a guard's keeper
    Command {
        slice: String,
        guard: u32,
        guard_start: u64,
        command: u32,
        command_start: u64,
        #[arg(long)]
        leave_children: bool,
    },
    /// After the watch
    Watch,
}

/// Leaves nothing frozen, and nothing unguarded.
///
/// # Errors
/// When something stays.
pub fn run(world: &World, arguments: &Args) -> Result<Shown> {
    match &arguments.what {
        What::Watch => watch::thaw_all(world)?,
        What::Command { slice, guard, guard_start, command, command_start, leave_children } => {
            let guard = Who { pid: *guard, start: *guard_start };
            let command = Who { pid: *command, start: *command_start };
            cleanup::command(world, slice, guard, command, *leave_children)?;
        }
    }
    Ok(Shown::default())
}
