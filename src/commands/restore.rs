//! `forge restore`

use serde_json::json;

use crate::model::error::{Error, Kind, Result};
use crate::model::notice::restore_lines;
use crate::model::output::Shown;
use crate::model::session::restore::{Restored, Step};
use crate::model::time::rfc3339;
use crate::ops::World;
use crate::ops::boot::restore::{Outcome, in_this_life, restore, steps};
use crate::sys::clock::local;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge restore --dry-run
  forge restore")]
pub struct Args {
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

/// Starts what was running before the boot, and what is configured to; once in a boot.
/// `configuration` is why the configuration could not be read, where it could not.
///
/// # Errors
/// When nothing can be restored at all. A session that does not start is told, and the exit
/// status is 1.
pub fn run(world: &World, arguments: &Args, configuration: Option<&Error>) -> Result<Shown> {
    if arguments.dry_run {
        return would(world);
    }
    let (restored, already, unnoted) = match restore(world, configuration.is_none())? {
        Outcome::Done { restored, unnoted } => (restored, false, unnoted),
        Outcome::Already(restored) => (restored, true, None),
    };
    let mut shown = Shown::new(&json!({
        "already": already,
        "at": rfc3339(restored.at_us),
        "restored": restored.restored,
        "failed": restored.failed,
        "left": restored.left,
    }));
    if already {
        return Ok(shown.line(format!(
            "nothing to do: the sessions were restored at {}; 'forge restart NAME' starts one that is missing",
            local(restored.at_us)
        )));
    }
    for line in lines(&restored) {
        shown = shown.line(line);
    }
    if let Some(error) = &unnoted {
        shown = shown.line(format!("that this was done could not be noted: {}", error.message));
    }
    if configuration.is_some() {
        // Which sessions are configured to run is not known, and one that is missing would be missed
        // by nobody.
        return Ok(shown
            .line("what is configured is not known: mend the configuration, then 'forge restore' again")
            .exit(Kind::Config.exit_status()));
    }
    Ok(shown.exit(u8::from(!restored.failed.is_empty() || unnoted.is_some())))
}

fn lines(restored: &Restored) -> Vec<String> {
    let mut lines: Vec<String> =
        restored.left.iter().map(|left| format!("left {}: {}", left.session, left.reason)).collect();
    lines.extend(restore_lines(restored));
    lines
}

/// The plan, without carrying it out.
fn would(world: &World) -> Result<Shown> {
    let already = in_this_life(world)?.is_some();
    let steps = steps(world)?;
    let mut rows = Vec::new();
    for (id, step) in &steps {
        let (action, why) = match step {
            Step::Again(spec) => ("restore", format!("it was running: {}", spec.command.name())),
            Step::Configured { before: Some(before) } if !before.over => {
                ("restore", "it was running, as configured".to_owned())
            }
            Step::Configured { .. } => ("start", "boot = true".to_owned()),
            Step::Leave(why) => ("leave", (*why).to_owned()),
            Step::Forget(_) => ("forget", "its program ended by itself".to_owned()),
            Step::SetAside { why, configured: false } => ("set aside", why.clone()),
            Step::SetAside { why, configured: true } => {
                ("set aside, start", format!("boot = true, and its file cannot be read: {why}"))
            }
            Step::Refuse(why) => ("fail", why.clone()),
        };
        rows.push((id.to_string(), action, why));
    }
    let plan: Vec<_> = rows
        .iter()
        .map(|(session, action, why)| json!({ "session": session, "action": action, "reason": why }))
        .collect();
    let mut shown = Shown::new(&json!({ "already": already, "plan": plan }));
    if already {
        shown = shown.line("the sessions were restored in this boot: a restore does nothing");
    }
    if rows.is_empty() {
        return Ok(shown.line("there is nothing to restore"));
    }
    let rows = rows.into_iter().map(|(session, action, why)| vec![session, action.to_owned(), why]).collect();
    Ok(shown.table(&["SESSION", "ACTION", "WHY"], rows))
}
