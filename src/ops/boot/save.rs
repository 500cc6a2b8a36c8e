//! Saves the resume ids of the sessions before a shutdown. Only the running programs know these ids;
//! everything else has been on disk since before each session started.

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
use crate::ops::session::resume::current_id;
use crate::ops::supervise::missed_stop::mark_missed_stops;
use crate::sys::cgroup::Cgroup;
use crate::sys::journal;
use crate::sys::store::Store;
use crate::sys::systemd::Login;

/// The result of a save.
#[derive(Debug, Default, Serialize)]
pub struct Saved {
    pub saved: Vec<SavedSession>,
    /// Sessions whose resume id was not found. They will start without one, or with an older one.
    pub failed: Vec<UnsavedSession>,
}

#[derive(Debug, Serialize)]
pub struct SavedSession {
    pub session: SessionId,
    /// The id with which the program resumes its conversation. `None`: the session is configured without
    /// one.
    pub resume_id: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct UnsavedSession {
    pub session: SessionId,
    pub error: String,
}

/// Saves the resume id of every live session.
///
/// # Errors
/// [`Kind::Bus`](crate::model::error::Kind::Bus) if forge cannot reach the manager;
/// [`Kind::Failed`](crate::model::error::Kind::Failed) if forge cannot read the specifications.
pub fn save(context: &Context) -> Result<Saved> {
    mark_missed_stops(context);
    let mut sessions = Vec::new();
    for found in observe::all(context, |_| true)? {
        // Skip sessions that have ended, and specifications that forge cannot read.
        if found.has_body && !matches!(found.state(), State::Dead | State::Failed) {
            let spec = context.store.spec(&found.id).ok().flatten();
            sessions.extend(spec.map(|spec| (spec, found.cgroup)));
        }
    }
    let (home, store) = (context.paths.home.as_path(), &context.store);
    let mut saved = Saved::default();
    for sessions in sessions.chunks(THREADS) {
        // The user's commands that print an id may be slow, and a shutdown is short: run them in parallel,
        // and write each id as soon as it is known.
        let ids: Vec<Result<Option<String>>> = std::thread::scope(|scope| {
            let save = |(spec, cgroup): &(Spec, Cgroup)| save_resume_id(home, store, spec, cgroup);
            let start = |session| std::thread::Builder::new().spawn_scoped(scope, move || save(session));
            let threads: Vec<_> = sessions.iter().map(start).collect();
            let panicked = || Err(Error::failed("the search for the resume id broke off"));
            let result = |(thread, session): (std::io::Result<ScopedJoinHandle<'_, _>>, _)| match thread {
                Ok(thread) => thread.join().unwrap_or_else(|_| panicked()),
                // The kernel gave no thread.
                Err(_) => save(session),
            };
            threads.into_iter().zip(sessions).map(result).collect()
        });
        for ((spec, _), id) in sessions.iter().zip(ids) {
            let session = spec.session.clone();
            match id {
                Ok(resume_id) => saved.saved.push(SavedSession { session, resume_id }),
                Err(error) => saved.failed.push(UnsavedSession { session, error: error.message }),
            }
        }
    }
    Ok(saved)
}

/// Waits for shutdowns and saves the sessions at each. forge-session-save.service runs this while the
/// machine is up.
///
/// Returns if logind does not grant a delay of shutdowns: then the service saves when systemd stops it.
///
/// # Errors
/// [`Kind::Bus`](crate::model::error::Kind::Bus) if the connection to logind is lost.
pub fn save_at_shutdowns(context: &Context) -> Result<()> {
    const WHY: &str = "the sessions of forge are being saved";
    let Ok(login) = Login::connect() else { return Ok(()) };
    let mut shutdowns = login.shutdowns()?;
    let mut delay = login.delay_shutdown(WHY);
    while let Some(held) = delay {
        while !shutdowns.wait()? {}
        if let Err(error) = save(context) {
            // The stop of the service will try again.
            tracing::debug!("{error}");
        }
        // Let the shutdown continue. It may still be cancelled.
        drop(held);
        while shutdowns.wait()? {}
        delay = login.delay_shutdown(WHY);
    }
    Ok(())
}

/// How many threads look for resume ids.
const THREADS: usize = 16;

/// Finds the resume id of one session, writes it to the specification, and records it in the journal.
fn save_resume_id(home: &Path, store: &Store, spec: &Spec, cgroup: &Cgroup) -> Result<Option<String>> {
    let resume_id = match &spec.resume {
        Some(resume) if needs_id(resume) => Some(current_id(home, spec, &cgroup.processes())?),
        _ => None,
    };
    if resume_id.is_some() && resume_id != spec.saved_id {
        store.change_spec(spec, |spec| spec.saved_id.clone_from(&resume_id))?;
    }
    journal::record(&Event::Saved { session: spec.session.clone(), resume_id: resume_id.clone() });
    Ok(resume_id)
}
