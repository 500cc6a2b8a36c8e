//! What is done after each end of a supervisor, and at a stop of its service while there is none.

use std::time::Duration;

use super::client::note;
use crate::model::error::Result;
use crate::model::internal_command::InternalCommand;
use crate::model::session::name::SessionId;
use crate::model::supervision::status;
use crate::model::unit;
use crate::ops::Context;
use crate::ops::session::stop;
use crate::sys::clock::Deadline;
use crate::sys::systemd::{Manager, PendingJob};
use crate::sys::{env, sd_notify};

/// How long the manager may take for a unit that has no process.
const UNIT: Duration = Duration::from_secs(2);

/// What is done after each end of a supervisor: where its service is being stopped, the session ends
/// with it; where it is only replaced, or the whole machine goes down, it stays as it is.
///
/// # Errors
/// When something of the session is left.
pub fn ended(context: &Context, id: &SessionId) -> Result<()> {
    let (manager, unit) = (context.manager()?, unit::service(id));
    let is_followed = status::is_followed(sd_notify::exit_status());
    let mut asked = manager.asked(&unit)?;
    if is_followed && asked == PendingJob::Nothing && !manager.is_going_down() {
        // In the pause before the next supervisor the manager calls nothing at a stop.
        if let Err(error) = watch_the_pause(manager, id) {
            tracing::debug!("{error}");
        }
        // It may have been stopped before that was there.
        asked = manager.asked(&unit)?;
    }
    note_who_starts_the_next(context, id, is_followed && asked == PendingJob::Nothing);
    match asked {
        PendingJob::Stop if !manager.is_going_down() => stop::stop_with_service(context, id)?,
        PendingJob::Nothing if !is_followed => {}
        _ => return Ok(()),
    }
    // There is no pause to come: neither after an end for good, nor after a stop that came meanwhile.
    manager.stop(&[unit::pause(id)], Deadline::after(UNIT)).map(drop)
}

/// What is done at a stop of the service in the pause between two supervisors: the same.
///
/// # Errors
/// As for [`ended`].
pub fn in_pause(context: &Context, id: &SessionId) -> Result<()> {
    let manager = context.manager()?;
    // To start the next supervisor the manager stops the unit that calls this, too.
    if manager.asked(&unit::service(id))? != PendingJob::Stop || manager.is_going_down() {
        return Ok(());
    }
    note_who_starts_the_next(context, id, false);
    stop::stop_with_service(context, id)
}

fn note_who_starts_the_next(context: &Context, id: &SessionId, by_itself: bool) {
    // Without it the next supervisor has the manager's own count.
    if let Err(error) = note(context, id, |record| record.by_itself = by_itself) {
        tracing::debug!("{error}");
    }
}

fn watch_the_pause(manager: &Manager, id: &SessionId) -> Result<()> {
    let arguments = InternalCommand::SupervisorGone { session: id.to_string(), in_pause: true }.words();
    let (service, pause) = (unit::service(id), unit::pause(id));
    manager.call_at_stop(&service, &pause, &env::forge()?, &arguments, Deadline::after(UNIT))
}
