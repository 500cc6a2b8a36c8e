//! `forge wait`

use std::time::Duration;

use serde_json::json;

use super::arguments;
use crate::model::error::{Error, Result};
use crate::model::output::Shown;
use crate::model::session::State;
use crate::ops::World;
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

/// Waits for a session.
///
/// # Errors
/// When the time is up, or what is waited for cannot come any more.
pub fn run(world: &World, arguments: &Args) -> Result<Shown> {
    let id = arguments::session(&arguments.name)?;
    let deadline = Deadline::after(arguments.timeout.map_or(Duration::MAX, Duration::from_secs));
    let found = observe::one(world, &id)?;
    if arguments.ready {
        let found = found.map_or_else(|| observe::existing(world, &id), Ok)?;
        wait::ready(world, &found, deadline)?;
        return Ok(Shown::new(&json!({ "session": id, "ready": true })).line(format!("{id} is ready")));
    }
    if arguments.idle {
        let found = found.map_or_else(|| observe::existing(world, &id), Ok)?;
        Turn::begin(world, &id, found.mark()?)?.end(deadline)?;
        return Ok(Shown::new(&json!({ "session": id, "idle": true })).line(format!("{id} is idle")));
    }
    let end = match found {
        // Between two runs of a supervised session the last one has ended.
        Some(found) if found.has_body && (found.mark.is_some() || found.state() == State::Starting) => {
            wait::exit(world, &found, deadline)?
        }
        // It ended before we asked, or is just being cleared away: that is what was waited for.
        _ => world.store.end(&id)?.map_or_else(
            || {
                let unknown = || Error::failed(format!("how {id} ended is not known"));
                Err(observe::existing(world, &id).err().unwrap_or_else(unknown))
            },
            Ok,
        )?,
    };
    Ok(Shown::new(
        &json!({ "session": id, "status": end.status, "signal": end.signal, "result": end.words() }),
    )
    .line(format!("{id} ended with {}", end.words())))
}
