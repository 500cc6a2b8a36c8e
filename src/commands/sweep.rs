//! `forge sweep`

use std::path::PathBuf;

use super::{Command, CommandContext, ConfigPolicy};
use crate::config::{self, Config};
use crate::model::error::{Error, Kind, Result};
use crate::model::output::{Output, legible};
use crate::model::sweep::{SweepReport, dead_sockets};
use crate::ops::Context;
use crate::ops::sweep::{SweepPlan, record, sweep};
use crate::sys::env::Paths;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge sweep
  forge sweep --dry-run        print what a sweep would remove
  forge sweep --dir /srv/tmux")]
pub struct Args {
    /// Only print what a sweep would remove
    #[arg(long)]
    dry_run: bool,
    /// Sweep this directory instead of the configured ones (repeatable)
    #[arg(long = "dir", value_name = "DIR")]
    dirs: Vec<PathBuf>,
}

impl Command for Args {
    fn config(&self) -> ConfigPolicy {
        ConfigPolicy::Ignored
    }

    fn run(&self, call: &CommandContext<'_>) -> Result<Output> {
        let paths = Paths::from_environment()?;
        // A configuration that is not valid must not stop a sweep.
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
    let why = "cannot tell which sockets are protected; sweeping only forge's own";
    call.warn(&Error::new(Kind::Config, why));
    (Config::default(), true)
}

fn show(report: &SweepReport, dry_run: bool) -> Output {
    let mut output = Output::new(report);
    let removed = if dry_run { "would remove" } else { "removed" };
    for path in &report.removed {
        output = output.line(format!("{removed} {}", legible(path)));
    }
    for path in &report.healed {
        output = output.line(format!("healed {}: its server created the socket again", legible(path)));
    }
    for path in &report.unresponsive {
        output = output.line(format!("left {}: its server is alive but does not answer", legible(path)));
    }
    for skipped in &report.skipped {
        output = output.line(format!("left {}: {}", legible(&skipped.path), skipped.reason));
    }
    let protected = match report.protected.len() {
        0 => String::new(),
        count => format!(", {count} protected"),
    };
    output.line(format!(
        "{removed} {}; {} live{protected}, of {} sockets ({} ms)",
        dead_sockets(report.removed.len()),
        report.live.len(),
        report.scanned,
        report.elapsed_ms
    ))
}
