//! `forge supervise`

use std::path::Path;

use super::arguments;
use super::{Command, CommandContext, ConfigPolicy};
use crate::model::error::Result;
use crate::model::output::Output;
use crate::ops::supervise::supervise;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  systemctl --user start forge-spawn@web
  systemctl --user enable forge-spawn@web        at every boot
  systemctl --user edit forge-spawn@.service     pauses, limits, the watchdog

Exit status:
  0   its session ended as it should
  1   its session failed, and is to be started again
  2   the configuration cannot be used
  5   its session is not to be started again
  75  its session ended as it should, and is to be started again all the same")]
pub struct Args {
    /// The session
    name: String,
}

impl Command for Args {
    fn config(&self) -> ConfigPolicy {
        ConfigPolicy::Tolerated
    }

    fn run(&self, call: &CommandContext<'_>) -> Result<Output> {
        let context = call.context()?;
        let id = arguments::session(&self.name)?;
        match call.config_error()? {
            Some(error) if context.store.spec(&id)?.is_none() => Err(error.clone()),
            _ => Ok(Output::default().exit(supervise(context, call.config_file.map(Path::to_owned), &id)?)),
        }
    }
}
