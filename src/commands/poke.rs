//! `forge poke`

use serde_json::json;

use super::arguments;
use crate::model::error::Result;
use crate::model::output::Shown;
use crate::ops::World;
use crate::ops::supervise::client;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge poke web        after a change of its configuration")]
pub struct Args {
    /// The session
    name: String,
}

/// Has a session's supervisor read its configuration again and look at once. It is read here first:
/// a mistake in it is told to who asks.
///
/// # Errors
/// When the session has no supervisor.
pub fn run(world: &World, arguments: &Args) -> Result<Shown> {
    let id = arguments::session(&arguments.name)?;
    client::poke(world, &id)?;
    Ok(Shown::new(&json!({ "session": id, "poked": true })).line(format!(
        "the supervisor of {id} looks at it now; 'systemctl --user status forge-spawn@{id}' tells more"
    )))
}
