//! `forge supervisor-gone`, hidden: what `forge-spawn@.service` calls after each of its ends, and what is
//! called when it is stopped in the pause between two of its runs.

use crate::commands::arguments;
use crate::model::error::Result;
use crate::model::output::Output;
use crate::ops::Context;
use crate::ops::supervise::exited;

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
pub fn run(context: &Context, arguments: &Args) -> Result<Output> {
    let id = arguments::session(&arguments.name)?;
    if arguments.pause {
        exited::in_pause(context, &id)?;
    } else {
        exited::ended(context, &id)?;
    }
    Ok(Output::default())
}
