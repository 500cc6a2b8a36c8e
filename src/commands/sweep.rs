//! `forge sweep`

use std::path::PathBuf;

use crate::model::error::Result;
use crate::model::output::{Output, legible};
use crate::model::sweep::{SweepReport, stale_sockets};
use crate::ops::Context;
use crate::ops::sweep::{SweepPlan, record, sweep};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge sweep --dry-run
  forge sweep
  forge sweep --dir /srv/tmux")]
pub struct Args {
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Sweep this directory instead; may be given several times
    #[arg(long = "dir", value_name = "DIR")]
    dirs: Vec<PathBuf>,
}

/// Removes the sockets that no server listens on. Where the configuration cannot be read it is
/// not known which sockets are protected, so only forge's own are swept then.
///
/// # Errors
/// None: what cannot be swept is reported.
pub fn run(context: &Context, arguments: &Args, own_only: bool) -> Result<Output> {
    let plan = SweepPlan { own_only, ..SweepPlan::new(context, &arguments.dirs, arguments.dry_run) };
    let report = sweep(context, &plan);
    if !arguments.dry_run {
        record(context, &report);
    }
    Ok(show(&report, arguments.dry_run))
}

fn show(report: &SweepReport, dry_run: bool) -> Output {
    let mut shown = Output::new(report);
    let removed = if dry_run { "would remove" } else { "removed" };
    for path in &report.removed {
        shown = shown.line(format!("{removed} {}", legible(path)));
    }
    for path in &report.healed {
        shown = shown.line(format!("healed {}: its server made it again", legible(path)));
    }
    for path in &report.unresponsive {
        shown = shown.line(format!("left {}: its server does not answer, but lives", legible(path)));
    }
    for skipped in &report.skipped {
        shown = shown.line(format!("left {}: {}", legible(&skipped.path), skipped.reason));
    }
    let protected = match report.protected.len() {
        0 => String::new(),
        count => format!(", {count} protected"),
    };
    shown.line(format!(
        "{removed} {}; {} live{protected}, of {} looked at ({} ms)",
        stale_sockets(report.removed.len()),
        report.live.len(),
        report.scanned,
        report.elapsed_ms
    ))
}
