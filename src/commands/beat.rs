//! `forge beat`

use serde_json::json;

use super::arguments;
use crate::model::error::Result;
use crate::model::output::Output;
use crate::ops::Context;
use crate::ops::session::beat;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge beat        in a session, or in a hook of an agent in one
  forge beat agent")]
pub struct Args {
    /// The session [default: the one that this is called in]
    name: Option<String>,
}

/// Notes a sign of life of a session, for its supervisor.
///
/// # Errors
/// When there is no such session.
pub fn run(context: &Context, arguments: &Args) -> Result<Output> {
    let id = arguments.name.as_deref().map(arguments::session).transpose()?;
    let id = beat::beat(context, id)?;
    Ok(Output::new(&json!({ "session": id, "beat": true })).line(format!("{id} is alive")))
}
