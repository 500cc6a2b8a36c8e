//! What is to be done when a guard is gone, however that came: nothing stays frozen, and nothing runs
//! on unguarded.

use std::time::Duration;

use crate::acts::World;
use crate::hands::cgroup::Cgroup;
use crate::hands::clock::Deadline;
use crate::hands::journal;
use crate::hands::process::{Process, is_alive};
use crate::hands::systemd::Manager;
use crate::words::error::{Error, Result};
use crate::words::event::{Event, Subject};
use crate::words::unit::{self, FORGE_SLICE, GUARD_SLICE};

/// How long the processes of a command may take to end when asked.
const ASKED: Duration = Duration::from_secs(5);

/// How long the kernel may take after a kill.
const KILLED: Duration = Duration::from_secs(10);

/// Waits until the guard is gone: the very process that started then, in clock ticks since the boot.
///
/// # Errors
/// When it cannot be watched.
pub fn wait_for_guard(pid: u32, start: u64) -> Result<()> {
    // First the descriptor: from then on the number cannot become another's.
    let process = Process::open(pid)?.filter(|_| is_alive(pid, start));
    if let Some(process) = process {
        process.wait(Deadline::after(Duration::MAX));
    }
    Ok(())
}

/// Thaws the command of a guard; where the guard is gone, ends it too, unless it may be left.
///
/// # Errors
/// When something stays.
pub fn command(world: &World, id: &str, guard: (u32, u64), leave: bool) -> Result<()> {
    let manager = world.manager()?;
    let scope = unit::guard_scope(id);
    let group = Cgroup::new(&manager.control_group()?).child(FORGE_SLICE).child(GUARD_SLICE).child(&scope);
    if !group.exists() {
        return Ok(());
    }
    if group.is_frozen() {
        thaw(&scope, &group)?;
        journal::record(&Event::Thawed { subject: Subject::Guarded(id.to_owned()) });
    }
    if !leave && !is_alive(guard.0, guard.1) {
        end_tree(&group)?;
    }
    Ok(())
}

/// Lets a unit run that is frozen: by its manager, over a connection of its own, since the bus may be
/// another one than before. Where that does not answer, by the kernel.
///
/// # Errors
/// When it stays frozen.
pub(super) fn thaw(unit: &str, group: &Cgroup) -> Result<()> {
    match Manager::connect().and_then(|manager| manager.thaw(unit)) {
        Err(error) if group.is_frozen() => group.thaw().map_err(|_| error),
        _ => Ok(()),
    }
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
