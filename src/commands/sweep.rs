//! `forge sweep`

use std::path::PathBuf;

use super::{Command, CommandContext, ConfigPolicy};
use crate::config::{self, Config};
use crate::model::error::{Error, Kind, Result};
use crate::model::output::{Output, legible};
use crate::model::sweep::{SweepReport, stale_sockets};
use crate::ops::Context;
use crate::ops::sweep::{SweepPlan, record, sweep};
use crate::sys::env::Paths;

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

impl Command for Args {
    fn config(&self) -> ConfigPolicy {
        ConfigPolicy::Ignored
    }

    fn run(&self, call: &CommandContext<'_>) -> Result<Output> {
        let paths = Paths::from_environment()?;
        let loaded = config::load(&paths.config, call.config_file);
        let (config, own_only) = match loaded {
            Ok(config) => (config, false),
            Err(error) => {
                call.warn(&error);
                salvaged(call, &paths)
            }
        };
        let context = &Context::new(paths, config);
        let plan = SweepPlan { own_only, ..SweepPlan::new(context, &self.dirs, self.dry_run) };
        let report = sweep(context, &plan);
        if !self.dry_run {
            record(context, &report);
        }
        Ok(show(&report, self.dry_run))
    }
}

/// The configuration for a sweep when the files are not valid: `[sweep]` where forge can read that, otherwise
/// the defaults, and `true` for a sweep of forge's own sockets alone.
fn salvaged(call: &CommandContext<'_>, paths: &Paths) -> (Config, bool) {
    if let Some(sweep) = config::salvage_sweep(&paths.config, call.config_file) {
        return (Config { sweep, ..Config::default() }, false);
    }
    let why = "it is not known which sockets are protected, so only forge's own are swept";
    call.warn(&Error::new(Kind::Config, why));
    (Config::default(), true)
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
