//! Saving, before a shutdown, what only running programs can tell: their resume ids. All else is
//! on disk since before each session started.

use std::path::Path;
use std::thread::ScopedJoinHandle;

use serde::Serialize;

use crate::model::error::{Error, Result};
use crate::model::event::Event;
use crate::model::session::State;
use crate::model::session::name::SessionId;
use crate::model::session::resume::needs_id;
use crate::model::session::spec::Spec;
use crate::ops::Context;
use crate::ops::session::observe;
use crate::ops::session::resume::{self, Conversations};
use crate::sys::journal;
use crate::sys::store::Store;
use crate::sys::systemd::Login;

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
pub fn save(context: &Context) -> Result<Saved> {
    let mut specs = Vec::new();
    for found in observe::all(context, |_| true)? {
        // What was ending anyhow is not saved, nor what is not ours to read.
        if found.has_body && !matches!(found.state(), State::Dead | State::Failed) {
            specs.extend(context.store.spec(&found.id).ok().flatten());
        }
    }
    let (home, store) = (context.paths.home.as_path(), &context.store);
    let all = Conversations::of_all(store)?;
    let mut saved = Saved::default();
    for specs in specs.chunks(AT_ONCE) {
        // Each of the user's commands may take its time, and a shutdown has little: so side by side,
        // and each id is written as it comes.
        let ids: Vec<Result<Option<String>>> = std::thread::scope(|scope| {
            let save = |spec| save_one(home, store, &all, spec);
            let ask = |spec| std::thread::Builder::new().spawn_scoped(scope, move || save(spec));
            let asking: Vec<_> = specs.iter().map(ask).collect();
            let lost = || Err(Error::failed("the search for the resume id broke off"));
            let answer = |(asked, spec): (std::io::Result<ScopedJoinHandle<'_, _>>, _)| match asked {
                Ok(asked) => asked.join().unwrap_or_else(|_| lost()),
                // The kernel gives no thread.
                Err(_) => save(spec),
            };
            asking.into_iter().zip(specs).map(answer).collect()
        });
        for (spec, id) in specs.iter().zip(ids) {
            let session = spec.session.clone();
            match id {
                Ok(resume_id) => saved.saved.push(One { session, resume_id }),
                Err(error) => saved.failed.push(Unsaved { session, error: error.message }),
            }
        }
    }
    Ok(saved)
}

/// What forge-session-save.service does while the machine is up. Without a delay granted there is
/// nothing to wait for: the service saves when it is stopped.
///
/// # Errors
/// When the connection to logind is lost.
pub fn save_at_shutdowns(context: &Context) -> Result<()> {
    const WHY: &str = "the sessions of forge are being saved";
    let Ok(login) = Login::connect() else { return Ok(()) };
    let mut shutdowns = login.shutdowns()?;
    let mut delay = login.delay_shutdown(WHY);
    while let Some(held) = delay {
        while !shutdowns.wait()? {}
        if let Err(error) = save(context) {
            // The service's own stop will try again.
            tracing::debug!("{error}");
        }
        // The shutdown goes on now. It may still be called off.
        drop(held);
        while shutdowns.wait()? {}
        delay = login.delay_shutdown(WHY);
    }
    Ok(())
}

/// How many ids are searched for at a time.
const AT_ONCE: usize = 16;

fn save_one(home: &Path, store: &Store, all: &Conversations, spec: &Spec) -> Result<Option<String>> {
    let resume_id = match &spec.resume {
        Some(resume) if needs_id(resume) => Some(resume::id(home, all, spec, None)?),
        _ => None,
    };
    if resume_id.is_some() && resume_id != spec.saved_id {
        store.change_spec(spec, |spec| spec.saved_id.clone_from(&resume_id))?;
    }
    journal::record(&Event::Saved { session: spec.session.clone(), resume_id: resume_id.clone() });
    Ok(resume_id)
}
