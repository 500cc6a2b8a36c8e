//! After a boot: what was running runs again, and what is configured to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::model::error::{Error, Kind, Result};
use crate::model::event::Event;
use crate::model::session::name::SessionId;
use crate::model::session::restore::{Again, Failed, Left, ManagerLife, RestoreStep, Restored, plan};
use crate::model::session::spec::{Keeper, Spec};
use crate::ops::Context;
use crate::ops::session::resume::resumption;
use crate::ops::session::spawn::order::{SpawnMode, SpawnOrder};
use crate::ops::session::spawn::refusal::is_abandoned;
use crate::ops::session::spawn::{Spawned, spawn};
use crate::ops::session::{observe, specify};
use crate::ops::supervise::client;
use crate::sys::clock::{Deadline, now_us};
use crate::sys::journal;
use crate::sys::systemd::boot_id;

/// How long another restore may take, which is waited for: each session has a deadline of its own.
const TURN: Duration = Duration::from_secs(3600);

/// What came of a restore.
#[derive(Debug)]
pub enum RestoreOutcome {
    /// It was done.
    Done {
        /// What came of it.
        restored: Restored,
        /// Why that could not be noted, so that another restore would do it again.
        unrecorded: Option<Error>,
    },
    /// It had been done in this life of the manager.
    Already(Restored),
}

/// What a restore would do.
///
/// # Errors
/// When the specifications or the manager cannot be read.
pub fn steps(context: &Context) -> Result<BTreeMap<SessionId, RestoreStep>> {
    let kept = context.store.specs()?;
    let configured = context.config.sessions.iter().map(|(id, session)| (id.clone(), session.boot)).collect();
    // What a spawn left that was killed half-way is no session: a start clears it.
    let mut present: BTreeSet<SessionId> = observe::all(context, |_| true)?
        .into_iter()
        .filter(|found| found.is_supervised() || !is_abandoned(found))
        .map(|found| found.id)
        .collect();
    // One that is just being started has no units yet, perhaps.
    present.extend(kept.keys().filter(|id| context.store.is_claimed(id)).cloned());
    Ok(plan(kept, &configured, &present))
}

/// This life of the user's manager.
fn life(context: &Context) -> Result<ManagerLife> {
    Ok(ManagerLife { boot_id: boot_id()?, manager_us: context.manager()?.up_since_us()? })
}

/// The last restore, if it was in this life of the manager.
///
/// # Errors
/// When that cannot be told.
pub fn last_restore(context: &Context) -> Result<Option<Restored>> {
    Ok(last_in(context, &life(context)?))
}

/// The last restore, if it was in that life. A file that cannot be read says nothing: then it is as
/// if there had been none, and what runs is left alone.
fn last_in(context: &Context, life: &ManagerLife) -> Option<Restored> {
    context.store.restored().ok().flatten().filter(|restored| restored.life == *life)
}

/// Restores the sessions, once in the life of a user manager. Where what is configured is not known
/// that does not count: it is to be done again once it is, and leaves alone what runs.
///
/// # Errors
/// When nothing can be restored at all; one session that fails does not stop the others.
pub fn restore(context: &Context, configured: bool) -> Result<RestoreOutcome> {
    // Two at once are one: the second waits, and finds that it was done.
    let _turn = context.store.restore_turn(Deadline::after(TURN))?;
    let life = life(context)?;
    if let Some(restored) = last_in(context, &life) {
        return Ok(RestoreOutcome::Already(restored));
    }
    context.store.clear_leftovers();
    let steps = steps(context)?;
    let todo = steps
        .values()
        .filter(|step| matches!(step, RestoreStep::Again(_) | RestoreStep::Configured { .. }))
        .count();
    journal::progress!("restoring {todo} sessions, {} at a time", context.config.restore.concurrency);
    let queue: Queue = Mutex::new(steps.into_iter().collect());
    let results = Mutex::new(Vec::new());
    let others = context.config.restore.concurrency.min(todo).saturating_sub(1);
    // A connection to the manager is one thread's.
    let worlds: Vec<Context> = (0..others).map(|_| context.reconnected()).collect();
    std::thread::scope(|scope| {
        for own in worlds {
            let (queue, results) = (&queue, &results);
            let work = move || work(&own, queue, results);
            if let Err(error) = std::thread::Builder::new().spawn_scoped(scope, work) {
                // Then those that there are do all of it, at the least this one.
                tracing::debug!("cannot start a thread: {error}");
                break;
            }
        }
        work(context, &queue, &results);
    });
    let mut restored =
        Restored { life, at_us: now_us(), restored: Vec::new(), failed: Vec::new(), left: Vec::new() };
    for result in results.into_inner().unwrap_or_else(PoisonError::into_inner) {
        match result {
            SessionOutcome::Again(again) => restored.restored.push(again),
            SessionOutcome::Failed(failed) => restored.failed.push(failed),
            SessionOutcome::Left(left) => restored.left.push(left),
        }
    }
    restored.restored.sort_by(|a, b| a.session.cmp(&b.session));
    restored.failed.sort_by(|a, b| a.session.cmp(&b.session));
    restored.left.sort_by(|a, b| a.session.cmp(&b.session));
    // At the end: a restore that is killed half-way is done again, and leaves alone what runs.
    let unrecorded = configured.then(|| context.store.write_restored(&restored).err()).flatten();
    Ok(RestoreOutcome::Done { restored, unrecorded })
}

