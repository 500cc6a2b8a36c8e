//! Why a spawn is refused: the name is taken, or the session was stopped meanwhile.

use crate::model::error::{Error, Kind, Result};
use crate::model::session::State;
use crate::model::session::name::SessionId;
use crate::model::session::spec::Spec;
use crate::model::unit;
use crate::ops::session::observe::ObservedSession;
use crate::ops::{Context, heal};
use crate::sys::clock::local;
use crate::sys::process::is_alive;

/// Refuses to restore a session that was stopped since that was planned, or started otherwise.
///
/// # Errors
/// [`Kind::Taken`] when it was.
pub(crate) fn check_unchanged(context: &Context, id: &SessionId, planned: Option<&Spec>) -> Result<()> {
    if context.store.spec(id)?.as_ref() == planned { Ok(()) } else { Err(stopped_meanwhile(id)) }
}

/// A session that is not to be restored any more.
pub(crate) fn stopped_meanwhile(id: &SessionId) -> Error {
    Error::new(Kind::Taken, format!("{id} was stopped, or started otherwise, meanwhile"))
}

/// Whether nothing is lost by ending it: a spawn that died half-way, so that its program never
/// came up; or remains of a session whose server is gone, which no terminal reaches any more. We
/// hold the claim, so no other spawn is under way.
pub(crate) fn is_abandoned(found: &ObservedSession) -> bool {
    !found.has_scope || found.mark.as_ref().is_none_or(|mark| !mark.up || !is_alive(mark.server()))
}

/// The refusal for one that runs. The hint is to attach to it, so its socket is made again where it is
/// gone.
pub(super) fn refuse_and_heal(found: &ObservedSession) -> Error {
    if let Some(mark) = &found.mark {
        heal::restore_socket(&found.id, mark);
    }
    name_taken(found)
}

/// The refusal, naming who has the name.
pub(crate) fn name_taken(found: &ObservedSession) -> Error {
    let id = &found.id;
    let mark = found.mark.as_ref();
    let since = mark.map(|mark| format!(" since {}", local(mark.since_us))).unwrap_or_default();
    let pid = mark
        .map(|mark| format!(" (program {}, server {})", mark.pane_pid, mark.server_pid))
        .unwrap_or_default();
    if !found.has_body {
        return Error::new(
            Kind::Taken,
            format!("{id} is taken: its supervisor {} is at work", unit::service(id)),
        )
        .hint(format!(
            "'systemctl --user status {}' tells more; 'forge stop {id}' ends it",
            unit::service(id)
        ));
    }
    let error = Error::new(
        Kind::Taken,
        format!("{id} is taken: {} is {}{since}{pid}", unit::scope(id), found.state().word()),
    );
    match found.state() {
        State::Dead => error.hint(format!(
            "its program ended: 'forge restart {id}' starts it again, 'forge stop {id}' clears it"
        )),
        State::Stopping => error.hint("it is being stopped: try again in a moment"),
        _ => {
            error.hint(format!("'forge attach {id}' shows it; --replace stops it first; or use another name"))
        }
    }
}
