//! `forge wait`

use std::time::Duration;

use serde_json::json;

use super::arguments;
use super::{Command, CommandContext, ConfigPolicy};
use crate::model::error::{Error, Result};
use crate::model::output::Output;
use crate::model::session::State;
use crate::model::session::activity::Activity;
use crate::model::time::span;
use crate::ops::session::activity_wait::{is_reported, until_activity};
use crate::ops::session::send::turn::Turn;
use crate::ops::session::{observe, wait};
use crate::sys::clock::Deadline;

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true)), after_help = "\
Examples:
  forge wait web --ready --timeout 60s
  forge wait agent --idle             until the agent has finished its turn
  forge wait agent --asking           until the agent asks its user something
  forge wait job --exit --json        report how the job ended")]
#[allow(clippy::struct_excessive_bools, reason = "options of a command line")]
pub struct Args {
    /// Name of the session
    name: String,
    /// Wait until the ready pattern matches the screen
    #[arg(long, group = "what")]
    ready: bool,
    /// Wait until the program has finished its turn: a hook reported it, or the program prints nothing more and the
    /// ready pattern matches the screen, but not the working pattern
    #[arg(long, group = "what")]
    idle: bool,
    /// Wait until the program asks its user something: a hook reported it, or the asking pattern matches the screen
    #[arg(long, group = "what")]
    asking: bool,
    /// Wait until the program has ended
    #[arg(long, group = "what")]
    exit: bool,
    /// Fail after this time (90, 90s, 10min) [default: no limit]
    #[arg(long, value_name = "DURATION", value_parser = span)]
    timeout: Option<Duration>,
}

impl Command for Args {
    fn config(&self) -> ConfigPolicy {
        ConfigPolicy::Tolerated
    }

    fn run(&self, call: &CommandContext<'_>) -> Result<Output> {
        let context = call.context()?;
        let id = arguments::session(&self.name)?;
        let deadline = Deadline::after(self.timeout.unwrap_or(Duration::MAX));
        let found = observe::one(context, &id)?;
        if self.ready {
            let found = found.map_or_else(|| observe::existing(context, &id), Ok)?;
            wait::until_ready(context, &found, deadline)?;
            return Ok(Output::new(&json!({ "session": id, "ready": true })).line(format!("{id} is ready")));
        }
        if self.idle {
            let found = found.map_or_else(|| observe::existing(context, &id), Ok)?;
            if is_reported(&found) {
                until_activity(context, &found, Activity::Idle, deadline)?;
            } else {
                Turn::begin(context, &id, found.mark()?)?.end(deadline)?;
            }
            return Ok(Output::new(&json!({ "session": id, "idle": true })).line(format!("{id} is idle")));
        }
        if self.asking {
            let found = found.map_or_else(|| observe::existing(context, &id), Ok)?;
            until_activity(context, &found, Activity::Asking, deadline)?;
            return Ok(Output::new(&json!({ "session": id, "asking": true })).line(format!("{id} is asking")));
        }
        let end = match found {
            // A supervised session without a program is between two runs: the last run has ended.
            Some(found) if found.has_body && (found.mark.is_some() || found.state() == State::Starting) => {
                wait::until_exit(context, &found, deadline)?
            }
            // The session ended before this command looked, or is being removed.
            _ => context.store.end(&id)?.map_or_else(
                || {
                    let unknown = || Error::failed(format!("it is not known how {id} ended"));
                    Err(observe::existing(context, &id).err().unwrap_or_else(unknown))
                },
                Ok,
            )?,
        };
        Ok(Output::new(
            &json!({ "session": id, "status": end.status, "signal": end.signal, "result": end.words() }),
        )
        .line(format!("{id} ended with {}", end.words())))
    }
}
