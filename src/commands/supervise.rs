//! `forge supervise`

use std::path::Path;

use super::arguments;
use super::{Command, CommandContext, ConfigPolicy};
use crate::model::error::Result;
use crate::model::output::Output;
use crate::ops::supervise::supervise;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  systemctl --user start forge-spawn@web         start the supervisor and its session
  systemctl --user enable forge-spawn@web        start them at every boot
  systemctl --user edit forge-spawn@.service     change the first pause, the start limit, the watchdog

Exit status:
  0   the session ended with success
  1   the session failed; systemd restarts the supervisor, which starts the session again
  2   the configuration is not valid
  3   something that forge needs is missing; systemd restarts the supervisor
  4   a deadline passed; systemd restarts the supervisor
  5   the session must not be started again
  75  the session ended with success, and systemd restarts the supervisor nevertheless")]
pub struct Args {
    /// Name of the session
    name: String,
}

impl Command for Args {
    fn config(&self) -> ConfigPolicy {
        ConfigPolicy::Tolerated
    }

    fn run(&self, call: &CommandContext<'_>) -> Result<Output> {
        let context = call.context()?;
        let id = arguments::session(&self.name)?;
        // A session that is known without the configuration is supervised nevertheless.
        match call.config_error()? {
            Some(error) if context.store.spec(&id)?.is_none() => Err(error.clone()),
            _ => Ok(Output::default().exit(supervise(context, call.config_file.map(Path::to_owned), &id)?)),
        }
    }
}
