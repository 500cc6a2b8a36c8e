//! Watching a command that may not listen on a TCP port. Nothing tells of a listener; the tables of
//! the kernel are looked at again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::error::Result;
use crate::model::guard::report::Denial;
use crate::sys::cgroup::Cgroup;
use crate::sys::clock::{boot_us, micros};
use crate::sys::tcp::{self, Holder, SocketRow};

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// The pause where the kernel refuses to bind: then only what listens on whichever port is free, or by
/// Multipath TCP, is left to be seen.
const BEHIND_KERNEL: Duration = Duration::from_millis(250);

/// Looks take at most one part in so many of the time.
const SHARE: u64 = 50;

/// A socket that so many looks find with nobody of the command is another's.
const LOOKS: u8 = 3;

/// The watch over a command's listeners.
#[derive(Debug)]
pub(super) struct Listening {
    /// The sockets that are not the command's.
    others: BTreeSet<u64>,
    /// Those that may not be, with the looks that found so.
    unclear: BTreeMap<u64, u8>,
    /// The pause between two looks.
    pause: Duration,
    /// When to look next, in microseconds since the boot.
    next: u64,
}

impl Listening {
    /// Begins; what listens now is not the command's, which may have it from its caller.
    pub(super) fn begin(denial: Denial) -> Result<Self> {
        let others = tcp::rows()?.into_iter().map(|row| row.inode).collect();
        let pause = match denial {
            Denial::KernelAndWatch => BEHIND_KERNEL,
            Denial::Watch => PAUSE,
        };
        Ok(Self { others, unclear: BTreeMap::new(), pause, next: 0 })
    }

    /// When to look next, in microseconds since the boot.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Looks; returns a listener that is the command's.
    pub(super) fn look(&mut self, group: &Cgroup) -> Result<Option<(SocketRow, Holder)>> {
        let begun = boot_us();
        let rows: Vec<SocketRow> =
            tcp::rows()?.into_iter().filter(|row| !self.others.contains(&row.inode)).collect();
        let found = if rows.is_empty() { None } else { self.find(rows, group) };
        let now = boot_us();
        self.next = now + micros(self.pause).max((now - begun) * SHARE);
        Ok(found)
    }

    fn find(&mut self, rows: Vec<SocketRow>, group: &Cgroup) -> Option<(SocketRow, Holder)> {
        let processes = group.processes();
        let mut holders = tcp::holders(&processes, &rows);
        for row in rows {
            if let Some(holder) = holders.remove(&row.inode) {
                return Some((row, holder));
            }
            if self.unclear.get(&row.inode) == Some(&(LOOKS - 1))
                && let Some(holder) = hidden_holder(&processes, &row)
            {
                return Some((row, holder));
            }
            // A process that forks and ends meanwhile hides what it hands on for one look, not for all.
            let looks = self.unclear.entry(row.inode).or_default();
            *looks += 1;
            if *looks == LOOKS {
                self.unclear.remove(&row.inode);
                self.others.insert(row.inode);
            }
        }
        None
    }
}

/// A process of the command that nobody may look into (prctl(2), `PR_SET_DUMPABLE`), where nobody else
/// who can be looked into has the socket, and the two have one user.
fn hidden_holder(processes: &[u32], row: &SocketRow) -> Option<Holder> {
    let hidden = processes.iter().find_map(|pid| tcp::hidden(*pid, row.uid))?;
    let all = tcp::holders(&tcp::processes(), std::slice::from_ref(row));
    all.is_empty().then_some(hidden)
}
