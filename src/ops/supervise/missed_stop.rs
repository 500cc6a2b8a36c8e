//! Stops of a supervisor's service for which systemd runs no command of forge.
//!
//! systemd runs no command of a service that is stopped between the end of the pause before an automatic restart
//! and the start of the next supervisor. `forge-pause-NAME.service` has ended by then, too
//! (`ops/supervise/supervisor_exited`). systemd still ends the session, because the session's scope is `PartOf=` the
//! service. But forge records no stop, and the next restore would start the session again. On Debian 12 the gap
//! took 60 ms (systemd 252); one of twelve churns of five minutes met it.

use super::client::change_record;
use crate::model::error::Result;
use crate::model::guard::unit_state::{Guarded, ManagerKind};
use crate::model::session::name::SessionId;
use crate::model::session::spec::Keeper;
use crate::model::unit;
use crate::ops::Context;
use crate::ops::session::stop::mark_over;
use crate::sys::systemd::unit_watch::{BRIEFLY, observe};

/// Marks each session as over whose service was stopped in that gap, so that no restore starts it. The
/// specification stays, so that a user can start the service again. If the manager does not answer within 5
/// seconds, forge marks nothing: a session that comes back is better than one that is missing.
pub fn mark_missed_stops(context: &Context) {
    let sessions = context.store.recorded().unwrap_or_else(|error| {
        tracing::debug!("cannot look for stopped supervisors: {error}");
        Vec::new()
    });
    for id in sessions {
        if let Err(error) = mark_if_stopped(context, &id) {
            tracing::debug!("cannot tell whether the supervisor of {id} was stopped: {error}");
        }
    }
}

fn mark_if_stopped(context: &Context, id: &SessionId) -> Result<()> {
    let Some(record) = context.store.record(id)?.filter(|record| record.by_itself) else { return Ok(()) };
    // Another manager starts no supervisor by itself, so there the absence of one proves nothing.
    if record.manager_boot_us != Some(context.manager()?.up_since_us()?) {
        return Ok(());
    }
    let spec = context.store.spec(id)?;
    if !spec.is_some_and(|spec| spec.keeper == Keeper::Supervisor && !spec.over) {
        return Ok(());
    }
    let service = Guarded { manager: ManagerKind::User, unit: unit::service(id) };
    // One reading has the state and the job of the same moment. A service that systemd restarts is inactive for
    // a moment, and has a job then.
    let observed = observe(&[service], BRIEFLY)?;
    if observed.iter().all(|one| one.state.active == "inactive" && !one.has_job) {
        mark_over(context, id)?;
        change_record(context, id, |record| record.by_itself = false)?;
    }
    Ok(())
}
