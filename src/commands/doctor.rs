//! `forge doctor`

use serde_json::json;

use super::{Command, CommandContext, ConfigPolicy};
use crate::model::error::{Kind, Result};
use crate::model::output::Output;
use crate::ops::health::doctor::examine;
use crate::sys::env::Paths;
use crate::sys::journal;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge doctor")]
pub struct Args {}

impl Command for Args {
    fn config(&self) -> ConfigPolicy {
        ConfigPolicy::Ignored
    }

    fn run(&self, call: &CommandContext<'_>) -> Result<Output> {
        let (checks, problems) = examine(Paths::from_environment()?, call.config_file);
        let status = if problems.is_empty() { 0 } else { Kind::UNHEALTHY };
        let mut shown = Output::new(&json!({ "healthy": problems.is_empty(), "problems": problems }));
        for problem in &problems {
            shown = shown.line(problem.what.clone()).line(format!("  {}", problem.hint));
        }
        if problems.is_empty() {
            // For a person who looks at an empty screen; a script gets nothing to read.
            journal::progress!("all {checks} checks passed");
        }
        Ok(shown.exit(status))
    }
}
