//! Guarding: commands that may not disturb what matters, and a watch that sees who does.

pub mod gone;
mod listening;
pub mod run;
mod settle;
pub mod snapshot;
mod surroundings;
pub mod watch;

use super::World;
use crate::words::error::{Error, Kind, Result};
use crate::words::guard::ledger::Known;
use crate::words::guard::witness::{Guarded, Manager};

/// The units to guard: those that are configured, and those that were named.
///
/// # Errors
/// When a name cannot be one.
pub fn units(world: &World, user: &[String], system: &[String]) -> Result<Vec<Guarded>> {
    let mut units = world.config.guard.all_units()?;
    for (manager, names) in [(Manager::User, user), (Manager::System, system)] {
        for name in names {
            units.push(Guarded::parse(manager, name)?);
        }
    }
    units.sort();
    units.dedup();
    Ok(units)
}

/// Who guards a unit that is not there guards nothing: a name was mistyped.
fn all_known<'a>(units: impl IntoIterator<Item = (&'a Guarded, &'a str)>) -> Result<()> {
    for (unit, load) in units {
        if load == "not-found" {
            let other = match unit.manager {
                Manager::User => "if it is one of the machine's, name it with --system-unit",
                Manager::System => "if it is one of your own manager's, name it with --unit",
            };
            let error = format!("there is no unit {} of the {} manager", unit.unit, unit.manager.word());
            return Err(Error::new(Kind::Missing, error).hint(other));
        }
    }
    Ok(())
}

/// The control groups of units, without those that have none.
fn groups(units: &[Known]) -> Vec<String> {
    let groups = units.iter().map(|known| known.last.control_group.clone());
    groups.filter(|group| !group.is_empty()).collect()
}
