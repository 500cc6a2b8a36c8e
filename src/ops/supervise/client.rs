//! Requests to a supervisor. forge starts the supervisor's service, and reads the result from the
//! supervisor's record.

use std::time::Duration;

use crate::model::error::{Error, Kind, Result};
use crate::model::session::name::SessionId;
use crate::model::session::spec::{Keeper, Spec};
use crate::model::supervision::{Record, StartOutcome};
use crate::model::unit;
use crate::ops::Context;
use crate::ops::session::observe::{self, ObservedSession};
use crate::ops::session::spawn::Spawned;
use crate::ops::session::spawn::refusal::{check_unchanged, is_abandoned, name_taken};
use crate::ops::session::stop;
use crate::sys::clock::Deadline;
use crate::sys::journal;

/// How long a start may take. systemd has a shorter deadline of its own, which the supervisor extends while
/// it waits for its turn; this one is the upper bound.
const START: Duration = Duration::from_secs(86_400);

/// How long a supervisor may take to end after its session did not start.
const STOP: Duration = Duration::from_secs(60);

/// Has a supervisor start a session with that specification. Returns when the session is up.
///
/// # Errors
/// [`Kind::Missing`] when forge's units are not installed; [`Kind::Taken`] when a session has that name and
/// `replace` is not set; otherwise the reason why the session did not start. After an error nothing remains
/// of the session.
pub fn spawn(context: &Context, spec: &Spec, replace: bool) -> Result<Spawned> {
    let id = &spec.session;
    require_installed(context, id)?;
    // Held until systemd has the job, so that of two simultaneous calls the second finds the session.
    let claim = context.store.claim(id)?;
    if let Some(found) = occupant(context, id)? {
        if !replace {
            return Err(name_taken(&found));
        }
        stop::stop(context, &[found], stop::TIMEOUT)?;
    }
    context.store.write_spec(&Spec { keeper: Keeper::Supervisor, fresh: true, ..spec.clone() })?;
    let spawned = start_while(context, id, || drop(claim));
    if spawned.is_err() {
        // Do not try again: the caller gets the error and decides.
        let manager = context.manager()?;
        let service = unit::service(id);
        manager.stop(std::slice::from_ref(&service), Deadline::after(STOP))?;
        manager.reset_failed(&service)?;
        context.store.remove_spec(id)?;
    }
    spawned
}

/// Has a supervisor start the session whose specification on disk was `planned`. Leaves a session alone that
/// exists by now, also one that is being stopped: a start would cancel the stop.
///
/// # Errors
/// [`Kind::Taken`] when there is nothing to restore any more; otherwise those of [`start`].
pub fn restore(context: &Context, id: &SessionId, planned: Option<&Spec>) -> Result<Spawned> {
    require_installed(context, id)?;
    check_unchanged(context, id, planned)?;
    let claim = context.store.claim(id)?;
    if let Some(found) = occupant(context, id)? {
        return Err(name_taken(&found));
    }
    // A stop that finished before the claim has changed the specification.
    check_unchanged(context, id, planned)?;
    start_while(context, id, || drop(claim))
}

/// The session that holds the name, unless only remains of it are left.
fn occupant(context: &Context, id: &SessionId) -> Result<Option<ObservedSession>> {
    Ok(observe::one(context, id)?.filter(|found| found.is_supervised() || !is_abandoned(found)))
}

/// Has a supervisor start a session that forge knows, and clears its earlier failures.
///
/// # Errors
/// [`Kind::Missing`] when forge's units are not installed; otherwise the reason why the session did not
/// start. Its supervisor may try again.
pub fn start(context: &Context, id: &SessionId) -> Result<Spawned> {
    require_installed(context, id)?;
    start_while(context, id, || ())
}

/// # Errors
/// [`Kind::Missing`] when systemd has not loaded the supervisor's template.
fn require_installed(context: &Context, id: &SessionId) -> Result<()> {
    let service = unit::service(id);
    let load = context.manager()?.service(&service)?.load;
    if load == "loaded" {
        return Ok(());
    }
    Err(Error::new(Kind::Missing, format!("{service}, the supervisor's service, is {load}"))
        .hint("forge units install"))
}

fn start_while(context: &Context, id: &SessionId, queued: impl FnOnce()) -> Result<Spawned> {
    let (manager, service) = (context.manager()?, unit::service(id));
    manager.reset_failed(&service)?;
    change_record(context, id, |record| record.started = None)?;
    journal::progress!("waiting for {service}, which starts {id}");
    let started = manager.start(&service, Deadline::after(START), queued);
    let reported = context.store.record(id)?.unwrap_or_default().started;
    match (started, reported) {
        (Ok(()), Some(StartOutcome::Up(spawned))) => serde_json::from_value(spawned)
            .map_err(|error| Error::failed(format!("could not read the result of {service}: {error}"))),
        (Ok(()), _) => adopted(context, id),
        (Err(_), Some(StartOutcome::Failed { kind, message, hint })) => {
            let kind = Kind::from_word(&kind).unwrap_or(Kind::Failed);
            Err(Error { hint, ..Error::new(kind, message) })
        }
        (Err(error), _) => Err(error),
    }
}

/// Changes the record that the next supervisor reads. Call this only while there is no supervisor.
pub(super) fn change_record(
    context: &Context,
    id: &SessionId,
    change: impl FnOnce(&mut Record),
) -> Result<()> {
    context.store.change_record(id, change)
}

/// The session that a supervisor has adopted instead of starting it.
fn adopted(context: &Context, id: &SessionId) -> Result<Spawned> {
    let found = observe::existing(context, id)?;
    Ok(Spawned::of(id, found.mark()?))
}

/// Makes the supervisor check its session at once. If the supervisor waits to start the session again, it
/// starts the session now.
///
/// # Errors
/// [`Kind::NoSession`] when there is no such session; [`Kind::Failed`] when the session has no supervisor.
pub fn poke(context: &Context, id: &SessionId) -> Result<()> {
    let (manager, service) = (context.manager()?, unit::service(id));
    if manager.poke(&service)? {
        return Ok(());
    }
    let found = observe::existing(context, id)?;
    if found.is_supervised() {
        change_record(context, id, |record| record.poked = true)?;
        // systemd may have started a supervisor meanwhile, which read its record before this change.
        if manager.poke(&service)? {
            return Ok(());
        }
        // A start job waits for the end of the pause (measured on 252); a restart job does not.
        return manager.restart(&service, Deadline::after(START));
    }
    Err(Error::failed(format!("{id} has no supervisor")).hint(format!(
        "'systemctl --user start {service}' starts its supervisor; 'forge restart {id}' restarts the session"
    )))
}
