//! `forge save`

use crate::model::error::Result;
use crate::model::output::Output;
use crate::ops::Context;
use crate::ops::boot::save::{Saved, save, save_at_shutdowns};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge save")]
pub struct Args {
    /// Wait for a shutdown and save then, where logind grants a delay of it; else do nothing
    #[arg(long, hide = true)]
    at_shutdown: bool,
}

/// Saves the resume ids of the sessions.
///
/// # Errors
/// When the manager does not answer.
pub fn run(context: &Context, arguments: &Args) -> Result<Output> {
    if arguments.at_shutdown {
        save_at_shutdowns(context)?;
        return Ok(Output::default());
    }
    Ok(show(&save(context)?))
}

fn show(saved: &Saved) -> Output {
    let mut shown = Output::new(saved);
    for one in &saved.saved {
        shown = shown.line(match &one.resume_id {
            Some(id) => format!("saved {}: resumes with {id}", one.session),
            None => format!("saved {}", one.session),
        });
    }
    for one in &saved.failed {
        shown = shown.line(format!("no resume id for {}: {}", one.session, one.error));
    }
    if saved.saved.is_empty() && saved.failed.is_empty() {
        shown = shown.line("there is no session to save");
    }
    shown
}
