//! The hidden commands: forge, systemd and tmux run them; people do not.
//!
//! forge parses their arguments without clap ([`InternalCommand`]): each spawn waits for two of them, and some
//! run as long as a session or a guard, where clap's definition of the command line would be most of their
//! memory. None of them reads the configuration.

use std::ffi::OsString;

use super::arguments;
use crate::config::Config;
use crate::model::error::Result;
use crate::model::internal_command::InternalCommand;
use crate::model::output::Output;
use crate::ops::Context;
use crate::ops::guard::cleanup;
use crate::ops::guard::watch as guard_watch;
use crate::ops::session::exited as session_exited;
use crate::ops::supervise::{supervisor_exited, watch as supervise_watch};
use crate::sys::env::Paths;
use crate::sys::{gate, journal};

/// Runs the hidden command that the arguments of this process call; `None` where they call another command.
pub fn run(arguments: &[OsString]) -> Option<Result<Output>> {
    let command = InternalCommand::parse(arguments.get(1..)?)?;
    Some(status(&command).map(|status| Output::default().exit(status)))
}

/// Runs the command and returns the exit status of this process.
fn status(command: &InternalCommand) -> Result<u8> {
    use InternalCommand::{
        GateGuarded, GatePane, GateServer, GuardGone, GuardKeeper, PaneDied, SuperviseWatch,
        SupervisorExited, WatchGone,
    };
    match command {
        GateServer { command } => gate::wait_then_exec_server(command).map(|never| match never {}),
        GatePane { gate } => gate::wait_then_exec_pane(gate),
        GateGuarded { gate, command } => gate::wait_then_exec_guarded(gate, command),
        SuperviseWatch { session } => supervise_watch(&context()?, &arguments::session(session)?),
        GuardKeeper { slice, guard } => cleanup::wait_for_guard(&context()?, slice, *guard).map(succeeded),
        GuardGone { slice, guard, command, leave_children } => {
            cleanup::end_unguarded_command(&context()?, slice, *guard, *command, *leave_children)
                .map(succeeded)
        }
        WatchGone => guard_watch::thaw_all(&context()?).map(succeeded),
        PaneDied { session } => {
            session_exited::end_after_program(&context()?, &arguments::session(session)?).map(succeeded)
        }
        SupervisorExited { session, in_pause: false } => {
            supervisor_exited::ended(&context()?, &arguments::session(session)?).map(succeeded)
        }
        SupervisorExited { session, in_pause: true } => {
            supervisor_exited::in_pause(&context()?, &arguments::session(session)?).map(succeeded)
        }
    }
}

/// Opens the journal and the context. The commands that wait at a gate need neither.
fn context() -> Result<Context> {
    journal::open(false, false, false);
    Ok(Context::new(Paths::from_environment()?, Config::default()))
}

fn succeeded((): ()) -> u8 {
    0
}
