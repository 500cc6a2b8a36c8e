//! `forge pane-died`, hidden: called by a session's tmux server when its program ended.

use crate::commands::arguments;
use crate::model::error::Result;
use crate::model::output::Shown;
use crate::ops::World;
use crate::ops::session::exited;

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    name: String,
}

/// Ends the session.
///
/// # Errors
/// When something of it is left.
pub fn run(world: &World, arguments: &Args) -> Result<Shown> {
    exited::program_ended(world, &arguments::session(&arguments.name)?)?;
    Ok(Shown::default())
}
