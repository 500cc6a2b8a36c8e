//! `forge guard-gone`, hidden: what runs after a guard's keeper, and after the watch.

use crate::model::error::Result;
use crate::model::output::Output;
use crate::ops::Context;
use crate::ops::guard::cleanup::{self, Who};
use crate::ops::guard::watch;

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: CleanupCommand,
}

#[derive(Debug, clap::Subcommand)]
enum CleanupCommand {
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
pub fn run(context: &Context, arguments: &Args) -> Result<Output> {
    match &arguments.what {
        CleanupCommand::Watch => watch::thaw_all(context)?,
        CleanupCommand::Command { slice, guard, guard_start, command, command_start, leave_children } => {
            let guard = Who { pid: *guard, start: *guard_start };
            let command = Who { pid: *command, start: *command_start };
            cleanup::command(context, slice, guard, command, *leave_children)?;
        }
    }
    Ok(Output::default())
}
