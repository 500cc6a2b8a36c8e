//! Having a session started by its supervisor: the service is started, and tells what came of it.

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

/// How long a start may take. The manager has a deadline of its own, which a supervisor extends
/// while it waits for its turn; this one only says that nothing is for ever.
const START: Duration = Duration::from_secs(86_400);

/// How long a supervisor that did not get its session up may take to end.
const STOP: Duration = Duration::from_secs(60);

/// Starts a session of that specification by its supervisor, and returns when it is up.
///
/// # Errors
/// [`Kind::Taken`] when the name is; otherwise why it did not start. Then nothing is left.
pub fn spawn(context: &Context, spec: &Spec, replace: bool) -> Result<Spawned> {
    let id = &spec.session;
    installed(context, id)?;
    // Until the manager has the job: of two at once the second sees it.
    let claim = context.store.claim(id)?;
    if let Some(found) = there(context, id)? {
        if !replace {
            return Err(name_taken(&found));
        }
        stop::stop(context, &[found], stop::TIMEOUT)?;
    }
    context.store.write_spec(&Spec { keeper: Keeper::Supervisor, fresh: true, ..spec.clone() })?;
    let spawned = start_while(context, id, || drop(claim));
    if spawned.is_err() {
        // Nobody asked for another try: whoever sees the error decides.
        let manager = context.manager()?;
        let service = unit::service(id);
        manager.stop(std::slice::from_ref(&service), Deadline::after(STOP))?;
        manager.reset_failed(&service)?;
        context.store.remove_spec(id)?;
    }
    spawned
}

/// Starts a session of which `planned` was on disk, by its supervisor. One that is there by now is left
/// alone, also one that is just being stopped: a start would call that off.
///
/// # Errors
/// [`Kind::Taken`] when there is nothing to restore any more; otherwise as for [`start`].
pub fn restore(context: &Context, id: &SessionId, planned: Option<&Spec>) -> Result<Spawned> {
    installed(context, id)?;
    check_unchanged(context, id, planned)?;
    let claim = context.store.claim(id)?;
    if let Some(found) = there(context, id)? {
        return Err(name_taken(&found));
    }
    // What had ended it by now has noted that.
    check_unchanged(context, id, planned)?;
    start_while(context, id, || drop(claim))
}

/// What there is of a session, where that is more than remains.
fn there(context: &Context, id: &SessionId) -> Result<Option<ObservedSession>> {
    Ok(observe::one(context, id)?.filter(|found| found.is_supervised() || !is_abandoned(found)))
}

/// Starts a session by its supervisor, as it is known to forge. What failed before is forgiven.
///
/// # Errors
/// Why it did not start. Its supervisor may go on trying.
pub fn start(context: &Context, id: &SessionId) -> Result<Spawned> {
    installed(context, id)?;
    start_while(context, id, || ())
}

/// The template must be there.
fn installed(context: &Context, id: &SessionId) -> Result<()> {
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
    note(context, id, |record| record.started = None)?;
    journal::progress!("waiting for {service}, which starts {id}");
    let started = manager.start(&service, Deadline::after(START), queued);
    let told = context.store.record(id)?.unwrap_or_default().started;
    match (started, told) {
        (Ok(()), Some(StartOutcome::Up(spawned))) => serde_json::from_value(spawned)
            .map_err(|error| Error::failed(format!("what {service} told cannot be read: {error}"))),
        (Ok(()), _) => found(context, id),
        (Err(_), Some(StartOutcome::Failed { kind, message, hint })) => {
            let kind = Kind::from_word(&kind).unwrap_or(Kind::Failed);
            Err(Error { hint, ..Error::new(kind, message) })
        }
        (Err(error), _) => Err(error),
    }
}

/// Leaves a note for the next supervisor, which is not there yet.
pub(super) fn note(context: &Context, id: &SessionId, change: impl FnOnce(&mut Record)) -> Result<()> {
    let mut record = context.store.record(id).ok().flatten().unwrap_or_default();
    change(&mut record);
    context.store.write_record(id, &record)
}

/// A session that its supervisor found running.
fn found(context: &Context, id: &SessionId) -> Result<Spawned> {
    let found = observe::existing(context, id)?;
    Ok(Spawned::of(id, found.mark()?))
}

/// Has the supervisor look at its session at once; where it is waiting to start it again, that
/// happens now.
///
/// # Errors
/// When the session has no supervisor.
pub fn poke(context: &Context, id: &SessionId) -> Result<()> {
    let (manager, service) = (context.manager()?, unit::service(id));
    if manager.poke(&service)? {
        return Ok(());
    }
    let found = observe::existing(context, id)?;
    if found.is_supervised() {
        note(context, id, |record| record.poked = true)?;
        // To start it waits for the pause to be over (measured on 252); to restart it does not.
        return manager.restart(&service, Deadline::after(START));
    }
    Err(Error::failed(format!("{id} has no supervisor")).hint(format!(
        "'systemctl --user start {service}' gives it one; 'forge restart {id}' starts it anew"
    )))
}
