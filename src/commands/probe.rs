//! `forge probe`

use super::{Command, CommandContext, ConfigPolicy};
use crate::model::error::{Kind, Result};
use crate::model::output::Output;
use crate::ops::health::probe::probe;
use crate::sys::clock::local;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge probe
  forge probe --metrics        for Prometheus

The exit status is 5 if probe finds a problem.")]
pub struct Args {
    /// Print metrics in the text format of Prometheus
    #[arg(long)]
    metrics: bool,
}

impl Command for Args {
    fn config(&self) -> ConfigPolicy {
        ConfigPolicy::Reported
    }

    fn run(&self, call: &CommandContext<'_>) -> Result<Output> {
        let context = call.context()?;
        let probe = probe(context, call.config_error()?)?;
        let status = if probe.healthy { 0 } else { Kind::UNHEALTHY };
        if self.metrics {
            return Ok(Output::new(&probe).raw(probe.metrics().trim_end()).exit(status));
        }
        let rows = probe.rows(local).into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
        let mut output = Output::new(&probe).table(&["WHAT", "HOW"], rows);
        for problem in &probe.problems {
            output = output.line(format!("! {}", problem.what)).line(format!("  {}", problem.hint));
        }
        if probe.healthy {
            output = output.line("all is well");
        }
        Ok(output.exit(status))
    }
}
