//! `forge supervisor-gone`, hidden: what `forge-spawn@.service` calls after each of its ends, and what is
//! called when it is stopped in the pause between two of its runs.

use crate::acts::World;
use crate::acts::supervise::gone;
use crate::commands::arguments;
use crate::model::error::Result;
use crate::model::output::Shown;

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    name: String,
    #[arg(long)]
    pause: bool,
}

/// Ends the session where its service is being stopped.
///
/// # Errors
/// When something of it is left.
pub fn run(world: &World, arguments: &Args) -> Result<Shown> {
    let id = arguments::session(&arguments.name)?;
    if arguments.pause {
        gone::in_pause(world, &id)?;
    } else {
        gone::ended(world, &id)?;
    }
    Ok(Shown::default())
}
