//! Saving, before a shutdown, what only running programs can tell: their resume ids. All else is
//! on disk since before each session started.

use serde::Serialize;

use super::resume::{self, Taken};
use super::{World, observe};
use crate::hands::journal;
use crate::words::error::Result;
use crate::words::event::Event;
use crate::words::name::SessionId;
use crate::words::resume::needs_id;
use crate::words::session::State;

/// What was saved.
#[derive(Debug, Default, Serialize)]
pub struct Saved {
    /// The sessions, each with its resume id where it has one.
    pub saved: Vec<One>,
    /// The sessions whose id could not be found: they will start afresh, or with an older id.
    pub failed: Vec<Unsaved>,
}

/// A session that was saved.
#[derive(Debug, Serialize)]
pub struct One {
    /// The session.
    pub session: SessionId,
    /// The id with which its program resumes.
    pub resume_id: Option<String>,
}

/// A session whose id could not be found.
#[derive(Debug, Serialize)]
pub struct Unsaved {
    /// The session.
    pub session: SessionId,
    /// Why.
    pub error: String,
}

/// Saves the sessions that are there.
///
/// # Errors
/// When the manager does not answer.
pub fn save(world: &World) -> Result<Saved> {
    let taken = Taken::default();
    let mut saved = Saved::default();
    for found in observe::all(world, |_| true)? {
        // What was ending anyhow is not saved, nor what is not ours to read.
        if matches!(found.state, State::Dead | State::Failed) {
            continue;
        }
        let session = found.id;
        let Some(spec) = world.store.spec(&session).ok().flatten() else { continue };
        let id = match spec.resume.as_ref().filter(|resume| needs_id(resume)) {
            None => Ok(None),
            Some(_) => resume::id(world, &spec, None, &taken).map(Some),
        };
        match id {
            Ok(resume_id) => {
                if resume_id.is_some() && resume_id != spec.saved_id {
                    world.store.change_spec(&spec, |spec| spec.saved_id.clone_from(&resume_id))?;
                }
                journal::record(&Event::Saved { session: session.clone(), resume_id: resume_id.clone() });
                saved.saved.push(One { session, resume_id });
            }
            Err(error) => saved.failed.push(Unsaved { session, error: error.message }),
        }
    }
    Ok(saved)
}
