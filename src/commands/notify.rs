//! `forge notify`

use serde_json::json;

use super::arguments;
use super::{Command, CommandContext, ConfigPolicy};
use crate::model::error::{Error, Kind, Result};
use crate::model::notice::NoticeKind;
use crate::model::output::Output;
use crate::ops::health::notify::{self, Delivery};
use crate::ops::health::paced::send_paced;
use crate::ops::session::observe;

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
        /// Send at most one a minute, for units
        #[arg(long, hide = true)]
        paced: bool,
    },
    /// Send a notice if the program of a session crashed
    #[command(after_help = "\
Examples:
  forge notify crashed agent")]
    Crashed {
        /// Name of the session
        name: String,
    },
    /// Send a notice if the program of a session is done
    #[command(after_help = "\
Examples:
  forge notify done agent")]
    Done {
        /// Name of the session
        name: String,
        /// Send at most one a minute, for units
        #[arg(long, hide = true)]
        paced: bool,
    },
}

impl NotifyCommand {
    fn kind(&self) -> NoticeKind {
        match self {
            Self::Boot => NoticeKind::Boot,
            Self::Test => NoticeKind::Test,
            Self::Failure { .. } => NoticeKind::Failure,
            Self::Asking { .. } => NoticeKind::Asking,
            Self::Done { .. } => NoticeKind::Done,
            Self::Crashed { .. } => NoticeKind::Crashed,
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
            return Ok(self.no_notice(&format!("no notice channel is configured; {channels}")));
        }
        if !context.config.notify.wants(self.what.kind()) {
            let kind = self.what.kind().word();
            return Ok(self.no_notice(&format!("no notice: [notify] on does not name '{kind}'")));
        }
        // A user waits for the result of a test; after a boot there is time to try again.
        let (notice, patient) = match &self.what {
            NotifyCommand::Boot => (notify::of_boot(context)?, true),
            NotifyCommand::Test => (notify::of_test(), false),
            NotifyCommand::Failure { unit } if !notify::is_for_good(context, unit)? => {
                return Ok(self.no_notice(&format!("no notice: systemd restarts {unit}")));
            }
            NotifyCommand::Failure { unit } => (notify::of_failure(context, unit), true),
            NotifyCommand::Crashed { name } => match notify::of_crash(context, &arguments::session(name)?)? {
                Some(notice) => (notice, true),
                None => return Ok(self.no_notice(&format!("no notice: {name} has not crashed"))),
            },
            NotifyCommand::Asking { name, paced: true } | NotifyCommand::Done { name, paced: true } => {
                let kind = self.what.kind();
                return Ok(show(kind, &send_paced(context, &arguments::session(name)?, kind)?));
            }
            NotifyCommand::Asking { name, .. } | NotifyCommand::Done { name, .. } => {
                let id = arguments::session(name)?;
                let activity = observe::activity(context, &observe::existing(context, &id)?)?;
                match notify::of_activity(&id, &activity, self.what.kind(), None) {
                    Some(notice) => (notice, true),
                    None if self.what.kind() == NoticeKind::Done => {
                        return Ok(self.no_notice(&format!("no notice: {name} is not done")));
                    }
                    None => return Ok(self.no_notice(&format!("no notice: {name} does not ask a question"))),
                }
            }
        };
        let deliveries = notify::send(context, &notice, patient)?;
        Ok(show(notice.kind, &deliveries))
    }
}

impl Args {
    /// The output where forge sends nothing.
    fn no_notice(&self, why: &str) -> Output {
        Output::new(&json!({ "notice": self.what.kind(), "channels": [] })).line(why)
    }
}

fn show(kind: NoticeKind, deliveries: &[Delivery]) -> Output {
    let mut output = Output::new(&json!({ "notice": kind, "channels": deliveries }));
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
