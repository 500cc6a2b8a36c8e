//! Stops sessions completely: asks all processes to end, kills them at the deadline, and proves that none
//! is left.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::observe::{self, ObservedSession};
use super::outside::outside;
use crate::model::error::{Error, Kind, Result, first_of};
use crate::model::event::Event;
use crate::model::session::name::SessionId;
use crate::model::session::outside::OutsideProcess;
use crate::model::unit;
use crate::model::usage::Usage;
use crate::ops::end_tree::{self, SURVIVES_KILL};
use crate::ops::{Context, sweep};
use crate::sys::cgroup::{self, Cgroup};
use crate::sys::clock::{Deadline, millis_since, pause};
use crate::sys::connections::Connections;
use crate::sys::journal;
use crate::sys::signals::outlive_session;
use crate::sys::store::Claim;
use crate::sys::systemd::{JobOutcome, Manager};

/// Default for how long a session's processes may take to end after SIGTERM.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// Print a progress line if stopping takes longer than this. Also the wait for a lock that a stop can do
/// without.
const SOON: Duration = Duration::from_secs(1);

/// How long the kernel and the manager may take after SIGKILL.
const AFTER_KILL: Duration = Duration::from_secs(10);

/// How long to wait for another process that is clearing the session.
const OTHER_CLEARS: Duration = Duration::from_secs(30);

/// How long a supervisor may take to end, including the end of any processes left in its session.
const SUPERVISOR: Duration = Duration::from_secs(30);

/// A session that was stopped.
#[derive(Debug, Clone, Serialize)]
pub struct Stopped {
    pub session: SessionId,
    /// How many processes the session had.
    pub processes: u64,
    /// How many of them did not end after SIGTERM and were killed.
    pub killed: u64,
    /// The processes outside its slice that did work for it, and still run. Null if the kernel does not say.
    pub outside: Option<Vec<OutsideProcess>>,
    pub elapsed_ms: u64,
}

/// A session whose processes are to end.
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
            // Read the usage while the cgroup exists: it goes away with the session.
            usage: found.cgroup.usage(found.mark.as_ref().map(|mark| mark.since_us)),
        }
    }

    /// Thaws the session. The manager does not stop a frozen unit, and a frozen process ends only by
    /// SIGKILL. If thawing fails, the processes are killed at the deadline.
    fn thaw(&self, manager: &Manager) {
        if let Err(error) = thaw(manager, &self.cgroup, &self.slice) {
            tracing::debug!("{} could not be thawed, and will be killed: {error}", self.id);
        }
    }

    /// Kills the processes that did not end after SIGTERM, and counts them.
    fn kill(&mut self) -> Result<()> {
        self.killed = end_tree::kill(&self.cgroup)?;
        Ok(())
    }
}

fn thaw(manager: &Manager, cgroup: &Cgroup, slice: &str) -> Result<()> {
    end_tree::thaw(slice, cgroup, |unit, cgroup| manager.thaw(unit, cgroup))
}

/// Stops the slice of a session that has no processes, if the manager still has it: the slice is about to
/// go away, was left loaded, or systemd 257 keeps it because its processes were killed while frozen.
///
/// # Errors
/// [`Kind::Bus`] if forge cannot reach the manager; [`Kind::Failed`] if the manager cannot stop the slice.
pub(crate) fn clear_empty_slice(context: &Context, id: &SessionId, timeout: Duration) -> Result<()> {
    let (manager, slice) = (context.manager()?, unit::slice(id));
    let cgroup = Cgroup::new(&manager.control_group()?).child(unit::FORGE_SLICE).child(&slice);
    thaw(manager, &cgroup, &slice)?;
    manager.stop(&[slice], Deadline::after(timeout)).map(drop)
}

