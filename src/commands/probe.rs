//! `forge probe`

use crate::model::error::{Error, Kind, Result};
use crate::model::output::Shown;
use crate::ops::World;
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
pub fn run(world: &World, arguments: &Args, configuration: Option<&Error>) -> Result<Shown> {
    let probe = probe(world, configuration)?;
    let status = if probe.healthy { 0 } else { Kind::UNHEALTHY };
    if arguments.metrics {
        return Ok(Shown::new(&probe).raw(probe.metrics().trim_end()).exit(status));
    }
    let rows = probe.rows(local).into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    let mut shown = Shown::new(&probe).table(&["WHAT", "HOW"], rows);
    for problem in &probe.problems {
        shown = shown.line(format!("! {}", problem.what)).line(format!("  {}", problem.hint));
    }
    if probe.healthy {
        shown = shown.line("all is well");
    }
    Ok(shown.exit(status))
}
