//! `forge guard`

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::arguments::{GUARD, WantedLimits};
use super::{Command, CommandContext, ConfigPolicy};
use crate::config::check_pressure;
use crate::model::error::{Error, Result};
use crate::model::guard::unit_state::{Guarded, UnitState};
use crate::model::guard::{DISTURBED, REFUSED, report};
use crate::model::output::Output;
use crate::model::session::limits::{Limits, Percent};
use crate::ops::Context;
use crate::ops::guard::request::GuardRequest;
use crate::ops::guard::snapshot::{self, Compared};
use crate::ops::guard::start::run as run_guarded;
use crate::ops::guard::{units, watch};
use crate::sys::clock::local;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge guard run --unit web -- make -j8
  forge guard run --system-unit postgresql --freeze-on-pressure 40 -- ./bench.sh
  forge guard snapshot --unit web -o before.json
  forge guard check before.json")]
pub struct Args {
    #[command(subcommand)]
    what: GuardCommand,
}

#[derive(Debug, clap::Subcommand)]
enum GuardCommand {
    /// Run a command, and exit with 100 if a guarded unit was disturbed
    #[command(after_help = "\
Examples:
  forge guard run --unit web -- make -j8
  forge guard run --refuse-if-active backup --deny-listen -- cargo test
  forge guard run --memory-max 4G --freeze-on-pressure 40 -- ./bench.sh

Exit status:
  2    invalid usage
  100  a guarded unit was disturbed
  101  the command listened although that was denied
  125  forge did not run the command
  else the command's own; 128 plus the number of the signal that ended it")]
    Run(Box<RunArgs>),
    /// Record the state of the guarded units for 'guard check'
    #[command(after_help = "\
Examples:
  forge guard snapshot --unit web -o before.json")]
    Snapshot {
        #[command(flatten)]
        units: UnitArgs,
        /// Write the snapshot to this file
        #[arg(short, long, value_name = "FILE", help_heading = GUARD)]
        output: PathBuf,
    },
    /// Exit with 100 if a guarded unit was disturbed since a snapshot
    #[command(after_help = "\
Examples:
  forge guard check before.json

Exit status:
  0    no guarded unit was disturbed
  2    invalid usage
  100  a guarded unit was disturbed
  125  forge could not find out")]
    Check {
        /// File of the snapshot
        file: PathBuf,
    },
    /// Record each disturbance and send notices (forge-guard-watch.service runs this)
    #[command(after_help = "\
Examples:
  systemctl --user enable --now forge-guard-watch.service")]
    Watch,
}

/// The units, in addition to those that `[guard]` configures.
#[derive(Debug, clap::Args)]
struct UnitArgs {
    /// Guard this unit of your user manager (repeatable)
    #[arg(long, value_name = "UNIT", help_heading = GUARD)]
    unit: Vec<String>,
    /// Guard this unit of the system manager (repeatable)
    #[arg(long, value_name = "UNIT", help_heading = GUARD)]
    system_unit: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    #[command(flatten)]
    units: UnitArgs,
    /// Do not run the command while this unit is active in either manager (repeatable)
    #[arg(long, value_name = "UNIT", help_heading = GUARD)]
    refuse_if_active: Vec<String>,
    /// Forbid the command to listen on TCP ports
    #[arg(long, help_heading = GUARD)]
    deny_listen: bool,
    /// Freeze the command while the guarded units (or the machine, without guarded units) spend this share of the
    /// time waiting for CPU, memory or disk
    #[arg(long, value_name = "PERCENT", help_heading = GUARD)]
    freeze_on_pressure: Option<Percent>,
    /// Keep processes that the command leaves behind
    #[arg(long, help_heading = GUARD)]
    leave_children: bool,
    #[command(flatten)]
    limits: WantedLimits,
    /// Program and arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// The default CPU weight of a guarded command.
const CPU_WEIGHT: u64 = 10;

impl Command for Args {
    fn config(&self) -> ConfigPolicy {
        match self.what {
            // The snapshot has the names of the units.
            GuardCommand::Check { .. } => ConfigPolicy::Ignored,
            _ => ConfigPolicy::Needed,
        }
    }