/// Stops the sessions in parallel, with their supervisors, and records each stop in the journal. They are
/// not restored after a boot.
///
/// # Errors
/// [`Kind::Deadline`] if processes of a session are left 10 seconds after SIGKILL; the other sessions are
/// stopped all the same. [`Kind::Bus`] if forge cannot reach the manager.
pub fn stop(context: &Context, found: &[ObservedSession], timeout: Duration) -> Result<Vec<Stopped>> {
    let start = Instant::now();
    let _locks = lock_for_clearing(context, found);
    // Look while the sessions run: their connections end with them.
    let mut outside = all_outside(found);
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
        let outside = outside.remove(&id).flatten();
        stopped.push(Stopped { session: id, processes, killed, outside, elapsed_ms });
    }
    if let Err(error) = stop_supervisors(context, found) {
        failed.get_or_insert(error);
    }
    let names: Vec<String> = stopped.iter().map(|stopped| stopped.session.to_string()).collect();
    first_of(failed, "stopped", &names).map_or(Ok(stopped), Err)
}

/// The processes outside the sessions that do work for them.
fn all_outside(found: &[ObservedSession]) -> BTreeMap<SessionId, Option<Vec<OutsideProcess>>> {
    let connections = Connections::default();
    let of = |found: &ObservedSession| outside(&found.id, &found.cgroup, found.mark.as_ref(), &connections);
    found.iter().map(|found| (found.id.clone(), of(found))).collect()
}

/// Removes a session's specification. If the session is being started, waits up to 1 second for the spawn
/// to write it: from the missing specification the spawn concludes that the session was stopped, and does
/// not try again.
fn remove_spec(context: &Context, id: &SessionId, is_starting: bool) -> Result<()> {
    let deadline = Deadline::after(SOON);
    while is_starting
        && context.store.spec(id)?.is_none()
        && context.store.is_claimed(id)
        && !deadline.passed()
    {
        // No event reports that the spawn has written its specification, or has released its claim.
        pause(Duration::from_millis(5));
    }
    context.store.remove_spec(id)
}

/// Takes the clearing locks of the sessions, so that a supervisor, or the `pane-died` hook, which sees the
/// program end waits until the stop is recorded. If forge cannot take a lock within 30 seconds, it stops
/// the session without the lock.
fn lock_for_clearing(context: &Context, found: &[ObservedSession]) -> Vec<Claim> {
    let deadline = Deadline::after(OTHER_CLEARS);
    found.iter().filter_map(|found| context.store.clearing_turn(&found.id, deadline).ok()).collect()
}

/// Stops the supervisors of the sessions, and resets the failures that the manager has counted for them.
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
            return Err(Error::new(Kind::Deadline, format!("{service} has not stopped"))
                .hint(format!("see 'systemctl --user status {service}'")));
        }
        manager.reset_failed(service)?;
    }
    Ok(())
}

/// Ends a session's processes and its supervisor, and keeps its specification.
///
/// # Errors
/// As for [`stop`].
pub fn clear_with_supervisor(context: &Context, found: ObservedSession, timeout: Duration) -> Result<()> {
    let found = [found];
    let _locks = lock_for_clearing(context, &found);
    clear(context, &found, timeout)?;
    stop_supervisors(context, &found)
}

/// Ends the processes of a session whose supervisor's service is being stopped, unless another process has
/// done so. The session is not restored after a boot, and `forge restart` can start it again.
///
/// # Errors
/// As for [`stop`].
pub fn stop_with_service(context: &Context, id: &SessionId) -> Result<()> {
    let _lock = match observe::one(context, id)?.filter(|found| found.has_body) {
        // The holder of the lock is ending the session; forge ends any processes that it leaves. Wait only
        // for 1 second: the holder may be waiting for this service.
        Some(_) => context.store.clearing_turn(id, Deadline::after(SOON)).ok(),
        // The holder of the lock may be waiting for this service to stop.
        None => None,
    };
    let start = Instant::now();
    if let Some(found) = observe::one(context, id)?.filter(|found| found.has_body) {
        let mut target = Target::of(&found);
        target.thaw(context.manager()?);
        // Do not ask the manager to stop the scope: its stop job waits until this service has stopped, and
        // the service waits for this function.
        target.killed = end_tree::ask_then_kill(&target.cgroup, TIMEOUT)?;
        prove_gone(&target)?;
        sweep::remove_session_socket(&target.socket)?;
        let Target { id: session, processes, killed, usage, .. } = target;
        let elapsed_ms = millis_since(start);
        journal::record(&Event::Stopped { session, processes, killed, elapsed_ms, usage });
    }
    mark_over(context, id)
}

