//! Freezing and thawing: all processes of a session stand still, and run again.

use super::observe::ObservedSession;
use crate::model::error::{Error, Result};
use crate::model::event::{Event, Subject};
use crate::model::unit;
use crate::ops::Context;
use crate::sys::{cgroup, journal};

/// Freezes the sessions.
///
/// # Errors
/// When forge itself would stand still with one, or the manager cannot; the others are frozen all the same.
pub fn freeze(context: &Context, found: &[ObservedSession]) -> Result<()> {
    let own = cgroup::of_process(std::process::id()).and_then(|path| unit::session_of_cgroup(&path));
    if let Some(inside) = found.iter().find(|found| Some(&found.id) == own.as_ref()) {
        return Err(Error::usage(format!("{} is the session that this command runs in", inside.id))
            .hint("freeze it from outside: nothing in it could thaw it again"));
    }
    let manager = context.manager()?;
    each(found.iter().filter(|found| !found.cgroup.is_frozen()), |found| {
        manager.freeze(&unit::slice(&found.id))?;
        journal::record(&Event::Frozen { subject: Subject::Session(found.id.clone()), pressure: None });
        Ok(())
    })
}

/// Lets the sessions run again.
///
/// # Errors
/// When the manager cannot; the others are thawed all the same.
pub fn thaw(context: &Context, found: &[ObservedSession]) -> Result<()> {
    let manager = context.manager()?;
    each(found.iter().filter(|found| found.cgroup.is_freezing()), |found| {
        manager.thaw(&unit::slice(&found.id), &found.cgroup)?;
        journal::record(&Event::Thawed { subject: Subject::Session(found.id.clone()) });
        Ok(())
    })
}

/// Does it for each, and returns the first error.
fn each<'a>(
    found: impl Iterator<Item = &'a ObservedSession>,
    act: impl Fn(&ObservedSession) -> Result<()>,
) -> Result<()> {
    let mut done = Ok(());
    for found in found {
        done = done.and(act(found));
    }
    done
}
