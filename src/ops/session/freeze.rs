//! Freezes and thaws sessions: suspends all their processes, and lets them run again.

use super::observe::ObservedSession;
use crate::model::error::{Error, Result};
use crate::model::event::{Event, Subject};
use crate::model::unit;
use crate::ops::Context;
use crate::sys::{cgroup, journal};

/// Freezes the sessions, and records each freeze in the journal.
///
/// # Errors
/// [`Kind::Usage`](crate::model::error::Kind::Usage) if this process runs in one of the sessions; none is
/// frozen then. [`Kind::Failed`](crate::model::error::Kind::Failed) if the manager cannot freeze a session;
/// the others are frozen all the same.
pub fn freeze(context: &Context, found: &[ObservedSession]) -> Result<()> {
    let own = cgroup::of_process(std::process::id()).and_then(|path| unit::session_of_cgroup(&path));
    if let Some(inside) = found.iter().find(|found| Some(&found.id) == own.as_ref()) {
        return Err(Error::usage(format!("{} is the session that this command runs in", inside.id))
            .hint("freeze it from outside: no process in it could thaw it again"));
    }
    let manager = context.manager()?;
    try_each(found.iter().filter(|found| !found.cgroup.is_frozen()), |found| {
        manager.freeze(&unit::slice(&found.id))?;
        journal::record(&Event::Frozen { subject: Subject::Session(found.id.clone()), pressure: None });
        Ok(())
    })
}

/// Thaws the sessions, and records each thaw in the journal.
///
/// # Errors
/// [`Kind::Failed`](crate::model::error::Kind::Failed) if the manager cannot thaw a session; the others are
/// thawed all the same.
pub fn thaw(context: &Context, found: &[ObservedSession]) -> Result<()> {
    let manager = context.manager()?;
    try_each(found.iter().filter(|found| found.cgroup.is_freezing()), |found| {
        manager.thaw(&unit::slice(&found.id), &found.cgroup)?;
        journal::record(&Event::Thawed { subject: Subject::Session(found.id.clone()) });
        Ok(())
    })
}

/// Calls `act` for every session, and returns the first error at the end.
fn try_each<'a>(
    found: impl Iterator<Item = &'a ObservedSession>,
    act: impl Fn(&ObservedSession) -> Result<()>,
) -> Result<()> {
    let mut done = Ok(());
    for found in found {
        done = done.and(act(found));
    }
    done
}
