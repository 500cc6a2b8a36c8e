//! Guarding: commands that may not disturb what matters, and a watch that sees who does.

pub mod cleanup;
mod freezing;
mod listening;
mod meter;
pub mod order;
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

/// The units to guard: those that are configured, and those that were named.
///
/// # Errors
/// When a name cannot be one.
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

/// Who guards a unit that is not there guards nothing: a name was mistyped.
fn all_known<'a>(units: impl IntoIterator<Item = (&'a Guarded, &'a str)>) -> Result<()> {
    for (unit, load) in units {
        if load == "not-found" {
            let other = match unit.manager {
                ManagerKind::User => "if it is one of the machine's, name it with --system-unit",
                ManagerKind::System => "if it is one of your own manager's, name it with --unit",
            };
            let error = format!("there is no unit {} of the {} manager", unit.unit, unit.manager.word());
            return Err(Error::new(Kind::Missing, error).hint(other));
        }
    }
    Ok(())
}

/// The pressure on the units since the last look, of each resource the highest; `None` where there is
/// no unit, or the kernel does not measure it.
fn pressure_on(units: &[Known], gauge: &mut Gauge) -> Option<Pressure> {
    let on = |known: &Known| match known.last.control_group.as_str() {
        // Nothing of it runs, and nothing waits.
        "" => Some(Pressure::default()),
        group => gauge.look(&Whose::Group(group.to_owned())),
    };
    units.iter().filter_map(on).reduce(Pressure::max)
}
