//! `forge notify`

use serde_json::json;

use super::arguments;
use super::{Command, CommandContext, ConfigPolicy};
use crate::model::error::{Error, Kind, Result};
use crate::model::notice::Notice;
use crate::model::output::Output;
use crate::ops::health::notify::{self, Delivery};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge notify test")]
pub struct Args {
    #[command(subcommand)]
    what: NotifyCommand,
}

#[derive(Debug, clap::Subcommand)]
enum NotifyCommand {
    /// Tell how everything is after a boot, and what was restored
    #[command(after_help = "\
Examples:
  forge notify boot")]
    Boot,
    /// Try every way that is configured, once
    #[command(after_help = "\
Examples:
  forge notify test")]
    Test,
    /// Tell that a unit failed
    #[command(after_help = "\
Examples:
  forge notify failure backup.service")]
    Failure {
        /// The unit
        unit: String,
    },
    /// Tell that the program of a session asks its user something, where it does
    #[command(after_help = "\
Examples:
  forge notify asking agent")]
    Asking {
        /// The session
        name: String,
    },
}

impl NotifyCommand {
    fn word(&self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::Test => "test",
            Self::Failure { .. } => "failure",
            Self::Asking { .. } => "asking",
        }
    }
}

impl Command for Args {
    fn config(&self) -> ConfigPolicy {
        ConfigPolicy::Needed
    }

    fn run(&self, call: &CommandContext<'_>) -> Result<Output> {
        let context = call.context()?;
        if !context.config.notify.is_configured() {
            let how = "add [notify] command, [notify.telegram] or [notify.webhook] to the configuration";
            if matches!(self.what, NotifyCommand::Test) {
                return Err(Error::new(Kind::Config, "nobody is configured to be told").hint(how));
            }
            // Who does not want notices has no unit that fails at every boot.
            let json = json!({ "notice": self.what.word(), "channels": [] });
            return Ok(Output::new(&json).line(format!("nobody is configured to be told; {how}")));
        }
        // Who tries it waits for the answer; a boot has time.
        let (notice, patient) = match &self.what {
            NotifyCommand::Boot => (notify::of_boot(context)?, true),
            NotifyCommand::Test => (notify::of_test(), false),
            NotifyCommand::Failure { unit } if !notify::is_for_good(context, unit)? => {
                return Ok(Output::new(&json!({ "notice": self.what.word(), "channels": [] }))
                    .line(format!("nothing to tell: {unit} is started again")));
            }
            NotifyCommand::Failure { unit } => (notify::of_failure(context, unit), true),
            NotifyCommand::Asking { name } => match notify::of_question(context, &arguments::session(name)?)?
            {
                Some(notice) => (notice, true),
                None => {
                    return Ok(Output::new(&json!({ "notice": self.what.word(), "channels": [] }))
                        .line(format!("nothing to tell: {name} asks nothing")));
                }
            },
        };
        let told = notify::send(context, &notice, patient)?;
        Ok(show(&notice, &told))
    }
}

fn show(notice: &Notice, told: &[Delivery]) -> Output {
    let mut shown = Output::new(&json!({ "notice": notice.kind, "channels": told }));
    for one in told {
        shown = shown.line(match &one.error {
            None => format!("sent by {}", one.channel),
            Some(error) => format!("not sent by {}: {error} (tries: {})", one.channel, one.attempts),
        });
    }
    shown.exit(u8::from(told.iter().any(|one| !one.sent)))
}
