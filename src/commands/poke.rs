//! `forge poke`

use serde_json::json;

use super::arguments;
use super::{Command, CommandContext, ConfigPolicy};
use crate::model::error::Result;
use crate::model::output::Output;
use crate::ops::supervise::client;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge poke web        after you changed its configuration")]
pub struct Args {
    /// Name of the session
    name: String,
}

impl Command for Args {
    fn config(&self) -> ConfigPolicy {
        // The supervisor reads it too, but only the caller sees this error.
        ConfigPolicy::Needed
    }

    fn run(&self, call: &CommandContext<'_>) -> Result<Output> {
        let context = call.context()?;
        let id = arguments::session(&self.name)?;
        client::poke(context, &id)?;
        Ok(Output::new(&json!({ "session": id, "poked": true })).line(format!(
            "the supervisor of {id} checks it now; 'systemctl --user status forge-spawn@{id}' shows the result"
        )))
    }
}
