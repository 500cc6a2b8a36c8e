//! Freezing and thawing: all processes of a session stand still, and run again.

use super::World;
use super::observe::Found;
use crate::hands::cgroup;
use crate::hands::journal;
use crate::words::error::{Error, Result};
use crate::words::event::{Event, Subject};
use crate::words::unit;

/// Freezes the sessions.
///
/// # Errors
/// When the manager cannot, or forge itself would stand still with the session.
pub fn freeze(world: &World, found: &[Found]) -> Result<()> {
    let own = cgroup::of_process(std::process::id()).and_then(|path| unit::session_of_cgroup(&path));
    if let Some(inside) = found.iter().find(|found| Some(&found.id) == own.as_ref()) {
        return Err(Error::usage(format!("{} is the session that this command runs in", inside.id))
            .hint("freeze it from outside: nothing in it could thaw it again"));
    }
    for found in found.iter().filter(|found| !found.cgroup.is_frozen()) {
        world.manager()?.freeze(&unit::slice(&found.id))?;
        journal::record(&Event::Frozen { subject: Subject::Session(found.id.clone()), pressure: None });
    }
    Ok(())
}

/// Lets the sessions run again.
///
/// # Errors
/// When the manager cannot.
pub fn thaw(world: &World, found: &[Found]) -> Result<()> {
    for found in found.iter().filter(|found| found.cgroup.is_frozen()) {
        world.manager()?.thaw(&unit::slice(&found.id), &found.cgroup)?;
        journal::record(&Event::Thawed { subject: Subject::Session(found.id.clone()) });
    }
    Ok(())
}
