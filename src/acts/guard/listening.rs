//! Watching a command that may not listen on a TCP port. Nothing tells of a listener; the tables of
//! the kernel are looked at again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::hands::cgroup::Cgroup;
use crate::hands::clock::{boot_us, micros};
use crate::hands::ports::{self, Holder, Row};
use crate::words::error::Result;

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Looks take at most one part in so many of the time.
const SHARE: u64 = 10;

/// A socket that so many looks find with nobody of the command is another's.
const LOOKS: u8 = 3;

/// The watch over a command's listeners.
#[derive(Debug)]
pub(super) struct Listening {
    /// The sockets that are not the command's.
    others: BTreeSet<u64>,
    /// Those that may not be, with the looks that found so.
    unclear: BTreeMap<u64, u8>,
    /// When to look next, in microseconds since the boot.
    next: u64,
}

impl Listening {
    /// Begins; what listens now is not the command's, which may have it from its caller.
    pub(super) fn begin() -> Result<Self> {
        let others = ports::rows()?.into_iter().map(|row| row.inode).collect();
        Ok(Self { others, unclear: BTreeMap::new(), next: 0 })
    }

    /// When to look next, in microseconds since the boot.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Looks; returns a listener that is the command's.
    pub(super) fn look(&mut self, group: &Cgroup) -> Result<Option<(Row, Holder)>> {
        let begun = boot_us();
        let rows: Vec<Row> =
            ports::rows()?.into_iter().filter(|row| !self.others.contains(&row.inode)).collect();
        let found = if rows.is_empty() { None } else { self.find(rows, group) };
        let now = boot_us();
        self.next = now + micros(PAUSE).max((now - begun) * SHARE);
        Ok(found)
    }

    fn find(&mut self, rows: Vec<Row>, group: &Cgroup) -> Option<(Row, Holder)> {
        let mut holders = ports::holders(&group.processes(), &rows);
        for row in rows {
            if let Some(holder) = holders.remove(&row.inode) {
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
