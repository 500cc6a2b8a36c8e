//! Restarting: ended whole, then started from the same specification.

use super::observe::Found;
use super::spawn::{Spawned, spawn};
use super::{World, stop};
use crate::hands::journal;
use crate::words::error::{Error, Result};
use crate::words::event::Event;

/// Restarts one session.
///
/// # Errors
/// When it has no specification: then it is left running. Or when it does not start again.
pub fn restart(world: &World, found: Found) -> Result<Spawned> {
    let id = found.id.clone();
    let spec = world.store.spec(&id)?.ok_or_else(|| {
        Error::failed(format!("how {id} was started is not known any more, so it is left alone"))
            .hint(format!("'forge spawn {id} --replace -- COMMAND' starts it anew"))
    })?;
    stop::clear(world, &[found], stop::TIMEOUT)?;
    let spawned = spawn(world, &spec, false)?;
    journal::record(&Event::Restarted { session: id });
    Ok(spawned)
}
