//! Restarting: ended whole, then started from the same specification.

use super::observe::Found;
use super::resume::{Conversations, id, resumption};
use super::spawn::order::{How, Order};
use super::spawn::{Spawned, spawn};
use super::stop;
use crate::model::error::{Error, Result};
use crate::model::event::Event;
use crate::model::session::name::SessionId;
use crate::model::session::spec::{Keeper, Spec};
use crate::ops::World;
use crate::ops::supervise::client;
use crate::sys::journal;

/// Restarts one session; `found` is what there is of it. Its program is resumed, where it can be;
/// where it has a supervisor, that starts it.
///
/// # Errors
/// When it has no specification: then it is left running. Or when it does not start again.
pub fn restart(world: &World, session: &SessionId, found: Option<Found>) -> Result<Spawned> {
    let kept = world.store.spec(session)?.ok_or_else(|| {
        Error::failed(format!("how {session} was started is not known any more, so it is left alone"))
            .hint(format!("'forge spawn {session} --replace -- COMMAND' starts it anew"))
    })?;
    let all = Conversations::of_all(&world.store)?;
    // What only the running program can tell, while it runs.
    let running = found.as_ref().and_then(|_| id(&world.paths.home, &all, &kept, None).ok());
    let spec = Spec { over: false, saved_id: running.or(kept.saved_id.clone()), ..kept.clone() };
    let spawned = if kept.keeper == Keeper::Supervisor {
        world.store.change_spec(&kept, |kept| *kept = spec.clone())?;
        if let Some(found) = found {
            stop::clear_for_good(world, found, stop::TIMEOUT)?;
        }
        if let Some(stopped) = world.store.spec(session)? {
            // The end of its service says that it is over; should it not start, it is to come back.
            world.store.change_spec(&stopped, |spec| spec.over = false)?;
        }
        client::start(world, session)?
    } else {
        let resumption = resumption(&world.paths.home, &world.store, &spec);
        let spec = resumption.noted(spec);
        spawn(world, Order { spec: &spec, argv: &resumption.argv, how: How::Again(found.as_ref()) })?
    };
    journal::record(&Event::Restarted { session: session.clone(), why: "a request".to_owned() });
    Ok(spawned)
}
