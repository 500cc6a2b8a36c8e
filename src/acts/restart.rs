//! Restarting: ended whole, then started from the same specification.

use super::observe::Found;
use super::resume::{Conversations, id, resumption};
use super::spawn::{How, Order, Spawned, spawn};
use super::{World, stop};
use crate::hands::journal;
use crate::words::error::{Error, Result};
use crate::words::event::Event;
use crate::words::name::SessionId;
use crate::words::spec::Spec;

/// Restarts one session; `found` is what there is of it. Its program is resumed, where it can be.
///
/// # Errors
/// When it has no specification: then it is left running. Or when it does not start again.
pub fn restart(world: &World, session: &SessionId, found: Option<Found>) -> Result<Spawned> {
    let spec = world.store.spec(session)?.ok_or_else(|| {
        Error::failed(format!("how {session} was started is not known any more, so it is left alone"))
            .hint(format!("'forge spawn {session} --replace -- COMMAND' starts it anew"))
    })?;
    let all = Conversations::of_all(&world.store)?;
    // What only the running program can tell, while it runs.
    let running = found.as_ref().and_then(|_| id(&world.paths.home, &all, &spec, None).ok());
    let spec = Spec { over: false, saved_id: running.or(spec.saved_id), ..spec };
    if let Some(found) = found {
        stop::clear(world, &[found], stop::TIMEOUT)?;
    }
    let resumption = resumption(&world.paths.home, &all, &spec);
    let spec = resumption.noted(spec);
    let spawned = spawn(world, Order { spec: &spec, argv: &resumption.argv, how: How::Again })?;
    journal::record(&Event::Restarted { session: session.clone() });
    Ok(spawned)
}
