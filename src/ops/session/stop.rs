//! Ending a session whole: asked first, killed at the deadline, and proven gone.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::observe::{self, ObservedSession};
use crate::model::error::{Error, Kind, Result, first_of};
use crate::model::event::Event;
use crate::model::session::name::SessionId;
use crate::model::unit;
use crate::model::usage::Usage;
use crate::ops::{Context, sweep};
use crate::sys::cgroup::{self, Cgroup};
use crate::sys::clock::{Deadline, millis_since, pause};
use crate::sys::journal;
use crate::sys::signals::outlive_session;
use crate::sys::store::Claim;
use crate::sys::systemd::{JobOutcome, Manager};

/// How long a session may take to end when asked, if nobody says otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// What takes longer is told to who waits.
const SOON: Duration = Duration::from_secs(1);

/// How long the kernel and the manager may take after a kill.
const AFTER_KILL: Duration = Duration::from_secs(10);

/// How long whoever is clearing a session may take.
const TURN: Duration = Duration::from_secs(30);

/// How long a supervisor may take to end, with what it finds of its session.
const SUPERVISOR: Duration = Duration::from_secs(30);

/// What became of one session.
#[derive(Debug, Clone, Serialize)]
pub struct Stopped {
    /// The session.
    pub session: SessionId,
    /// How many processes it had.
    pub processes: u64,
    /// How many of them did not end when asked.
    pub killed: u64,
    /// How long it took.
    pub elapsed_ms: u64,
}

/// What is to be ended.
struct Target {
    id: SessionId,
    slice: String,
    cgroup: Cgroup,
    socket: PathBuf,
    processes: u64,
    killed: u64,
    usage: Usage,
}

impl Target {
    fn of(found: &ObservedSession) -> Self {
        Self {
            id: found.id.clone(),
            slice: unit::slice(&found.id),
            cgroup: found.cgroup.clone(),
            socket: found.socket.clone(),
            processes: found.cgroup.processes().len() as u64,
            killed: 0,
            // While the group is there: afterwards nobody knows.
            usage: found.cgroup.usage(found.mark.as_ref().map(|mark| mark.since_us)),
        }
    }

    /// The manager does not stop what is frozen, and no process can end while it is, unless it is killed:
    /// what stays frozen is, at its deadline.
    fn thaw(&self, manager: &Manager) {
        if let Err(error) = thaw(manager, &self.cgroup, &self.slice) {
            tracing::debug!("{} is to be killed: {error}", self.id);
        }
    }

    /// Kills what did not end when asked.
    fn kill(&mut self) -> Result<()> {
        self.killed = self.cgroup.processes().len() as u64;
        self.cgroup.kill()
    }
}

fn thaw(manager: &Manager, cgroup: &Cgroup, slice: &str) -> Result<()> {
    if cgroup.is_freezing() {
        manager.thaw(slice, cgroup)?;
    }
    // A unit inside that somebody froze by itself: 257 would keep it, and its name, for ever.
    cgroup.frozen_inside().iter().try_for_each(|inside| manager.thaw(inside, &cgroup.child(inside)))
}

/// Ends the slice of a session that has no process any more, where the manager still has it: it is just
/// going, was left loaded, or is kept by 257 because all in it was killed while it was frozen.
///
/// # Errors
/// When the manager cannot.
pub(crate) fn clear_empty_slice(context: &Context, id: &SessionId, timeout: Duration) -> Result<()> {
    let (manager, slice) = (context.manager()?, unit::slice(id));
    let cgroup = Cgroup::new(&manager.control_group()?).child(unit::FORGE_SLICE).child(&slice);
    thaw(manager, &cgroup, &slice)?;
    manager.stop(&[slice], Deadline::after(timeout)).map(drop)
}

/// Ends the sessions, all at once, and tells the journal. They are not restored.
///
/// # Errors
/// When one of them cannot be proven gone; the others are ended all the same.
pub fn stop(context: &Context, found: &[ObservedSession], timeout: Duration) -> Result<Vec<Stopped>> {
    let start = Instant::now();
    let _turns = clearing_turns(context, found);
    let Ended { gone, mut failed } = end_trees(context, found, timeout)?;
    let mut stopped = Vec::new();
    for Target { id, processes, killed, usage, .. } in gone {
        let elapsed_ms = millis_since(start);
        let is_up = |found: &ObservedSession| found.mark.as_ref().is_some_and(|mark| mark.up);
        let is_starting = found.iter().any(|found| found.id == id && !is_up(found));
        if let Err(error) = remove_spec(context, &id, is_starting) {
            failed.get_or_insert(error);
        }
        journal::record(&Event::Stopped { session: id.clone(), processes, killed, elapsed_ms, usage });
        stopped.push(Stopped { session: id, processes, killed, elapsed_ms });
    }
    if let Err(error) = stop_supervisors(context, found) {
        failed.get_or_insert(error);
    }
    let names: Vec<String> = stopped.iter().map(|stopped| stopped.session.to_string()).collect();
    first_of(failed, "stopped", &names).map_or(Ok(stopped), Err)
}

