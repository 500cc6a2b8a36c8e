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
    if let Err(error) = try_mark(context) {
        tracing::debug!("cannot look for stopped supervisors: {error}");
    }
}

fn try_mark(context: &Context) -> Result<()> {
    let manager_boot_us = context.manager()?.up_since_us()?;
    // In another life of the manager nobody can tell why there is no supervisor.
    let was_to_follow = |record: &Record| record.by_itself && record.manager_boot_us == Some(manager_boot_us);
    for (id, kept) in context.store.specs()? {
        let Kept::Spec(spec) = kept else { continue };
        if spec.keeper != Keeper::Supervisor || spec.over {
            continue;
        }
        if !context.store.record(&id).ok().flatten().is_some_and(|record| was_to_follow(&record)) {
            continue;
        }
        // State and job of one moment: a service that is being restarted is inactive, and has a job.
        let service = Guarded { manager: ManagerKind::User, unit: unit::service(&id) };
        let observed = observe(&[service], BRIEFLY)?;
        if observed.iter().all(|one| one.state.active == "inactive" && !one.has_job) {
            change_record(context, &id, |record| record.by_itself = false)?;
            mark_over(context, &id)?;
        }
    }
    Ok(())
}
