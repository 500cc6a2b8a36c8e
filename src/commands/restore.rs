//! `forge restore`

use serde_json::json;

use super::{Command, CommandContext, ConfigPolicy};
use crate::model::error::{Kind, Result};
use crate::model::notice::restore_lines;
use crate::model::output::Output;
use crate::model::session::restore::{RestoreStep, Restored};
use crate::model::time::rfc3339;
use crate::ops::Context;
use crate::ops::boot::restore::{RestoreOutcome, last_restore, plan_steps, restore};
use crate::sys::clock::local;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge restore                  at most once in a boot
  forge restore --dry-run        show the plan")]
pub struct Args {
    /// Only print the plan
    #[arg(long)]
    dry_run: bool,
}

impl Command for Args {
    fn config(&self) -> ConfigPolicy {
        ConfigPolicy::Tolerated
    }

    fn run(&self, call: &CommandContext<'_>) -> Result<Output> {
        let context = call.context()?;
        let configuration_is_valid = call.config_error()?.is_none();
        if self.dry_run {
            return plan(context);
        }
        let (restored, already, unrecorded) = match restore(context, configuration_is_valid)? {
            RestoreOutcome::Done { restored, unrecorded } => (restored, false, unrecorded),
            RestoreOutcome::Already(restored) => (restored, true, None),
        };
        let mut output = Output::new(&json!({
            "already": already,
            "at": rfc3339(restored.at_us),
            "restored": restored.restored,
            "failed": restored.failed,
            "left": restored.left,
        }));
        if already {
            return Ok(output.line(format!(
                "nothing to do: forge restored the sessions at {}; 'forge restart NAME' starts a missing one",
                local(restored.at_us)
            )));
        }
        for line in lines(&restored) {
            output = output.line(line);
        }
        if let Some(error) = &unrecorded {
            output = output.line(format!("cannot record this restore: {}", error.message));
        }
        if !configuration_is_valid {
            // forge does not know which sessions are configured to start, and nobody would notice a
            // missing one.
            return Ok(output
                .line("cannot tell which sessions are configured: fix the configuration, then run 'forge restore' again")
                .exit(Kind::Config.exit_status()));
        }
        Ok(output.exit(u8::from(!restored.failed.is_empty() || unrecorded.is_some())))
    }
}

fn lines(restored: &Restored) -> Vec<String> {
    let mut lines: Vec<String> =
        restored.left.iter().map(|left| format!("left {}: {}", left.session, left.reason)).collect();
    lines.extend(restore_lines(restored));
    lines
}

/// The plan of a restore.
fn plan(context: &Context) -> Result<Output> {
    let already = last_restore(context)?.is_some();
    let steps = plan_steps(context)?;
    let mut rows = Vec::new();
    for (id, step) in &steps {
        let (action, why) = match step {
            RestoreStep::Again(spec) => ("restore", format!("was running: {}", spec.command.name())),
            RestoreStep::Configured { before: Some(before) } if !before.over => {
                ("restore", "was running, as configured".to_owned())
            }
            RestoreStep::Configured { .. } => ("start", "boot = true".to_owned()),
            RestoreStep::Leave(why) => ("leave", (*why).to_owned()),
            RestoreStep::Forget(_) => ("forget", "its program ended by itself".to_owned()),
            RestoreStep::SetAside { why, configured: false } => ("set aside", why.clone()),
            RestoreStep::SetAside { why, configured: true } => {
                ("set aside, start", format!("boot = true, but cannot read its file: {why}"))
            }
            RestoreStep::Refuse(why) => ("fail", why.clone()),
        };
        rows.push((id.to_string(), action, why));
    }
    let plan: Vec<_> = rows
        .iter()
        .map(|(session, action, why)| json!({ "session": session, "action": action, "reason": why }))
        .collect();
    let mut output = Output::new(&json!({ "already": already, "plan": plan }));
    if already {
        output = output.line("forge restored the sessions in this boot; another restore does nothing");
    }
    if rows.is_empty() {
        return Ok(output.line("no sessions to restore"));
    }
    let rows = rows.into_iter().map(|(session, action, why)| vec![session, action.to_owned(), why]).collect();
    Ok(output.table(&["SESSION", "ACTION", "WHY"], rows))
}
