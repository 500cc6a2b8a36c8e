//! `forge probe`

use crate::model::error::{Error, Kind, Result};
use crate::model::output::Output;
use crate::ops::Context;
use crate::ops::health::probe::probe;
use crate::sys::clock::local;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge probe
  forge probe --metrics        for Prometheus")]
pub struct Args {
    /// Print the rows for Prometheus
    #[arg(long)]
    metrics: bool,
}

/// Shows how everything is; the exit status is 5 when something is wrong.
///
/// # Errors
/// When the manager does not answer.
pub fn run(context: &Context, arguments: &Args, configuration: Option<&Error>) -> Result<Output> {
    let probe = probe(context, configuration)?;
    let status = if probe.healthy { 0 } else { Kind::UNHEALTHY };
    if arguments.metrics {
        return Ok(Output::new(&probe).raw(probe.metrics().trim_end()).exit(status));
    }
    let rows = probe.rows(local).into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    let mut shown = Output::new(&probe).table(&["WHAT", "HOW"], rows);
    for problem in &probe.problems {
        shown = shown.line(format!("! {}", problem.what)).line(format!("  {}", problem.hint));
    }
    if probe.healthy {
        shown = shown.line("all is well");
    }
    Ok(shown.exit(status))
}
