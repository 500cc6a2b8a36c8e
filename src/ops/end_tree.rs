//! Ending all processes of a control group: thaw, ask, wait, kill, and prove that none is left. `forge stop`
//! and `forge guard` share this code, each with deadlines of its own.

use std::time::Duration;

use crate::model::error::{Error, Result};
use crate::sys::cgroup::Cgroup;
use crate::sys::clock::Deadline;

/// Why a process can survive SIGKILL, for the hint of an error.
pub const SURVIVES_KILL: &str =
    "a process in an uninterruptible system call (state D) ends when that call ends";

/// Thaws a unit, and the units inside it that a user froze separately, by `thaw_unit`. A frozen process ends
/// only by SIGKILL, and systemd does not stop a frozen unit.
///
/// # Errors
/// The first error of `thaw_unit`.
pub fn thaw(unit: &str, group: &Cgroup, thaw_unit: impl Fn(&str, &Cgroup) -> Result<()>) -> Result<()> {
    if group.is_freezing() {
        thaw_unit(unit, group)?;
    }
    // systemd 257 would keep a frozen unit inside, and its name, for ever.
    group.frozen_inside().iter().try_for_each(|inside| thaw_unit(inside, &group.child(inside)))
}

/// Sends SIGTERM to all processes of the group, and kills those that are left after `patience`. Returns how
/// many processes it killed.
///
/// # Errors
/// `Kind::Failed` when the kernel refuses to kill, or the group's state cannot be read.
pub fn ask_then_kill(group: &Cgroup, patience: Duration) -> Result<u64> {
    group.terminate()?;
    if group.wait_empty(Deadline::after(patience))? { Ok(0) } else { kill(group) }
}

/// Kills all processes of the group. Returns how many there were.
///
/// # Errors
/// `Kind::Failed` when the kernel refuses.
pub fn kill(group: &Cgroup) -> Result<u64> {
    let processes = group.processes().len() as u64;
    group.kill()?;
    Ok(processes)
}

/// Proves that the group is empty: waits until the kernel reports that no process is left.
///
/// # Errors
/// When processes are left after `patience`: the error that `failure` makes of their pids.
pub fn prove_gone(group: &Cgroup, patience: Duration, failure: impl FnOnce(&str) -> Error) -> Result<()> {
    if group.wait_empty(Deadline::after(patience))? {
        return Ok(());
    }
    let left: Vec<String> = group.processes().iter().map(u32::to_string).collect();
    Err(failure(&left.join(", ")))
}
