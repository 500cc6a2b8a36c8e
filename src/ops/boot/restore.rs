//! Restores sessions after a boot: those that were running before it, and those with `boot = true`.

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
use crate::ops::session::spawn::Spawned;
use crate::ops::session::spawn::refusal::is_abandoned;
use crate::ops::session::spawn::request::SpawnMode;
use crate::ops::session::start::start_again;
use crate::ops::session::{observe, specify};
use crate::ops::supervise::client;
use crate::ops::supervise::missed_stop::mark_missed_stops;
use crate::sys::clock::{Deadline, now_us};
use crate::sys::journal;
use crate::sys::systemd::boot_id;

/// How long to wait for another restore to finish. Each session in it has its own deadline.
const OTHER_RESTORE: Duration = Duration::from_secs(3600);

/// The result of a restore.
#[derive(Debug)]
pub enum RestoreOutcome {
    Done {
        restored: Restored,
        /// Why forge could not record the restore. Without the record, the next restore runs again.
        unrecorded: Option<Error>,
    },
    /// An earlier restore has run since the user manager started.
    Already(Restored),
}

/// Plans a restore: the step for each session.
///
/// # Errors
/// [`Kind::Failed`] if forge cannot read the specifications; [`Kind::Bus`] if forge cannot reach the manager.
pub fn plan_steps(context: &Context) -> Result<BTreeMap<SessionId, RestoreStep>> {
    let kept = context.store.specs()?;
    let configured = context.config.sessions.iter().map(|(id, session)| (id.clone(), session.boot)).collect();
    // The remains of an interrupted spawn do not count as a session: a start clears them.
    let mut present: BTreeSet<SessionId> = observe::all(context, |_| true)?
        .into_iter()
        .filter(|found| found.is_supervised() || !is_abandoned(found))
        .map(|found| found.id)
        .collect();
    // A session that is being started may not have units yet.
    present.extend(kept.keys().filter(|id| context.store.is_claimed(id)).cloned());
    Ok(plan(kept, &configured, &present))
}

/// Identifies the running instance of the user manager.
fn current_life(context: &Context) -> Result<ManagerLife> {
    Ok(ManagerLife { boot_id: boot_id()?, manager_us: context.manager()?.up_since_us()? })
}

/// The last restore, if it ran since the user manager started.
///
/// # Errors
/// [`Kind::Bus`] if forge cannot reach the manager.
pub fn last_restore(context: &Context) -> Result<Option<Restored>> {
    Ok(last_restore_in(context, &current_life(context)?))
}

/// The last restore, if it ran in that life of the manager. If forge cannot read the record, it acts as
/// if no restore had run; a restore leaves running sessions alone.
fn last_restore_in(context: &Context, life: &ManagerLife) -> Option<Restored> {
    context.store.restored().ok().flatten().filter(|restored| restored.life == *life)
}

/// Restores the sessions, once for each start of the user manager.
///
/// If the configuration could not be read (`configured` is false), the restore is not recorded, so that
/// the next one runs again. It leaves running sessions alone.
///
/// # Errors
/// [`Kind::Deadline`] if another restore runs for more than an hour; as for [`plan_steps`]. If one session
/// fails to start, the others still start, and the failure is in the result.
pub fn restore(context: &Context, configured: bool) -> Result<RestoreOutcome> {
    // If two restores run at once, the second waits, and then finds that the first has done the work.
    let _lock = context.store.restore_turn(Deadline::after(OTHER_RESTORE))?;
    let life = current_life(context)?;
    if let Some(restored) = last_restore_in(context, &life) {
        return Ok(RestoreOutcome::Already(restored));
    }
    context.store.clear_leftovers();
    mark_missed_stops(context);
    let steps = plan_steps(context)?;
    let todo = steps
        .values()
        .filter(|step| matches!(step, RestoreStep::Again(_) | RestoreStep::Configured { .. }))
        .count();
    journal::progress!("restoring {todo} sessions, {} at a time", context.config.restore.concurrency);
    let threads = context.config.restore.concurrency.min(todo);
    let mut restored =
        Restored { life, at_us: now_us(), restored: Vec::new(), failed: Vec::new(), left: Vec::new() };
    for outcome in carry_out_all(context, steps, threads) {
        match outcome {
            SessionOutcome::Again(again) => restored.restored.push(again),
            SessionOutcome::Failed(failed) => restored.failed.push(failed),
            SessionOutcome::Left(left) => restored.left.push(left),
        }
    }
    restored.restored.sort_by(|a, b| a.session.cmp(&b.session));
    restored.failed.sort_by(|a, b| a.session.cmp(&b.session));
    restored.left.sort_by(|a, b| a.session.cmp(&b.session));
    // Record at the end: if a restore is killed half-way, the next one runs again and leaves running
    // sessions alone.
    let unrecorded = configured.then(|| context.store.write_restored(&restored).err()).flatten();
    Ok(RestoreOutcome::Done { restored, unrecorded })
}

