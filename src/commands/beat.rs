//! `forge beat`

use serde_json::json;

use super::arguments;
use super::{Command, CommandContext, ConfigPolicy};
use crate::model::error::Result;
use crate::model::output::Output;
use crate::ops::session::beat;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge beat        in a session, for example from a hook of an agent
  forge beat agent")]
pub struct Args {
    /// Name of the session [default: the session of the caller]
    name: Option<String>,
}

impl Command for Args {
    fn config(&self) -> ConfigPolicy {
        ConfigPolicy::Tolerated
    }

    fn run(&self, call: &CommandContext<'_>) -> Result<Output> {
        let context = call.context()?;
        let id = self.name.as_deref().map(arguments::session).transpose()?;
        let id = beat::beat(context, id)?;
        Ok(Output::new(&json!({ "session": id, "beat": true })).line(format!("{id} is alive")))
    }
}
