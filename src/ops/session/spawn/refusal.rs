//! Refuses spawns: the name is taken, or the session was stopped after its restore was planned.

use crate::model::error::{Error, Kind, Result};
use crate::model::session::State;
use crate::model::session::name::SessionId;
use crate::model::session::spec::Spec;
use crate::model::unit;
use crate::ops::session::observe::ObservedSession;
use crate::ops::{Context, heal};
use crate::sys::clock::local;
use crate::sys::process::is_alive;

/// Checks that the session's specification is still the one on disk when its restore was planned.
///
/// # Errors
/// [`Kind::Taken`] if the session was stopped, or started with another specification, since then.
pub(crate) fn check_unchanged(context: &Context, id: &SessionId, planned: Option<&Spec>) -> Result<()> {
    if context.store.spec(id)?.as_ref() == planned { Ok(()) } else { Err(stopped_meanwhile(id)) }
}

/// The error for a session that must not be restored any more.
pub(crate) fn stopped_meanwhile(id: &SessionId) -> Error {
    Error::new(Kind::Taken, format!("{id} was stopped, or started otherwise, meanwhile"))
}

/// Whether forge may clear the session without losing anything: its spawn died before the program was up, or
/// its server is gone, so that no terminal can reach it. The caller holds the claim, so no other spawn is
/// under way.
pub(crate) fn is_abandoned(found: &ObservedSession) -> bool {
    !found.has_scope || found.mark.as_ref().is_none_or(|mark| !mark.up || !is_alive(mark.server()))
}

/// The refusal for a session that runs. Its hint is to attach to the session, so this restores its socket if
/// the file is gone.
pub(super) fn refuse_and_heal(found: &ObservedSession) -> Error {
    if let Some(mark) = &found.mark {
        heal::restore_socket(&found.id, mark);
    }
    name_taken(found)
}

/// The refusal for a name that a session or its supervisor has.
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
            format!("{id} is taken: its supervisor {} is active", unit::service(id)),
        )
        .hint(format!(
            "'systemctl --user status {}' shows its state; 'forge stop {id}' stops it",
            unit::service(id)
        ));
    }
    let error = Error::new(
        Kind::Taken,
        format!("{id} is taken: {} is {}{since}{pid}", unit::scope(id), found.state().word()),
    );
    match found.state() {
        State::Dead => error.hint(format!(
            "its program has ended: 'forge restart {id}' starts it again, 'forge stop {id}' clears it"
        )),
        State::Stopping => error.hint("it is being stopped: try again in a moment"),
        _ => {
            error.hint(format!("'forge attach {id}' shows it; --replace stops it first; or use another name"))
        }
    }
}