/// Marks a session as over in its specification: it is not restored after a boot, and `forge restart` can
/// start it again.
pub(crate) fn mark_over(context: &Context, id: &SessionId) -> Result<()> {
    while let Some(spec) = context.store.spec(id)? {
        if context.store.change_spec(&spec, |spec| spec.over = true)? {
            break;
        }
        // Another process, such as a save, changed the specification in between: read it again.
    }
    Ok(())
}

/// Forgets sessions that exist only as a specification, so that they are not restored. A session that was
/// started in the meantime is stopped.
///
/// # Errors
/// [`Kind::Failed`] if forge cannot remove a specification or a dead socket; otherwise as for [`stop`].
pub fn forget(context: &Context, kept: &[SessionId], timeout: Duration) -> Result<Vec<Stopped>> {
    let mut stopped = Vec::new();
    for id in kept {
        stopped.extend(forget_one(context, id, timeout)?);
    }
    Ok(stopped)
}

fn forget_one(context: &Context, id: &SessionId, timeout: Duration) -> Result<Vec<Stopped>> {
    let deadline = Deadline::after(OTHER_CLEARS);
    loop {
        // Take the lock: a restart from here on waits, and then finds that the session is forgotten.
        let lock = context.store.clearing_turn(id, deadline).ok();
        if let Some(found) = observe::one(context, id)? {
            drop(lock);
            return stop(context, &[found], timeout);
        }
        // A session that is being started has units in a moment. No event reports them.
        if deadline.passed() || !context.store.is_claimed(id) {
            clear_empty_slice(context, id, SOON)?;
            // A stop that lost the bus after the processes had ended leaves the socket behind.
            sweep::remove_session_socket(&context.socket(id))?;
            context.store.remove_spec(id)?;
            break;
        }
        drop(lock);
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
    Ok(vec![Stopped { session, processes, killed, outside: Some(Vec::new()), elapsed_ms }])
}

/// Ends the processes of the sessions, and keeps their specifications.
///
/// # Errors
/// As for [`stop`].
pub fn clear(context: &Context, found: &[ObservedSession], timeout: Duration) -> Result<()> {
    end_trees(context, found, timeout)?.failed.map_or(Ok(()), Err)
}

/// The result of ending several sessions.
struct Ended {
    /// Sessions without any process left.
    gone: Vec<Target>,
    /// The first error: a session with processes left, or a socket that forge could not remove.
    failed: Option<Error>,
}

/// Ends the processes of the sessions in parallel: thaws the sessions, has the manager send SIGTERM, sends SIGKILL
/// after `timeout`, and proves that no process is left. Then removes the sockets.
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
        journal::progress!("waiting up to {} s for processes to end", deadline.left().as_secs());
        // When asked again, the manager continues the stop that is under way.
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
        // The processes matter most: if only the socket is left, the session counts as stopped, and the
        // error is reported.
        let removed = if proof.is_ok() { sweep::remove_session_socket(&target.socket) } else { Ok(()) };
        if proof.is_ok() {
            ended.gone.push(target);
        }
        if let Err(error) = proof.and(removed) {
            ended.failed.get_or_insert(error);
        }
    }
    Ok(ended)
}

/// Proves that the kernel has no process left in the session's cgroup.
///
/// # Errors
/// [`Kind::Deadline`] if processes are left after 10 seconds.
fn prove_gone(target: &Target) -> Result<()> {
    end_tree::prove_gone(&target.cgroup, AFTER_KILL, |left| {
        let error = format!("{} is not gone: processes {left} are left", target.id);
        Error::new(Kind::Deadline, error).hint(format!("{SURVIVES_KILL}; then stop the session again"))
    })
}

/// Moves this process out of its session if that session is to end. Otherwise the stop would kill forge
/// half-way.
fn leave_if_inside(context: &Context, found: &[ObservedSession]) -> Result<()> {
    let own = cgroup::of_process(std::process::id()).and_then(|path| unit::session_of_cgroup(&path));
    if own.is_some_and(|own| found.iter().any(|found| found.id == own)) {
        outlive_session()?;
        context.manager()?.leave_session(Deadline::after(AFTER_KILL))?;
    }
    Ok(())
}
