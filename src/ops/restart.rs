//! Restarts a session: stops it completely, then starts it from the same specification.
//!
//! A supervised session is started by its supervisor, any other session by forge itself.

use super::Context;
use super::session::observe::ObservedSession;
use super::session::resume::current_id;
use super::session::spawn::Spawned;
use super::session::spawn::request::SpawnMode;
use super::session::start::start_again;
use super::session::stop;
use super::supervise::client;
use crate::model::error::{Error, Result};
use crate::model::event::Event;
use crate::model::session::name::SessionId;
use crate::model::session::spec::{Keeper, Spec};
use crate::sys::journal;

/// Restarts one session, and resumes the program's conversation if possible. `found` is the session as it
/// runs now; `None` if it exists only as a specification.
///
/// # Errors
/// [`Kind::Failed`](crate::model::error::Kind::Failed) if the session has no specification; the session then
/// keeps running. Otherwise as for [`spawn`] and [`client::start`].
pub fn restart(context: &Context, session: &SessionId, found: Option<ObservedSession>) -> Result<Spawned> {
    let kept = context.store.spec(session)?.ok_or_else(|| {
        Error::failed(format!("forge has no specification of {session}, and leaves it alone"))
            .hint(format!("'forge spawn {session} --replace -- COMMAND' starts a new one"))
    })?;
    // Find the id while the program runs: some ids only the running program can print.
    let running = found
        .as_ref()
        .and_then(|found| current_id(&context.paths.home, &kept, &found.cgroup.processes()).ok());
    let spec = Spec { over: false, saved_id: running.or(kept.saved_id.clone()), ..kept.clone() };
    let spawned = if kept.keeper == Keeper::Supervisor {
        context.store.change_spec(&kept, |kept| *kept = spec.clone())?;
        if let Some(found) = found {
            stop::clear_with_supervisor(context, found, stop::TIMEOUT)?;
        }
        if let Some(stopped) = context.store.spec(session)? {
            // The stop of the service has marked the session as over. If it does not start now, a restore
            // must bring it back.
            context.store.change_spec(&stopped, |spec| spec.over = false)?;
        }
        client::start(context, session)?
    } else {
        start_again(context, &spec, SpawnMode::Again(found.as_ref()))?
    };
    journal::record(&Event::Restarted {
        session: session.clone(),
        why: "a request".to_owned(),
        resume_id: spawned.resumed.clone(),
        fresh: spawned.fresh.clone(),
    });
    Ok(spawned)
}