type Queue = Mutex<VecDeque<(SessionId, RestoreStep)>>;

/// The result for one session.
enum SessionOutcome {
    Again(Again),
    Failed(Failed),
    Left(Left),
}

/// Carries out the steps in the order of the sessions' names, with up to `threads` threads, this one included.
fn carry_out_all(
    context: &Context,
    steps: BTreeMap<SessionId, RestoreStep>,
    threads: usize,
) -> Vec<SessionOutcome> {
    let queue: Queue = Mutex::new(steps.into_iter().collect());
    let results = Mutex::new(Vec::new());
    // Each thread needs its own connection to the manager.
    let contexts: Vec<Context> = (1..threads).map(|_| context.reconnected()).collect();
    std::thread::scope(|scope| {
        for own in contexts {
            let (queue, results) = (&queue, &results);
            let work = move || work_off(&own, queue, results);
            if let Err(error) = std::thread::Builder::new().spawn_scoped(scope, work) {
                // The threads that have started do all the work; at least this one does.
                tracing::debug!("cannot start a thread: {error}");
                break;
            }
        }
        work_off(context, &queue, &results);
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Carries out steps from the queue until it is empty.
fn work_off(context: &Context, queue: &Queue, results: &Mutex<Vec<SessionOutcome>>) {
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
            Err(error) => vec![record_failed(id, &error, None)],
        },
        RestoreStep::Refuse(why) => vec![record_failed(id, &Error::failed(why), None)],
        RestoreStep::SetAside { why, configured } => {
            let error = Error::failed(format!("its file could not be read ({why})"));
            let mut results = vec![match context.store.set_aside(id) {
                Ok(path) => {
                    record_failed(id, &error.while_(format!("set aside as {}", path.display())), Some(path))
                }
                Err(other) => record_failed(id, &other, None),
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
                Err(error) => vec![record_failed(id, &error, None)],
            }
        }
    }
}

/// Starts a session. `planned` is the specification that was on disk when the restore was planned.
fn start(context: &Context, spec: &Spec, planned: Option<&Spec>) -> SessionOutcome {
    let session = spec.session.clone();
    if planned.is_some_and(|planned| planned.keeper == Keeper::Supervisor) {
        return start_supervised(context, &session, planned);
    }
    match start_again(context, spec, SpawnMode::Restored(planned)) {
        Ok(spawned) => record_restored(session, spawned),
        // Another forge has started it in the meantime.
        Err(error) if error.kind == Kind::Taken => {
            SessionOutcome::Left(Left { session, reason: error.message })
        }
        Err(error) => record_failed(&session, &error, None),
    }
}

/// Starts a supervised session through its supervisor.
fn start_supervised(context: &Context, id: &SessionId, planned: Option<&Spec>) -> SessionOutcome {
    let session = id.clone();
    match client::restore(context, id, planned) {
        Ok(spawned) => record_restored(session, spawned),
        // Another forge has started it in the meantime.
        Err(error) if error.kind == Kind::Taken => {
            SessionOutcome::Left(Left { session, reason: error.message })
        }
        Err(error) => record_failed(id, &error, None),
    }
}

/// Records in the journal that a session was restored.
fn record_restored(session: SessionId, spawned: Spawned) -> SessionOutcome {
    let Spawned { resumed: resume_id, fresh, pane_pid, elapsed_ms, .. } = spawned;
    journal::record(&Event::Restored {
        session: session.clone(),
        resume_id: resume_id.clone(),
        fresh: fresh.clone(),
    });
    SessionOutcome::Again(Again { session, resume_id, fresh, pane_pid, elapsed_ms })
}

/// Records in the journal that a session could not be restored.
fn record_failed(id: &SessionId, error: &Error, set_aside: Option<PathBuf>) -> SessionOutcome {
    let kind = error.kind.word();
    // This goes to the journal and into notices. `forge restart` shows all lines.
    let error = error.first_line().to_owned();
    journal::record(&Event::RestoreFailed { session: id.clone(), kind, error: error.clone() });
    SessionOutcome::Failed(Failed { session: id.clone(), kind: kind.to_owned(), error, set_aside })
}