type Queue = Mutex<VecDeque<(SessionId, RestoreStep)>>;

/// What became of one session.
enum SessionOutcome {
    Again(Again),
    Failed(Failed),
    Left(Left),
}

fn work(context: &Context, queue: &Queue, results: &Mutex<Vec<SessionOutcome>>) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some((id, step)) = next else { return };
        let result = carry_out(context, &id, step);
        results.lock().unwrap_or_else(PoisonError::into_inner).extend(result);
    }
}

fn carry_out(context: &Context, id: &SessionId, step: RestoreStep) -> Vec<SessionOutcome> {
    match step {
        RestoreStep::Leave(reason) => {
            vec![SessionOutcome::Left(Left { session: id.clone(), reason: reason.to_owned() })]
        }
        RestoreStep::Forget(spec) => match context.store.remove_that_spec(&spec) {
            Ok(()) => Vec::new(),
            Err(error) => vec![failed(id, &error, None)],
        },
        RestoreStep::Refuse(why) => vec![failed(id, &Error::failed(why), None)],
        RestoreStep::SetAside { why, configured } => {
            let error = Error::failed(format!("its file could not be read ({why})"));
            let mut results = vec![match context.store.set_aside(id) {
                Ok(path) => failed(id, &error.while_(format!("set aside as {}", path.display())), Some(path)),
                Err(other) => failed(id, &other, None),
            }];
            if configured {
                results.extend(carry_out(context, id, RestoreStep::Configured { before: None }));
            }
            results
        }
        RestoreStep::Again(spec) => vec![start(context, &spec, Some(&spec))],
        RestoreStep::Configured { before } => {
            let ran = before.as_deref().filter(|before| !before.over);
            match specify::from_config_and_last_run(context, id, ran) {
                Ok(spec) => vec![start(context, &spec, before.as_deref())],
                Err(error) => vec![failed(id, &error, None)],
            }
        }
    }
}

/// Starts a session of which `planned` was on disk.
fn start(context: &Context, spec: &Spec, planned: Option<&Spec>) -> SessionOutcome {
    let session = spec.session.clone();
    if planned.is_some_and(|planned| planned.keeper == Keeper::Supervisor) {
        return start_supervised(context, &session, planned);
    }
    let resumption = resumption(&context.paths.home, &context.store, spec);
    let spec = resumption.recorded_in(spec.clone());
    match spawn(
        context,
        SpawnOrder { spec: &spec, argv: &resumption.argv, mode: SpawnMode::Restored(planned) },
    ) {
        Ok(spawned) => again(session, &spawned, resumption.id, resumption.fresh),
        // Somebody was faster.
        Err(error) if error.kind == Kind::Taken => {
            SessionOutcome::Left(Left { session, reason: error.message })
        }
        Err(error) => failed(&session, &error, None),
    }
}

/// Starts a session that had a supervisor, by its supervisor.
fn start_supervised(context: &Context, id: &SessionId, planned: Option<&Spec>) -> SessionOutcome {
    let session = id.clone();
    match client::restore(context, id, planned) {
        Ok(spawned) => {
            let resume_id = context.store.spec(id).ok().flatten().and_then(|spec| spec.saved_id);
            again(session, &spawned, resume_id, None)
        }
        // Somebody was faster.
        Err(error) if error.kind == Kind::Taken => {
            SessionOutcome::Left(Left { session, reason: error.message })
        }
        Err(error) => failed(id, &error, None),
    }
}

fn again(
    session: SessionId,
    spawned: &Spawned,
    resume_id: Option<String>,
    fresh: Option<String>,
) -> SessionOutcome {
    let Spawned { pane_pid, elapsed_ms, .. } = *spawned;
    journal::record(&Event::Restored {
        session: session.clone(),
        resume_id: resume_id.clone(),
        fresh: fresh.clone(),
    });
    SessionOutcome::Again(Again { session, resume_id, fresh, pane_pid, elapsed_ms })
}

fn failed(id: &SessionId, error: &Error, set_aside: Option<PathBuf>) -> SessionOutcome {
    let kind = error.kind.word();
    // Without what was on the screen, which may hold anything: this goes to the journal and into
    // notices. 'forge restart' shows it.
    let error = error.message.lines().next().unwrap_or_default().to_owned();
    journal::record(&Event::RestoreFailed { session: id.clone(), kind, error: error.clone() });
    SessionOutcome::Failed(Failed { session: id.clone(), kind: kind.to_owned(), error, set_aside })
}
