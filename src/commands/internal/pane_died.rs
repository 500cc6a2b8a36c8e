//! `forge pane-died`, hidden: called by a session's tmux server when its program ended.

use crate::acts::{World, end};
use crate::commands::arguments;
use crate::model::error::Result;
use crate::model::output::Shown;

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
    end::program_ended(world, &arguments::session(&arguments.name)?)?;
    Ok(Shown::default())
}
