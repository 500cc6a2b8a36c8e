//! `forge save`

use super::{Command, CommandContext, ConfigPolicy};
use crate::model::error::Result;
use crate::model::output::Output;
use crate::ops::boot::save::{Saved, save, save_at_shutdowns};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge save")]
pub struct Args {
    /// Wait for a shutdown and save then, if logind lets forge delay it; otherwise exit at once
    #[arg(long, hide = true)]
    at_shutdown: bool,
}

impl Command for Args {
    fn config(&self) -> ConfigPolicy {
        ConfigPolicy::Tolerated
    }

    fn run(&self, call: &CommandContext<'_>) -> Result<Output> {
        let context = call.context()?;
        if self.at_shutdown {
            save_at_shutdowns(context)?;
            return Ok(Output::default());
        }
        Ok(show(&save(context)?))
    }
}

fn show(saved: &Saved) -> Output {
    let mut output = Output::new(saved);
    for one in &saved.saved {
        output = output.line(match &one.resume_id {
            Some(id) => format!("saved {}: resumes with {id}", one.session),
            None => format!("saved {}", one.session),
        });
    }
    for one in &saved.failed {
        output = output.line(format!("no resume id for {}: {}", one.session, one.error));
    }
    if saved.saved.is_empty() && saved.failed.is_empty() {
        output = output.line("no sessions to save");
    }
    output
}
