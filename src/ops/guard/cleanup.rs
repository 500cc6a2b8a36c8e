//! The clean-up after a guard's end, for whatever reason it ended: forge thaws the command, and ends it so
//! that it does not run unguarded.

use std::time::Duration;

use crate::model::error::{Error, Result};
use crate::model::event::{Event, Subject};
use crate::model::process::ProcessId;
use crate::model::session::condition::ProcessLife;
use crate::model::unit::{guard_of_slice, path_of_slice};
use crate::ops::Context;
use crate::ops::end_tree::{self, SURVIVES_KILL};
use crate::sys::cgroup::Cgroup;
use crate::sys::clock::Deadline;
use crate::sys::journal;
use crate::sys::process::{Process, is_alive, life};
use crate::sys::signals::Signal;
use crate::sys::systemd::Manager;

/// How long the processes of a command may take to end after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the kernel and systemd may take after a kill.
const AFTER_KILL: Duration = Duration::from_secs(10);

/// The time between two checks whether the guard is stopped: the kernel reports a stop only to the parent.
const CHECK_EVERY: Duration = Duration::from_secs(30);

/// Waits until the guard has ended. While the guard is stopped (SIGSTOP), it cannot thaw its command, and
/// this function does.
///
/// # Errors
/// `Kind::Failed` when the kernel refuses a pidfd for the guard; `Kind::Bus` when systemd cannot be reached;
/// the error of the thaw.
pub fn wait_for_guard(context: &Context, slice: &str, guard: ProcessId) -> Result<()> {
    let Some(process) = Process::open_that(guard)? else { return Ok(()) };
    let mut was_stopped = false;
    while !process.wait(Deadline::after(CHECK_EVERY)) {
        let is_stopped = life(guard) == ProcessLife::Stopped;
        // Only at the second check in a row: the guard may continue soon.
        if is_stopped && was_stopped {
            thaw_command(&slice_group(context, slice)?, slice)?;
        }
        was_stopped = is_stopped;
    }
    Ok(())
}

fn slice_group(context: &Context, slice: &str) -> Result<Cgroup> {
    Ok(Cgroup::new(&context.manager()?.control_group()?).child(&path_of_slice(slice)))
}

fn thaw_command(group: &Cgroup, slice: &str) -> Result<()> {
    if group.is_freezing() || !group.frozen_inside().is_empty() {
        thaw(slice, group)?;
        let id = guard_of_slice(slice).unwrap_or(slice);
        journal::record(&Event::Thawed { subject: Subject::Guarded(id.to_owned()) });
    }
    Ok(())
}

/// Thaws the command of a guard. If the guard has ended, also ends the command, unless it may stay.
///
/// # Errors
/// `Kind::Failed` when processes are left 10 seconds after SIGKILL, or the command stays frozen; `Kind::Bus`
/// when systemd cannot be reached.
pub fn end_unguarded_command(
    context: &Context,
    slice: &str,
    guard: ProcessId,
    command: ProcessId,
    may_stay: bool,
) -> Result<()> {
    let group = slice_group(context, slice)?;
    thaw_command(&group, slice)?;
    if may_stay || is_alive(guard) {
        return Ok(());
    }
    end_processes(&group)?;
    // The command may have moved to another control group of the user.
    if let Some(process) = Process::open_that(command)? {
        // If it changed its user there, the kernel does not let forge kill it.
        let _ = process.signal(Signal::SIGKILL);
    }
    remove_slice(slice)
}

/// Stops the slice of a command that has ended, within 10 seconds.
///
/// # Errors
/// `Kind::Bus` when systemd cannot be reached.
pub(super) fn remove_slice(slice: &str) -> Result<()> {
    Manager::connect()?.stop(&[slice.to_owned()], Deadline::after(AFTER_KILL)).map(drop)
}

/// Thaws a unit, and the units inside it. forge asks systemd over a new connection, since the bus may have
/// restarted. If systemd does not answer, forge writes to the kernel's `cgroup.freeze`.
///
/// # Errors
/// systemd's error, when neither systemd nor the kernel thaws a unit.
pub(super) fn thaw(unit: &str, group: &Cgroup) -> Result<()> {
    end_tree::thaw(unit, group, |unit, group| {
        match Manager::connect().and_then(|manager| manager.thaw(unit, group)) {
            Err(error) if group.is_freezing() => group.thaw().map_err(|_| error),
            _ => Ok(()),
        }
    })
}

/// Ends all processes of a control group, and proves it. Returns how many there were.
///
/// # Errors
/// `Kind::Failed` when a process is left 10 seconds after SIGKILL, which follows SIGTERM after 5 seconds.
pub(super) fn end_processes(group: &Cgroup) -> Result<u64> {
    let processes = group.processes().len() as u64;
    end_tree::ask_then_kill(group, PATIENCE)?;
    end_tree::prove_gone(group, AFTER_KILL, |left| {
        Error::failed(format!("processes {left} of the command did not end")).hint(SURVIVES_KILL)
    })?;
    Ok(processes)
}
