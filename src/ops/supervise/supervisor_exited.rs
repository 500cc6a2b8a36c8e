//! The clean-up that systemd runs after each end of a supervisor, and when a user stops the service in the
//! pause between two supervisors.

use std::time::Duration;

use super::client::change_record;
use crate::model::error::Result;
use crate::model::internal_command::InternalCommand;
use crate::model::session::name::SessionId;
use crate::model::supervision::{Record, status};
use crate::model::unit;
use crate::ops::Context;
use crate::ops::session::stop;
use crate::sys::clock::Deadline;
use crate::sys::systemd::{Manager, PendingJob};
use crate::sys::{env, sd_notify};

/// How long systemd may take to start or stop a unit without processes.
const UNIT: Duration = Duration::from_secs(2);

/// Runs after each end of a supervisor. If systemd stops the service, forge ends the session. If systemd
/// starts another supervisor, or the machine shuts down, the session stays as it is.
///
/// # Errors
/// [`Kind::Deadline`] when processes of the session are left 20 seconds after the request to end;
/// [`Kind::Bus`] when systemd does not answer.
pub fn ended(context: &Context, id: &SessionId) -> Result<()> {
    let (manager, unit) = (context.manager()?, unit::service(id));
    let is_followed = status::is_followed(sd_notify::exit_status());
    let mut asked = manager.asked(&unit)?;
    if is_followed && asked == PendingJob::Nothing && !manager.is_going_down() {
        // In the pause before the next supervisor, systemd does not run ExecStopPost= at a stop.
        // forge-pause-NAME.service exists during the pause, and its ExecStop= ends the session instead.
        if let Err(error) = start_pause_unit(manager, id) {
            tracing::debug!("{error}");
        }
        // A user may have stopped the service before that unit was active.
        asked = manager.asked(&unit)?;
    }
    record_automatic_restart(context, id, is_followed && asked == PendingJob::Nothing);
    match asked {
        PendingJob::Stop if !manager.is_going_down() => stop::stop_with_service(context, id)?,
        PendingJob::Nothing if !is_followed => {}
        _ => return Ok(()),
    }
    // No pause follows a final end, or a stop that came meanwhile.
    manager.stop(&[unit::pause(id)], Deadline::after(UNIT)).map(drop)
}

/// Runs when a user stops the service in the pause between two supervisors, and ends the session, too.
///
/// # Errors
/// Those of [`ended`].
pub fn in_pause(context: &Context, id: &SessionId) -> Result<()> {
    let manager = context.manager()?;
    // systemd also stops the calling unit in order to start the next supervisor.
    if manager.asked(&unit::service(id))? != PendingJob::Stop || manager.is_going_down() {
        return Ok(());
    }
    record_automatic_restart(context, id, false);
    stop::stop_with_service(context, id)
}

fn record_automatic_restart(context: &Context, id: &SessionId, by_itself: bool) {
    let manager_boot_us =
        by_itself.then(|| context.manager().and_then(Manager::up_since_us)).and_then(Result::ok);
    let change =
        |record: &mut Record| (record.by_itself, record.manager_boot_us) = (by_itself, manager_boot_us);
    // Without this the next supervisor goes by systemd's NRestarts=.
    if let Err(error) = change_record(context, id, change) {
        tracing::debug!("{error}");
    }
}

fn start_pause_unit(manager: &Manager, id: &SessionId) -> Result<()> {
    let arguments = InternalCommand::SupervisorExited { session: id.to_string(), in_pause: true }.words();
    let (service, pause) = (unit::service(id), unit::pause(id));
    manager.call_at_stop(&service, &pause, &env::forge()?, &arguments, Deadline::after(UNIT))
}