    fn exit_status(&self, error: &Error) -> u8 {
        match self.what {
            GuardCommand::Run(_) | GuardCommand::Check { .. } => REFUSED,
            GuardCommand::Snapshot { .. } | GuardCommand::Watch => error.kind.exit_status(),
        }
    }

    fn run(&self, call: &CommandContext<'_>) -> Result<Output> {
        let context = call.context()?;
        match &self.what {
            GuardCommand::Run(run) => run_command(context, run, call.json),
            GuardCommand::Snapshot { units: asked, output } => {
                let guarded = units(context, &asked.unit, &asked.system_unit)?;
                if guarded.is_empty() {
                    return Err(Error::usage("no unit to guard")
                        .hint("name units with --unit, --system-unit or in [guard]"));
                }
                let snapshot = snapshot::take_snapshot(&guarded)?;
                snapshot::write(output, &snapshot)?;
                let rows = snapshot.units.iter().map(|seen| row(&seen.unit, &seen.state)).collect();
                Ok(Output::new(&snapshot).table(&HEAD, rows).line(format!("wrote {}", output.display())))
            }
            GuardCommand::Check { file } => check(context, file),
            GuardCommand::Watch => watch::watch(context, call.config_file).map(|()| Output::default()),
        }
    }
}

fn run_command(context: &Context, run: &RunArgs, json: bool) -> Result<Output> {
    if let Some(percent) = run.freeze_on_pressure {
        check_pressure(percent)?;
    }
    let limits = run.limits.limits()?;
    let request = GuardRequest {
        command: &run.command,
        units: units(context, &run.units.unit, &run.units.system_unit)?,
        refuse_if_active: &run.refuse_if_active,
        deny_listen: run.deny_listen,
        freeze_on_pressure: run.freeze_on_pressure.map(|percent| percent.0),
        limits: limits.or(&Limits { cpu_weight: Some(CPU_WEIGHT), ..Limits::default() }),
        leave_children: run.leave_children,
        stdout_to_stderr: json,
    };
    let (report, end) = run_guarded(context, &request)?;
    Ok(report.show(&end).on_stderr())
}

const HEAD: [&str; 5] = ["unit", "state", "process", "restarts", "invocation"];

fn row(unit: &Guarded, state: &UnitState) -> Vec<String> {
    vec![
        unit.to_string(),
        state.active_and_sub(),
        state.process(),
        state.restarts.to_string(),
        state.short_invocation(),
    ]
}

fn check(context: &Context, file: &Path) -> Result<Output> {
    let (snapshot, compared) = snapshot::check(context, file)?;
    let since = local(snapshot.at_us);
    let Compared::Units(timeline) = compared else {
        let json = json!({ "verdict": "disturbed", "rebooted": true, "units": [], "untold": null });
        return Ok(Output::new(&json)
            .line(format!("the machine has booted since the snapshot of {since}"))
            .exit(DISTURBED));
    };
    let units = report::units(&timeline, |_| Vec::new());
    let is_disturbed = timeline.is_disturbed();
    let untold = timeline.unknown().map(|error| error.message.clone());
    let verdict = if is_disturbed { "disturbed" } else { "undisturbed" };
    let json = json!({ "verdict": verdict, "rebooted": false, "units": units, "untold": untold });
    let rows = timeline.units().iter().map(|known| {
        let mut row = row(&known.unit, &known.last);
        row.push(if known.disturbed { "disturbed" } else { "as it was" }.to_owned());
        row
    });
    let head = [&HEAD[..], &["since the snapshot"]].concat();
    let output = Output::new(&json).table(&head, rows.collect());
    let output = timeline.moments().iter().fold(output, |output, moment| output.line(moment.what.text()));
    let last = match (untold, is_disturbed) {
        (Some(why), _) => format!("cannot determine the state of the units: {why}"),
        (None, true) => format!("disturbed since the snapshot of {since}"),
        (None, false) => format!("undisturbed since the snapshot of {since}"),
    };
    Ok(output.line(last).exit(if is_disturbed { DISTURBED } else { 0 }))
}
