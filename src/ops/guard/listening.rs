//! The search for TCP listeners of a command that may not listen. The kernel does not report new listeners,
//! so forge reads the kernel's socket tables periodically.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::error::Result;
use crate::model::guard::report::Denial;
use crate::sys::cgroup::Cgroup;
use crate::sys::clock::{boot_us, micros};
use crate::sys::proc;
use crate::sys::tcp::{self, Holder, SocketRow};

/// The pause between two scans.
const PAUSE: Duration = Duration::from_millis(50);

/// The pause between two scans where Landlock denies bind(2). Then only two kinds of listeners are left to
/// find: those that listen without bind(2), on a port that the kernel chooses, and those of Multipath TCP.
const BEHIND_KERNEL: Duration = Duration::from_millis(250);

/// Scans take at most one part in `SHARE` of the time.
const SHARE: u64 = 50;

/// A socket belongs to another program if this many scans find no process of the command that holds it.
const MAX_SCANS: u8 = 3;

/// The search for listeners of one command.
#[derive(Debug)]
pub(super) struct Listening {
    /// The inodes of the sockets that do not belong to the command.
    others: BTreeSet<u64>,
    /// The inodes of sockets without a known holder, with the number of scans that found none.
    unclear: BTreeMap<u64, u8>,
    pause: Duration,
    /// When the next scan is due, in microseconds since the boot.
    due: u64,
}

impl Listening {
    /// Starts the search. Sockets that listen now do not count as the command's: it may inherit them from its
    /// caller.
    ///
    /// # Errors
    /// `Kind::Failed` when the kernel's tables cannot be read.
    pub(super) fn new(denial: Denial) -> Result<Self> {
        let others = tcp::rows()?.into_iter().map(|row| row.inode).collect();
        let pause = match denial {
            Denial::KernelAndWatch => BEHIND_KERNEL,
            Denial::Watch => PAUSE,
        };
        Ok(Self { others, unclear: BTreeMap::new(), pause, due: 0 })
    }

    /// When the next scan is due, in microseconds since the boot.
    pub(super) fn due(&self) -> u64 {
        self.due
    }

    /// Scans the kernel's tables. Returns a listener of the command, with the process that holds it.
    ///
    /// # Errors
    /// `Kind::Failed` when the kernel's tables cannot be read.
    pub(super) fn find_listener(&mut self, group: &Cgroup) -> Result<Option<(SocketRow, Holder)>> {
        let begun = boot_us();
        let rows: Vec<SocketRow> =
            tcp::rows()?.into_iter().filter(|row| !self.others.contains(&row.inode)).collect();
        let found = if rows.is_empty() { None } else { self.listener_among(rows, group) };
        let now = boot_us();
        self.due = now + micros(self.pause).max((now - begun) * SHARE);
        Ok(found)
    }

    fn listener_among(&mut self, rows: Vec<SocketRow>, group: &Cgroup) -> Option<(SocketRow, Holder)> {
        let processes = group.processes();
        let mut holders = tcp::holders(&processes, &rows);
        for row in rows {
            if let Some(holder) = holders.remove(&row.inode) {
                return Some((row, holder));
            }
            if self.unclear.get(&row.inode) == Some(&(MAX_SCANS - 1))
                && let Some(holder) = hidden_holder(&processes, &row)
            {
                return Some((row, holder));
            }
            // A process that forks and ends during a scan hides the socket that it hands on from that scan,
            // but not from all of them.
            let scans = self.unclear.entry(row.inode).or_default();
            *scans += 1;
            if *scans == MAX_SCANS {
                self.unclear.remove(&row.inode);
                self.others.insert(row.inode);
            }
        }
        None
    }
}

/// A process of the command whose descriptors nobody may read (prctl(2), `PR_SET_DUMPABLE`). It counts as the
/// holder if its user owns the socket, and no process with readable descriptors holds the socket.
fn hidden_holder(processes: &[u32], row: &SocketRow) -> Option<Holder> {
    let hidden = processes.iter().find_map(|pid| tcp::hidden(*pid, row.uid))?;
    let all = tcp::holders(&proc::pids(), std::slice::from_ref(row));
    all.is_empty().then_some(hidden)
}
