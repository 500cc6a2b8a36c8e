//! Guarding: commands that must not disturb the guarded units, and a watch that records disturbances.

mod child;
pub mod cleanup;
mod freezing;
mod listening;
mod meter;
pub mod request;
mod running;
mod settle;
pub mod snapshot;
pub mod start;
mod surroundings;
pub mod watch;

use super::Context;
use crate::model::error::{Error, Kind, Result};
use crate::model::guard::pressure::Pressure;
use crate::model::guard::timeline::Known;
use crate::model::guard::unit_state::{Guarded, ManagerKind};
use crate::sys::psi::{Gauge, Whose};

/// The units to guard: the configured units, and those named on the command line. Sorted, without duplicates.
///
/// # Errors
/// [`Kind::Usage`] when a name is not a valid unit name.
pub fn units(context: &Context, user: &[String], system: &[String]) -> Result<Vec<Guarded>> {
    let mut units = context.config.guard.all_units()?;
    for (manager, names) in [(ManagerKind::User, user), (ManagerKind::System, system)] {
        for name in names {
            units.push(Guarded::parse(manager, name)?);
        }
    }
    units.sort();
    units.dedup();
    Ok(units)
}

/// Refuses units that do not exist, because their names are probably mistyped.
///
/// # Errors
/// [`Kind::Missing`] when a unit's load state is `not-found`.
fn require_known<'a>(units: impl IntoIterator<Item = (&'a Guarded, &'a str)>) -> Result<()> {
    for (unit, load) in units {
        if load == "not-found" {
            let other = match unit.manager {
                ManagerKind::User => "if it is a unit of the machine, name it with --system-unit",
                ManagerKind::System => "if it is a unit of your own manager, name it with --unit",
            };
            let error = format!("the {} manager has no unit {}", unit.manager.word(), unit.unit);
            return Err(Error::new(Kind::Missing, error).hint(other));
        }
    }
    Ok(())
}

/// The pressure on the units since the last measurement: for each resource, the highest value of any unit.
/// `None` if no unit is guarded, or if the kernel does not measure pressure.
fn pressure_on(units: &[Known], gauge: &mut Gauge) -> Option<Pressure> {
    let on = |known: &Known| match known.last.control_group.as_str() {
        // The unit has no processes, so nothing waits.
        "" => Some(Pressure::default()),
        group => gauge.sample(&Whose::Group(group.to_owned())),
    };
    units.iter().filter_map(on).reduce(Pressure::max)
}
