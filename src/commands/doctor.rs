//! `forge doctor`

use serde_json::json;

use super::{Command, CommandContext, ConfigPolicy};
use crate::model::error::{Kind, Result};
use crate::model::output::Output;
use crate::ops::health::doctor::examine;
use crate::sys::env::Paths;
use crate::sys::journal;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge doctor

The exit status is 5 if doctor finds a problem, otherwise doctor prints nothing on stdout.")]
pub struct Args {}

impl Command for Args {
    fn config(&self) -> ConfigPolicy {
        ConfigPolicy::Ignored
    }

    fn run(&self, call: &CommandContext<'_>) -> Result<Output> {
        let (checks, problems) = examine(Paths::from_environment()?, call.config_file);
        let status = if problems.is_empty() { 0 } else { Kind::UNHEALTHY };
        let mut output = Output::new(&json!({ "healthy": problems.is_empty(), "problems": problems }));
        for problem in &problems {
            output = output.line(problem.what.clone()).line(format!("  {}", problem.hint));
        }
        if problems.is_empty() {
            // Only on a terminal: a person expects an answer, a script expects no output.
            journal::progress!("all {checks} checks passed");
        }
        Ok(output.exit(status))
    }
}
