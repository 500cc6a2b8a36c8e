//! `forge freeze`

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
  forge freeze agent        it keeps its memory, and uses no CPU
  forge thaw agent")]
pub struct Args {
    #[command(flatten)]
    which: Which,
}

/// Makes all processes of sessions stand still.
///
/// # Errors
/// When there is no such session, or the manager cannot.
pub fn run(context: &Context, arguments: &Args) -> Result<Output> {
    let found = observe::matching(context, &arguments.which.patterns()?)?;
    freeze::freeze(context, &found)?;
    let sessions: Vec<&SessionId> = found.iter().map(|found| &found.id).collect();
    Ok(sessions
        .iter()
        .fold(Output::new(&json!({ "frozen": sessions })), |shown, id| shown.line(format!("froze {id}"))))
}
