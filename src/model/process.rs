//! The identity of a process.

use serde::{Deserialize, Serialize};

/// A pid and the start time of the process that has it: together they name one process for ever,
/// even if the kernel reuses the pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    pub pid: u32,
    /// Start time, in clock ticks since boot (field 22 of `proc_pid_stat(5)`).
    pub start: u64,
}
