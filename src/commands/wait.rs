//! `forge wait`

use std::time::Duration;

use serde_json::json;

use super::arguments;
use super::{Command, CommandContext, ConfigPolicy};
use crate::model::error::{Error, Result};
use crate::model::output::Output;
use crate::model::session::State;
use crate::model::time::span;
use crate::ops::session::send::turn::Turn;
use crate::ops::session::{observe, wait};
use crate::sys::clock::Deadline;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge wait web --ready --timeout 60s
  forge wait agent --idle             until the agent has finished its turn
  forge wait job --exit --json        report how the job ended")]
pub struct Args {
    /// Name of the session
    name: String,
    /// Wait until the ready pattern matches the screen
    #[arg(long, required_unless_present_any = ["exit", "idle"], conflicts_with_all = ["exit", "idle"])]
    ready: bool,
    /// Wait until the program has finished its turn: it prints nothing more, and the ready pattern matches the
    /// screen
    #[arg(long, conflicts_with = "exit")]
    idle: bool,
    /// Wait until the program has ended
    #[arg(long)]
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
            Turn::begin(context, &id, found.mark()?)?.end(deadline)?;
            return Ok(Output::new(&json!({ "session": id, "idle": true })).line(format!("{id} is idle")));
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
