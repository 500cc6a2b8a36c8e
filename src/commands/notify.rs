//! `forge notify`

use serde_json::json;

use super::arguments;
use super::{Command, CommandContext, ConfigPolicy};
use crate::model::error::{Error, Kind, Result};
use crate::model::notice::Notice;
use crate::model::output::Output;
use crate::ops::health::notify::{self, Delivery};

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
    /// Send a notice about a boot: problems, and the sessions that forge restored
    #[command(after_help = "\
Examples:
  forge notify boot")]
    Boot,
    /// Send a test notice through each configured channel, once
    #[command(after_help = "\
Examples:
  forge notify test")]
    Test,
    /// Send a notice that a unit failed
    #[command(after_help = "\
Examples:
  forge notify failure backup.service")]
    Failure {
        /// Name of the unit
        unit: String,
    },
    /// Send a notice if the program of a session asks a question
    #[command(after_help = "\
Examples:
  forge notify asking agent")]
    Asking {
        /// Name of the session
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
            let channels = "add [notify] command, [notify.telegram] or [notify.webhook] to the configuration";
            if matches!(self.what, NotifyCommand::Test) {
                return Err(Error::new(Kind::Config, "no notice channel is configured").hint(channels));
            }
            // Success: forge-boot-notify.service must not fail at every boot of a user who wants no notices.
            let json = json!({ "notice": self.what.word(), "channels": [] });
            return Ok(Output::new(&json).line(format!("no notice channel is configured; {channels}")));
        }
        // A user waits for the result of a test; after a boot there is time to try again.
        let (notice, patient) = match &self.what {
            NotifyCommand::Boot => (notify::of_boot(context)?, true),
            NotifyCommand::Test => (notify::of_test(), false),
            NotifyCommand::Failure { unit } if !notify::is_for_good(context, unit)? => {
                return Ok(Output::new(&json!({ "notice": self.what.word(), "channels": [] }))
                    .line(format!("no notice: systemd restarts {unit}")));
            }
            NotifyCommand::Failure { unit } => (notify::of_failure(context, unit), true),
            NotifyCommand::Asking { name } => match notify::of_question(context, &arguments::session(name)?)?
            {
                Some(notice) => (notice, true),
                None => {
                    return Ok(Output::new(&json!({ "notice": self.what.word(), "channels": [] }))
                        .line(format!("no notice: {name} does not ask a question")));
                }
            },
        };
        let deliveries = notify::send(context, &notice, patient)?;
        Ok(show(&notice, &deliveries))
    }
}

fn show(notice: &Notice, deliveries: &[Delivery]) -> Output {
    let mut output = Output::new(&json!({ "notice": notice.kind, "channels": deliveries }));
    for delivery in deliveries {
        output = output.line(match &delivery.error {
            None => format!("sent by {}", delivery.channel),
            Some(error) => {
                format!("not sent by {}: {error} (tries: {})", delivery.channel, delivery.attempts)
            }
        });
    }
    output.exit(u8::from(deliveries.iter().any(|delivery| !delivery.sent)))
}
