//! `forge run`: a session in the foreground, for other service managers and schedulers.

use std::os::fd::AsFd;
use std::time::Duration;

use super::arguments::Wanted;
use super::{Command, CommandContext, ConfigPolicy};
use crate::model::error::{Error, Kind, Result};
use crate::model::output::Output;
use crate::model::session::spec::{Keeper, Spec};
use crate::ops::session::spawn::request::SpawnMode;
use crate::ops::session::start::start_new;
use crate::ops::session::{observe, stop, wait};
use crate::sys::clock::Deadline;
use crate::sys::poll::readable;
use crate::sys::process::Process;
use crate::sys::sd_notify;
use crate::sys::signals::{Signal, Signals};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge run job -- make test        ends when make ends, with the exit status of make

Exit status:
  2    invalid usage
  125  the command never ran, or its exit status is not known
  else the command's own; 128 plus the number of the signal that ended it

SIGTERM, SIGINT and SIGHUP stop the session.")]
pub struct Args {
    #[command(flatten)]
    wanted: Wanted,
}

/// The exit status when the command never ran, or when its own exit status is not known.
const OWN_FAILURE: u8 = 125;

impl Command for Args {
    fn config(&self) -> ConfigPolicy {
        ConfigPolicy::Needed
    }

    /// The command's own status even if it ended before the session was ready; one status for all errors of
    /// forge.
    fn exit_status(&self, error: &Error) -> u8 {
        error.program_status.unwrap_or(OWN_FAILURE)
    }

    fn run(&self, call: &CommandContext<'_>) -> Result<Output> {
        let context = call.context()?;
        // Before the start, so that no signal is lost: from here on each stops the session.
        let signals = Signals::block(&[Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP])?;

        let spec = Spec { keeper: Keeper::Caller, ..self.wanted.spec(context)? };
        let id = &spec.session;
        let mode = if self.wanted.replace { SpawnMode::Replacing } else { SpawnMode::New };
        let spawned = start_new(context, &spec, mode)?;
        // If the caller is a systemd service of Type=notify; otherwise this does nothing.
        sd_notify::ready(&format!(
            "session {id} runs {} as process {}",
            spec.command.name(),
            spawned.pane_pid
        ));

        let found = observe::one(context, id)?;
        let lost = || Error::new(Kind::NoSession, format!("{id} ended before forge could watch it"));
        let (Some(program), Some(found)) = (Process::open(spawned.pane_pid)?, found) else {
            let end =
                context.store.end(id)?.filter(|end| end.since_us == spawned.since_us).ok_or_else(lost)?;
            return Ok(Output::new(&spawned).exit(end.shell_status()));
        };
        let forever = Deadline::after(Duration::MAX);
        if readable(&[program.as_fd(), signals.as_fd()], forever)[1] {
            let signal = signals.next().map_or(0, |signal| signal as i32);
            sd_notify::stopping("stopping the session");
            stop::stop(context, &[found], stop::TIMEOUT)?;
            return Ok(Output::new(&spawned)
                .line(format!("stopped {id} on signal {signal}"))
                .exit(u8::try_from(128 + signal).unwrap_or(OWN_FAILURE)));
        }
        let end = wait::until_exit(context, &found, forever)?;
        Ok(Output::new(&spawned).line(format!("{id} ended with {}", end.words())).exit(end.shell_status()))
    }
}
