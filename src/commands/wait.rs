//! `forge wait`

use std::time::Duration;

use serde_json::json;

use super::arguments;
use super::{Command, CommandContext, ConfigPolicy};
use crate::model::error::{Error, Result};
use crate::model::output::Output;
use crate::model::session::State;
use crate::ops::session::send::turn::Turn;
use crate::ops::session::{observe, wait};
use crate::sys::clock::Deadline;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge wait web --ready --timeout 60
  forge wait agent --idle             until it has finished its turn
  forge wait job --exit --json        with its exit status, however it ended")]
pub struct Args {
    /// The session
    name: String,
    /// Until its ready pattern is on its screen
    #[arg(long, required_unless_present_any = ["exit", "idle"], conflicts_with_all = ["exit", "idle"])]
    ready: bool,
    /// Until its program has finished what it does: it prints nothing any more, and its ready pattern is on its
    /// screen
    #[arg(long, conflicts_with = "exit")]
    idle: bool,
    /// Until its program ended
    #[arg(long)]
    exit: bool,
    /// At most that long, in seconds [default: as long as it takes]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

impl Command for Args {
    fn config(&self) -> ConfigPolicy {
        ConfigPolicy::Tolerated
    }

    fn run(&self, call: &CommandContext<'_>) -> Result<Output> {
        let context = call.context()?;
        let id = arguments::session(&self.name)?;
        let deadline = Deadline::after(self.timeout.map_or(Duration::MAX, Duration::from_secs));
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
            // Between two runs of a supervised session the last one has ended.
            Some(found) if found.has_body && (found.mark.is_some() || found.state() == State::Starting) => {
                wait::until_exit(context, &found, deadline)?
            }
            // It ended before we asked, or is just being cleared away: that is what was waited for.
            _ => context.store.end(&id)?.map_or_else(
                || {
                    let unknown = || Error::failed(format!("how {id} ended is not known"));
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