/// Removes a session's specification; where it is being started, also the one that is only about to be
/// written: by that it is seen that the session was stopped, and not started a second time.
fn remove_spec(context: &Context, id: &SessionId, is_starting: bool) -> Result<()> {
    let deadline = Deadline::after(SOON);
    while is_starting
        && context.store.spec(id)?.is_none()
        && context.store.is_claimed(id)
        && !deadline.passed()
    {
        pause(Duration::from_millis(5));
    }
    context.store.remove_spec(id)
}

/// The turns to clear the sessions: a supervisor that sees an end waits for its own, and so does
/// the hook of a program's end. To end them matters more, where a turn cannot be had.
fn clearing_turns(context: &Context, found: &[ObservedSession]) -> Vec<Claim> {
    let deadline = Deadline::after(TURN);
    found.iter().filter_map(|found| context.store.clearing_turn(&found.id, deadline).ok()).collect()
}

/// Ends the supervisors of sessions that were ended, and what the manager remembers of their
/// failures.
fn stop_supervisors(context: &Context, found: &[ObservedSession]) -> Result<()> {
    let services: Vec<String> =
        found.iter().filter(|found| found.service.is_some()).map(|found| unit::service(&found.id)).collect();
    if services.is_empty() {
        return Ok(());
    }
    let manager = context.manager()?;
    let outcomes = manager.stop(&services, Deadline::after(SUPERVISOR))?;
    for (service, outcome) in services.iter().zip(outcomes) {
        if outcome == JobOutcome::Pending {
            return Err(Error::new(Kind::Deadline, format!("{service} does not end"))
                .hint(format!("see 'systemctl --user status {service}'")));
        }
        manager.reset_failed(service)?;
    }
    Ok(())
}

/// Ends what there is of a session and its supervisor, and leaves its specification.
///
/// # Errors
/// As for [`stop`].
pub fn clear_with_supervisor(context: &Context, found: ObservedSession, timeout: Duration) -> Result<()> {
    let found = [found];
    let _turns = clearing_turns(context, &found);
    clear(context, &found, timeout)?;
    stop_supervisors(context, &found)
}

/// Ends a session whose supervisor's service is being stopped, where somebody has not done so
/// already. It is not restored, and can be started again.
///
/// # Errors
/// As for [`stop`].
pub fn stop_with_service(context: &Context, id: &SessionId) -> Result<()> {
    let _turn = match observe::one(context, id)?.filter(|found| found.has_body) {
        // Who has the turn is ending it; what that left is ended here. Not for long: it may be waiting
        // for this very service.
        Some(_) => context.store.clearing_turn(id, Deadline::after(SOON)).ok(),
        // Whoever waits for this to end may have the turn.
        None => None,
    };
    let start = Instant::now();
    if let Some(found) = observe::one(context, id)?.filter(|found| found.has_body) {
        let mut target = Target::of(&found);
        target.thaw(context.manager()?);
        // Not by the manager: it has a job to stop the scope, which waits for this service to be
        // stopped, and so for us.
        target.cgroup.terminate()?;
        if !target.cgroup.wait_empty(Deadline::after(TIMEOUT))? {
            target.kill()?;
        }
        prove_gone(&target)?;
        sweep::remove_session_socket(&target.socket)?;
        let Target { id: session, processes, killed, usage, .. } = target;
        let elapsed_ms = millis_since(start);
        journal::record(&Event::Stopped { session, processes, killed, elapsed_ms, usage });
    }
    mark_over(context, id)
}

/// Notes that a session is not restored, and can be started again.
pub(crate) fn mark_over(context: &Context, id: &SessionId) -> Result<()> {
    while let Some(spec) = context.store.spec(id)? {
        if context.store.change_spec(&spec, |spec| spec.over = true)? {
            break;
        }
        // Somebody changed it in between, as a save does.
    }
    Ok(())
}

/// Forgets sessions that were not running when they were looked for, so that they are not restored. One
/// that was started meanwhile is stopped.
///
/// # Errors
/// When a specification stays, or something that was started.
pub fn forget(context: &Context, kept: &[SessionId], timeout: Duration) -> Result<Vec<Stopped>> {
    let mut stopped = Vec::new();
    for id in kept {
        stopped.extend(forget_one(context, id, timeout)?);
    }
    Ok(stopped)
}

