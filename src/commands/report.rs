//! `forge report`

use std::ffi::OsString;

use serde_json::json;

use super::{Command, CommandContext, ConfigPolicy};
use crate::model::error::{Error, Result};
use crate::model::output::Output;
use crate::model::session::activity::Activity;
use crate::ops::session::report::{self, NewReport};
use crate::sys::env;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge report working             from a hook of an agent, in its session
  forge report asking --text 'May I delete build/?'
  forge report done --text 'All tests pass.'
  forge report idle --resume-id 1b9d-4f

Exit status:
  0  success, or a failure that is on standard error: a hook must not fail
  2  invalid usage")]
pub struct Args {
    /// The program's activity now
    #[arg(value_enum, value_name = "ACTIVITY")]
    activity: Reported,
    /// The id of the program's conversation, for `resume`
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    resume_id: Option<OsString>,
    /// A short text for the notice: the question, or the last answer
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    text: Option<OsString>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Reported {
    /// It works on a turn
    Working,
    /// It asks its user something
    Asking,
    /// The turn is over, and it waits for its user
    Idle,
    /// As idle, and its user wants to know: the event and the notice 'done'
    Done,
}

impl Reported {
    fn activity(self) -> Activity {
        match self {
            Self::Working => Activity::Working,
            Self::Asking => Activity::Asking,
            Self::Idle | Self::Done => Activity::Idle,
        }
    }
}

impl Command for Args {
    fn config(&self) -> ConfigPolicy {
        // A report costs a millisecond. forge reads the configuration only before it sends a notice.
        ConfigPolicy::Ignored
    }

    fn run(&self, call: &CommandContext<'_>) -> Result<Output> {
        let text = |value: &Option<OsString>| value.as_ref().map(|text| text.to_string_lossy().into_owned());
        let new = NewReport {
            activity: self.activity.activity(),
            done: self.activity == Reported::Done,
            conversation: text(&self.resume_id),
            text: env::given_text().filter(|_| self.text.is_some()).or_else(|| text(&self.text)),
        };
        let id = report::report(call.context()?, call.config_file, &new)?;
        // No text: agents add the output of some hooks to their conversation.
        Ok(Output::new(&json!({ "session": id, "activity": new.activity, "done": new.done })))
    }

    /// clap refuses wrong usage before this command runs. Everything else must not make a hook fail: some agents
    /// stop what they do if a hook fails, and Claude Code takes an exit status of 2 for a refusal.
    fn exit_status(&self, _: &Error) -> u8 {
        0
    }
}
