//! `forge logs`

use super::arguments;
use super::{Command, CommandContext, ConfigPolicy};
use crate::model::error::Result;
use crate::model::output::Output;
use crate::sys::journal;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge logs web
  forge logs web --follow
  forge --json logs web -n 1        one record, as from journalctl -o json")]
pub struct Args {
    /// Name of the session [default: all sessions]
    name: Option<String>,
    /// Show new records as they arrive
    #[arg(short, long)]
    follow: bool,
    /// Show this many of the newest records
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    lines: u32,
}

impl Command for Args {
    fn config(&self) -> ConfigPolicy {
        ConfigPolicy::Tolerated
    }

    fn run(&self, call: &CommandContext<'_>) -> Result<Output> {
        let context = call.context()?;
        let id = self.name.as_deref().map(arguments::session).transpose()?;
        // This process becomes journalctl.
        match journal::show(context.paths.uid, id.as_ref(), self.lines, self.follow, call.json)? {}
    }
}
