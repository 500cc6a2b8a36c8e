//! `forge stop`

use std::time::Duration;

use serde_json::json;

use super::arguments::Which;
use super::{Command, CommandContext, ConfigPolicy};
use crate::model::error::Result;
use crate::model::output::Output;
use crate::ops::session::{observe, stop};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge stop demo
  forge stop 'bridge-*' --timeout 20        20 seconds to end, then killed
  forge stop --all")]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// How long the processes may take to end when asked, in seconds, at most 80; then they are
    /// killed
    #[arg(long, value_name = "SECONDS", default_value_t = stop::TIMEOUT.as_secs(),
          value_parser = clap::value_parser!(u64).range(0..=80))]
    timeout: u64,
}

impl Command for Args {
    fn config(&self) -> ConfigPolicy {
        ConfigPolicy::Tolerated
    }

    fn run(&self, call: &CommandContext<'_>) -> Result<Output> {
        let context = call.context()?;
        let (found, kept) = observe::matching_or_kept(context, &self.which.patterns()?)?;
        let timeout = Duration::from_secs(self.timeout);
        let mut stopped = stop::stop(context, &found, timeout)?;
        stopped.extend(stop::forget(context, &kept, timeout)?);
        let mut shown = Output::new(&json!({ "stopped": stopped }));
        if stopped.is_empty() {
            shown = shown.line("there is no session to stop");
        }
        for one in &stopped {
            if one.processes == 0 {
                shown = shown.line(format!(
                    "stopped {}: it was not running, and is not restored any more",
                    one.session
                ));
                continue;
            }
            let processes = if one.processes == 1 { "process" } else { "processes" };
            let killed = match one.killed {
                0 => String::new(),
                count => format!(", {count} of them killed"),
            };
            shown = shown.line(format!(
                "stopped {}: {} {processes} ended{killed}, nothing is left ({} ms)",
                one.session, one.processes, one.elapsed_ms
            ));
        }
        Ok(shown)
    }
}
