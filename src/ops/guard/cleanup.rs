//! What is to be done when a guard is gone, however that came: nothing stays frozen, and nothing runs
//! on unguarded.

use std::time::Duration;

use crate::model::error::{Error, Result};
use crate::model::event::{Event, Subject};
use crate::model::process::ProcessId;
use crate::model::session::condition::ProcessLife;
use crate::model::unit::{guard_of_slice, path_of_slice};
use crate::ops::Context;
use crate::sys::cgroup::Cgroup;
use crate::sys::clock::Deadline;
use crate::sys::journal;
use crate::sys::process::{Process, is_alive, life};
use crate::sys::signals::Signal;
use crate::sys::systemd::Manager;

/// How long the processes of a command may take to end when asked.
const ASKED: Duration = Duration::from_secs(5);

/// How long the kernel and the manager may take after a kill.
const KILLED: Duration = Duration::from_secs(10);

/// How often the keeper looks whether its guard is stopped: a process tells nobody but its parent.
const LOOK: Duration = Duration::from_secs(30);

/// Waits until the guard is gone. One that is stopped cannot thaw its command: then this does.
///
/// # Errors
/// When it cannot be watched.
pub fn wait_for_guard(context: &Context, slice: &str, guard: ProcessId) -> Result<()> {
    let Some(process) = Process::open_that(guard)? else { return Ok(()) };
    let mut was_stopped = false;
    while !process.wait(Deadline::after(LOOK)) {
        let is_stopped = life(guard) == ProcessLife::Stopped;
        // Twice in a row: it may be about to go on.
        if is_stopped && was_stopped {
            thaw_command(&group(context, slice)?, slice)?;
        }
        was_stopped = is_stopped;
    }
    Ok(())
}

fn group(context: &Context, slice: &str) -> Result<Cgroup> {
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

/// Thaws the command of a guard; where the guard is gone, ends it too, unless it may stay.
///
/// # Errors
/// When something stays.
pub fn command(
    context: &Context,
    slice: &str,
    guard: ProcessId,
    command: ProcessId,
    may_stay: bool,
) -> Result<()> {
    let group = group(context, slice)?;
    thaw_command(&group, slice)?;
    if may_stay || is_alive(guard) {
        return Ok(());
    }
    end_tree(&group)?;
    // It may have moved to another group of the user's.
    if let Some(process) = Process::open_that(command)? {
        // One that became another user's there may not be killed.
        let _ = process.signal(Signal::SIGKILL);
    }
    remove(slice)
}

/// Takes the slice of a command away that has ended.
///
/// # Errors
/// When the manager cannot be reached.
pub(super) fn remove(slice: &str) -> Result<()> {
    Manager::connect()?.stop(&[slice.to_owned()], Deadline::after(KILLED)).map(drop)
}

/// Lets a unit run that is frozen: by its manager, over a connection of its own, since the bus may be
/// another one than before. Where that does not answer, by the kernel.
///
/// # Errors
/// When it stays frozen.
pub(super) fn thaw(unit: &str, group: &Cgroup) -> Result<()> {
    let thaw =
        |unit: &str, group: &Cgroup| match Manager::connect().and_then(|manager| manager.thaw(unit, group)) {
            Err(error) if group.is_freezing() => group.thaw().map_err(|_| error),
            _ => Ok(()),
        };
    if group.is_freezing() {
        thaw(unit, group)?;
    }
    // A unit inside that somebody froze by itself.
    group.frozen_inside().iter().try_for_each(|inside| thaw(inside, &group.child(inside)))
}

/// Ends all processes of a control group, and proves it; returns how many there were.
///
/// # Errors
/// When one stays.
pub(super) fn end_tree(group: &Cgroup) -> Result<u64> {
    let processes = group.processes().len() as u64;
    group.terminate()?;
    if !group.wait_empty(Deadline::after(ASKED))? {
        group.kill()?;
    }
    if group.wait_empty(Deadline::after(KILLED))? {
        return Ok(processes);
    }
    let left: Vec<String> = group.processes().iter().map(u32::to_string).collect();
    Err(Error::failed(format!("processes {} of the command do not end", left.join(", ")))
        .hint("a process that hangs in the kernel (state D) ends when what it waits for does"))
}
