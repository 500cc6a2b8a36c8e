//! `forge pane-died`, hidden: called by a session's tmux server when its program ended.

use crate::commands::arguments;
use crate::model::error::Result;
use crate::model::output::Output;
use crate::ops::Context;
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
pub fn run(context: &Context, arguments: &Args) -> Result<Output> {
    exited::end_after_program(context, &arguments::session(&arguments.name)?)?;
    Ok(Output::default())
}
