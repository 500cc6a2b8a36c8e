//! Stops of a supervisor's service that the manager announced to nobody.
//!
//! Between the moment when the pause before a restart is over and the moment when the next supervisor
//! starts, the manager runs no command of the service at a stop, and `forge-pause-NAME.service` has ended
//! already (`ops/supervise/exited`). The manager ends the session then, since its scope is `PartOf=` the
//! service, but forge has recorded no stop. On Debian 12 this took some 60 ms of each automatic restart, and
//! one of about 100 runs of the churn test met it: the next restore started the session again.

use super::client::change_record;
use crate::model::error::Result;
use crate::model::guard::unit_state::{Guarded, ManagerKind};
use crate::model::session::name::SessionId;
use crate::model::session::restore::Kept;
use crate::model::session::spec::Keeper;
use crate::model::supervision::Record;
use crate::model::unit;
use crate::ops::Context;
use crate::ops::session::stop::mark_over;
use crate::sys::systemd::unit_watch::{BRIEFLY, observe};

/// Marks the sessions whose service was stopped unseen as over, so that they are not restored. Their
/// specifications stay, so that a start of the service starts them again. Where the manager does not answer, nothing is
/// marked: a session that comes back is better than one that is missing.
pub fn mark_missed_stops(context: &Context) {
    let marked = candidates(context).map(|sessions| {
        for id in sessions {
            if let Err(error) = mark_if_stopped(context, &id) {
                tracing::debug!("cannot tell whether the supervisor of {id} was stopped: {error}");
            }
        }
    });
    if let Err(error) = marked {
        tracing::debug!("cannot look for stopped supervisors: {error}");
    }
}

/// The sessions whose next supervisor this manager was to start by itself. In another life of the manager
/// nobody can tell why a session has no supervisor.
fn candidates(context: &Context) -> Result<Vec<SessionId>> {
    let manager_boot_us = context.manager()?.up_since_us()?;
    let was_to_follow = |record: &Record| record.by_itself && record.manager_boot_us == Some(manager_boot_us);
    let mut candidates = Vec::new();
    for (id, kept) in context.store.specs()? {
        let is_restored = matches!(kept, Kept::Spec(spec) if spec.keeper == Keeper::Supervisor && !spec.over);
        if is_restored
            && context.store.record(&id).ok().flatten().is_some_and(|record| was_to_follow(&record))
        {
            candidates.push(id);
        }
    }
    Ok(candidates)
}

fn mark_if_stopped(context: &Context, id: &SessionId) -> Result<()> {
    let service = Guarded { manager: ManagerKind::User, unit: unit::service(id) };
    // State and job of one moment: a service that is being restarted is inactive, and has a job.
    let observed = observe(&[service], BRIEFLY)?;
    if observed.iter().all(|one| one.state.active == "inactive" && !one.has_job) {
        mark_over(context, id)?;
        change_record(context, id, |record| record.by_itself = false)?;
    }
    Ok(())
}
