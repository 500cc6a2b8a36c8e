//! `forge beat`

use serde_json::json;

use super::arguments;
use crate::model::error::Result;
use crate::model::output::Shown;
use crate::ops::World;
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
pub fn run(world: &World, arguments: &Args) -> Result<Shown> {
    let id = arguments.name.as_deref().map(arguments::session).transpose()?;
    let id = beat::beat(world, id)?;
    Ok(Shown::new(&json!({ "session": id, "beat": true })).line(format!("{id} is alive")))
}
