//! Snapshots of the guarded units, to guard work of several commands.

use std::path::Path;

use super::settle::{ChangeRecorder, wait_until_settled};
use super::{require_known, surroundings};
use crate::model::error::{Error, Result};
use crate::model::event::Event;
use crate::model::guard::snapshot::{Snapshot, SnapshotUnit, VERSION};
use crate::model::guard::timeline::{Changed, Timeline};
use crate::model::guard::unit_state::Guarded;
use crate::ops::Context;
use crate::sys::cgroup::Cgroup;
use crate::sys::clock::now_us;
use crate::sys::files::Entry;
use crate::sys::systemd::unit_watch::BRIEFLY;
use crate::sys::systemd::{self, Manager, boot_id};
use crate::sys::{env, files, journal};

/// A snapshot of the current states of the units.
///
/// # Errors
/// `Kind::Bus` when a manager cannot be reached; `Kind::Missing` when a unit does not exist.
pub fn take_snapshot(units: &[Guarded]) -> Result<Snapshot> {
    let readings = systemd::unit_watch::observe(units, BRIEFLY)?;
    require_known(units.iter().zip(&readings).map(|(unit, reading)| (unit, reading.state.load.as_str())))?;
    let seen = units.iter().cloned().zip(readings);
    snapshot_of(seen.map(|(unit, reading)| SnapshotUnit { unit, state: reading.state }).collect())
}

/// A snapshot of units whose states were read just now.
///
/// # Errors
/// `Kind::Failed` when the machine id or the boot id cannot be read.
pub(super) fn snapshot_of(units: Vec<SnapshotUnit>) -> Result<Snapshot> {
    Ok(Snapshot {
        version: VERSION,
        machine: systemd::machine_id()?,
        boot: boot_id()?,
        at_us: now_us(),
        units,
    })
}

/// Whether the snapshot is of this boot of the machine. Otherwise its units cannot be compared.
///
/// # Errors
/// When the snapshot is of another machine, or the machine id or the boot id cannot be read.
pub(super) fn is_of_this_boot(snapshot: &Snapshot) -> Result<bool> {
    snapshot.is_of(&systemd::machine_id()?, &boot_id()?)
}

/// Writes a snapshot to a file.
///
/// # Errors
/// `Kind::Usage` when `path` is not a regular file; `Kind::Failed` when the file cannot be written. The old
/// file is then unchanged.
pub fn write(path: &Path, snapshot: &Snapshot) -> Result<()> {
    // Resolve a symlink: forge replaces the file behind the link, not the link.
    let path = env::absolute(Some(path))?;
    if (files::exists(&path) && files::entry(&path) != Entry::File) || path.ends_with("-") {
        return Err(Error::usage(format!("{} is not a regular file", path.display()))
            .hint("name a new or existing file: -o before.json"));
    }
    files::write_document(&path, snapshot)
}

/// The result of a comparison.
#[derive(Debug)]
pub enum Compared {
    /// The machine has booted since the snapshot.
    Rebooted,
    /// The units, with their states at the snapshot and now.
    Units(Timeline),
}

/// A comparison in progress.
struct Comparison {
    timeline: Timeline,
    disturbed: Vec<Changed>,
}

impl ChangeRecorder for Comparison {
    fn timeline(&mut self) -> &mut Timeline {
        &mut self.timeline
    }

    fn report_change(&mut self, changed: &Changed) {
        if changed.change.disturbs() {
            self.disturbed.push(changed.clone());
        }
    }
}

/// Compares the units with a snapshot. Returns the snapshot and the result.
///
/// # Errors
/// When the snapshot cannot be read, or is of another machine.
pub fn check(context: &Context, path: &Path) -> Result<(Snapshot, Compared)> {
    let unusable = |error: Error| {
        error
            .while_(path.display())
            .hint(format!("make a snapshot: forge guard snapshot -o {}", path.display()))
    };
    let absolute = env::absolute(Some(path))?;
    let snapshot: Snapshot =
        files::read_document(&absolute)?.ok_or_else(|| unusable(Error::failed("the file does not exist")))?;
    if !is_of_this_boot(&snapshot)? {
        return Ok((snapshot, Compared::Rebooted));
    }
    let units = snapshot.units.iter().map(|seen| (seen.unit.clone(), seen.state.clone()));
    let mut checked = Comparison { timeline: Timeline::new(units), disturbed: Vec::new() };
    let settled = wait_until_settled(&mut checked);
    let Comparison { mut timeline, disturbed } = checked;
    if let Err(error) = settled {
        timeline.set_unknown(error);
    }
    let group = context.manager().and_then(Manager::control_group);
    let surroundings =
        group.map(|group| surroundings::surroundings(&Cgroup::new(&group))).unwrap_or_default();
    for changed in disturbed {
        journal::record(&Event::GuardDisturbed {
            guard: None,
            changed: Box::new(changed),
            sessions: surroundings.sessions.clone(),
            commands: surroundings.commands.clone(),
        });
    }
    Ok((snapshot, Compared::Units(timeline)))
}
