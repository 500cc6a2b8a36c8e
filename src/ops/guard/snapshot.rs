//! Snapshots of the guarded units, for work of many steps.

use std::path::Path;

use super::settle::{Settling, settle};
use super::{all_known, surroundings};
use crate::model::error::{Error, Result};
use crate::model::event::Event;
use crate::model::guard::snapshot::{Snapshot, SnapshotUnit, VERSION};
use crate::model::guard::timeline::{Changed, Ledger};
use crate::model::guard::unit_state::Guarded;
use crate::ops::Context;
use crate::sys::cgroup::Cgroup;
use crate::sys::clock::now_us;
use crate::sys::systemd::unit_watch::BRIEFLY;
use crate::sys::systemd::{self, Manager, boot_id};
use crate::sys::{env, files, journal};

/// A snapshot of the units as they are.
///
/// # Errors
/// When a manager cannot be reached, or knows no such unit.
pub fn take(units: &[Guarded]) -> Result<Snapshot> {
    let looks = systemd::unit_watch::look(units, BRIEFLY)?;
    all_known(units.iter().zip(&looks).map(|(unit, look)| (unit, look.witness.load.as_str())))?;
    let seen = units.iter().cloned().zip(looks);
    of(seen.map(|(unit, look)| SnapshotUnit { unit, witness: look.witness }).collect())
}

/// A snapshot of units that look so now.
pub(super) fn of(units: Vec<SnapshotUnit>) -> Result<Snapshot> {
    Ok(Snapshot {
        version: VERSION,
        machine: systemd::machine_id()?,
        boot: boot_id()?,
        at_us: now_us(),
        units,
    })
}

/// Whether a snapshot can be compared with this machine as it is: `false` when that has booted since.
pub(super) fn is_of_this_boot(snapshot: &Snapshot) -> Result<bool> {
    snapshot.is_of(&systemd::machine_id()?, &boot_id()?)
}

/// Writes a snapshot.
///
/// # Errors
/// When it cannot be written; an older one is then as it was.
pub fn write(path: &Path, snapshot: &Snapshot) -> Result<()> {
    // Where a link leads to: a file is put in its place, not in that of the link.
    let path = env::absolute(Some(path))?;
    if path.symlink_metadata().is_ok_and(|metadata| !metadata.is_file()) || path.ends_with("-") {
        return Err(Error::usage(format!("{} is no file that could be written anew", path.display()))
            .hint("name a file, there or not: -o before.json"));
    }
    files::write_document(&path, snapshot)
}

/// What a comparison showed.
#[derive(Debug)]
pub enum Compared {
    /// The machine has booted since.
    Rebooted,
    /// The units, as they were and are.
    Units(Ledger),
}

/// A comparison that is under way.
struct Checked {
    ledger: Ledger,
    disturbed: Vec<Changed>,
}

impl Settling for Checked {
    fn ledger(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    fn tell(&mut self, changed: &Changed) {
        if changed.change.disturbs() {
            self.disturbed.push(changed.clone());
        }
    }
}

/// Compares the units with a snapshot.
///
/// # Errors
/// When the snapshot cannot be used.
pub fn check(context: &Context, path: &Path) -> Result<(Snapshot, Compared)> {
    let unusable = |error: Error| {
        error.while_(path.display()).hint(format!("take one: forge guard snapshot -o {}", path.display()))
    };
    let absolute = env::absolute(Some(path))?;
    let snapshot: Snapshot =
        files::read_document(&absolute)?.ok_or_else(|| unusable(Error::failed("there is no such file")))?;
    if !is_of_this_boot(&snapshot)? {
        return Ok((snapshot, Compared::Rebooted));
    }
    let units = snapshot.units.iter().map(|seen| (seen.unit.clone(), seen.witness.clone()));
    let mut checked = Checked { ledger: Ledger::new(units), disturbed: Vec::new() };
    let settled = settle(&mut checked);
    let Checked { mut ledger, disturbed } = checked;
    if let Err(error) = settled {
        ledger.cannot_tell(error);
    }
    let group = context.manager().and_then(Manager::control_group);
    let surroundings = group.map(|group| surroundings::look(&Cgroup::new(&group))).unwrap_or_default();
    for changed in disturbed {
        journal::record(&Event::GuardDisturbed {
            guard: None,
            changed: Box::new(changed),
            sessions: surroundings.sessions.clone(),
            commands: surroundings.commands.clone(),
        });
    }
    Ok((snapshot, Compared::Units(ledger)))
}
