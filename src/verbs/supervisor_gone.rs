//! `forge supervisor-gone`, hidden: what `forge-spawn@.service` calls after each of its ends.

use super::asked;
use crate::acts::{World, supervise};
use crate::words::error::Result;
use crate::words::shown::Shown;

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    name: String,
}

/// Ends the session where its service is being stopped.
///
/// # Errors
/// When something of it is left.
pub fn run(world: &World, arguments: &Args) -> Result<Shown> {
    supervise::gone(world, &asked::session(&arguments.name)?)?;
    Ok(Shown::default())
}
