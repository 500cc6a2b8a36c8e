//! `forge thaw`

use serde_json::json;

use super::arguments::Which;
use crate::model::error::Result;
use crate::model::output::Output;
use crate::model::session::name::SessionId;
use crate::ops::Context;
use crate::ops::session::{freeze, observe};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge thaw agent
  forge thaw --all")]
pub struct Args {
    #[command(flatten)]
    which: Which,
}

/// Lets frozen sessions run again.
///
/// # Errors
/// When there is no such session, or the manager cannot.
pub fn run(context: &Context, arguments: &Args) -> Result<Output> {
    let found = observe::matching(context, &arguments.which.patterns()?)?;
    freeze::thaw(context, &found)?;
    let sessions: Vec<&SessionId> = found.iter().map(|found| &found.id).collect();
    Ok(sessions
        .iter()
        .fold(Output::new(&json!({ "thawed": sessions })), |shown, id| shown.line(format!("thawed {id}"))))
}