fn forget_one(context: &Context, id: &SessionId, timeout: Duration) -> Result<Vec<Stopped>> {
    let deadline = Deadline::after(TURN);
    loop {
        // Who starts it from here on waits, and then finds that it is forgotten.
        let turn = context.store.clearing_turn(id, deadline).ok();
        if let Some(found) = observe::one(context, id)? {
            drop(turn);
            return stop(context, &[found], timeout);
        }
        // Who is starting it already has units in a moment, and no event tells of it.
        if deadline.passed() || !context.store.is_claimed(id) {
            clear_empty_slice(context, id, SOON)?;
            context.store.remove_spec(id)?;
            break;
        }
        drop(turn);
        pause(Duration::from_millis(20));
    }
    let (session, processes, killed, elapsed_ms) = (id.clone(), 0, 0, 0);
    journal::record(&Event::Stopped {
        session: session.clone(),
        processes,
        killed,
        elapsed_ms,
        usage: Usage::default(),
    });
    Ok(vec![Stopped { session, processes, killed, elapsed_ms }])
}

/// Ends what there is of the sessions, and leaves their specifications.
///
/// # Errors
/// As for [`stop`].
pub fn clear(context: &Context, found: &[ObservedSession], timeout: Duration) -> Result<()> {
    end_trees(context, found, timeout)?.failed.map_or(Ok(()), Err)
}

/// What came of it.
struct Ended {
    /// Those that are proven gone.
    gone: Vec<Target>,
    /// The first of the errors: a session that is not gone, or a socket that stays.
    failed: Option<Error>,
}

fn end_trees(context: &Context, found: &[ObservedSession], timeout: Duration) -> Result<Ended> {
    let manager = context.manager()?;
    leave_if_inside(context, found)?;
    let mut targets: Vec<Target> = found.iter().map(Target::of).collect();
    for target in &targets {
        target.thaw(manager);
    }
    let slices: Vec<String> = targets.iter().map(|target| target.slice.clone()).collect();
    let deadline = Deadline::after(timeout);
    let mut outcomes = manager.stop(&slices, deadline.min(Deadline::after(SOON)))?;
    if outcomes.contains(&JobOutcome::Pending) {
        journal::progress!("waiting up to {} s for what does not end at once", deadline.left().as_secs());
        // Asked again, the manager goes on with the stop that is under way.
        outcomes = manager.stop(&slices, deadline)?;
    }
    let mut late = Vec::new();
    for (target, outcome) in targets.iter_mut().zip(outcomes) {
        if matches!(outcome, JobOutcome::Done | JobOutcome::Gone) && !target.cgroup.is_populated()? {
            continue;
        }
        target.kill()?;
        late.push(target.slice.clone());
    }
    if !late.is_empty() {
        manager.stop(&late, Deadline::after(AFTER_KILL))?;
    }
    let mut ended = Ended { gone: Vec::new(), failed: None };
    for target in targets {
        let proof = prove_gone(&target);
        // The processes are what matters: a socket that cannot be removed is told.
        let told = if proof.is_ok() { sweep::remove_session_socket(&target.socket) } else { Ok(()) };
        if proof.is_ok() {
            ended.gone.push(target);
        }
        if let Err(error) = proof.and(told) {
            ended.failed.get_or_insert(error);
        }
    }
    Ok(ended)
}

/// The proof: the kernel says that no process is left.
fn prove_gone(target: &Target) -> Result<()> {
    if target.cgroup.wait_empty(Deadline::after(AFTER_KILL))? {
        return Ok(());
    }
    let pids: Vec<String> = target.cgroup.processes().iter().map(u32::to_string).collect();
    Err(Error::new(
        Kind::Deadline,
        format!("{} is not gone: processes {} are left", target.id, pids.join(", ")),
    )
    .hint(
        "a process that hangs in the kernel (state D) ends when what it waits for does; then stop it again",
    ))
}

/// Who ends the session it is called from would be ended half-way: it moves out first.
fn leave_if_inside(context: &Context, found: &[ObservedSession]) -> Result<()> {
    let own = cgroup::of_process(std::process::id()).and_then(|path| unit::session_of_cgroup(&path));
    if own.is_some_and(|own| found.iter().any(|found| found.id == own)) {
        outlive_session()?;
        context.manager()?.leave_session(Deadline::after(AFTER_KILL))?;
    }
    Ok(())
}
