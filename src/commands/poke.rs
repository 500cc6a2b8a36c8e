//! `forge poke`

use serde_json::json;

use super::arguments;
use crate::model::error::Result;
use crate::model::output::Output;
use crate::ops::Context;
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
pub fn run(context: &Context, arguments: &Args) -> Result<Output> {
    let id = arguments::session(&arguments.name)?;
    client::poke(context, &id)?;
    Ok(Output::new(&json!({ "session": id, "poked": true })).line(format!(
        "the supervisor of {id} looks at it now; 'systemctl --user status forge-spawn@{id}' tells more"
    )))
}
