//! Restarting: ended whole, then started from the same specification.

use super::Context;
use super::session::observe::ObservedSession;
use super::session::resume::{Conversations, id, resumption};
use super::session::spawn::order::{SpawnMode, SpawnOrder};
use super::session::spawn::{Spawned, spawn};
use super::session::stop;
use super::supervise::client;
use crate::model::error::{Error, Result};
use crate::model::event::Event;
use crate::model::session::name::SessionId;
use crate::model::session::spec::{Keeper, Spec};
use crate::sys::journal;

/// Restarts one session; `found` is what there is of it. Its program is resumed, where it can be;
/// where it has a supervisor, that starts it.
///
/// # Errors
/// When it has no specification: then it is left running. Or when it does not start again.
pub fn restart(context: &Context, session: &SessionId, found: Option<ObservedSession>) -> Result<Spawned> {
    let kept = context.store.spec(session)?.ok_or_else(|| {
        Error::failed(format!("how {session} was started is not known any more, so it is left alone"))
            .hint(format!("'forge spawn {session} --replace -- COMMAND' starts it anew"))
    })?;
    let all = Conversations::of_all(&context.store)?;
    // What only the running program can tell, while it runs.
    let running = found.as_ref().and_then(|_| id(&context.paths.home, &all, &kept, None).ok());
    let spec = Spec { over: false, saved_id: running.or(kept.saved_id.clone()), ..kept.clone() };
    let spawned = if kept.keeper == Keeper::Supervisor {
        context.store.change_spec(&kept, |kept| *kept = spec.clone())?;
        if let Some(found) = found {
            stop::clear_with_supervisor(context, found, stop::TIMEOUT)?;
        }
        if let Some(stopped) = context.store.spec(session)? {
            // The end of its service says that it is over; should it not start, it is to come back.
            context.store.change_spec(&stopped, |spec| spec.over = false)?;
        }
        client::start(context, session)?
    } else {
        let resumption = resumption(&context.paths.home, &context.store, &spec);
        let spec = resumption.recorded_in(spec);
        spawn(
            context,
            SpawnOrder { spec: &spec, argv: &resumption.argv, mode: SpawnMode::Again(found.as_ref()) },
        )?
    };
    journal::record(&Event::Restarted { session: session.clone(), why: "a request".to_owned() });
    Ok(spawned)
}
