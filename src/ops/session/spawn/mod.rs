//! Spawning: a session that heals, isolates and contains itself.

mod attempt;
pub mod order;
pub mod ports;
pub mod refusal;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::observe;
use super::stop;
use crate::model::error::{Error, Kind, Result};
use crate::model::event::Event;
use crate::model::session::Mark;
use crate::model::session::name::SessionId;
use crate::model::sweep::SweepReport;
use crate::model::unit;
use crate::ops::{Context, sweep};
use crate::sys::clock::{Deadline, millis_since, pause};
use crate::sys::store::Claim;
use crate::sys::tmux::directory::Directory;
use crate::sys::{env, journal};
use attempt::{Failure, StartedProgram};
use order::{SpawnMode, SpawnOrder};
use ports::Freed;
use refusal::{check_unchanged, is_abandoned, refuse_and_heal, stopped_meanwhile};

/// How long what is left of a failed or abandoned attempt may take to end when asked.
const CLEARING: Duration = Duration::from_secs(2);

/// How long what is left of the last run may still take to end: it was asked, then killed.
const LAST_RUN: Duration = Duration::from_secs(30);

/// How long a spawn that is to be refuse_and_heal may take for that, with the sweep before it.
const REFUSED: Duration = Duration::from_secs(30);

/// A session that was started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spawned {
    /// The session.
    pub session: String,
    /// Its socket.
    pub socket: PathBuf,
    /// Its slice.
    pub slice: String,
    /// Its scope.
    pub scope: String,
    /// Its tmux server.
    pub server_pid: u32,
    /// Its program.
    pub pane_pid: u32,
    /// How often tmux was started until it stood.
    pub attempts: u32,
    /// The dead sockets that were removed on the way.
    #[serde(serialize_with = "crate::model::sweep::texts")]
    pub swept: Vec<PathBuf>,
    /// Whether the session is ready: its pattern appeared, or it has none and its program runs.
    pub ready: bool,
    /// What an earlier run had left on its ports, and was ended.
    pub freed: Vec<Freed>,
    /// How long it took.
    pub elapsed_ms: u64,
    /// Which run of the session this is, in microseconds since 1970.
    #[serde(skip)]
    pub since_us: u64,
}

impl Spawned {
    /// A session that is up.
    pub(crate) fn of(id: &SessionId, mark: &Mark) -> Self {
        Self {
            session: id.to_string(),
            socket: mark.socket.clone(),
            slice: unit::slice(id),
            scope: unit::scope(id),
            server_pid: mark.server_pid,
            pane_pid: mark.pane_pid,
            attempts: 1,
            swept: Vec::new(),
            ready: true,
            freed: Vec::new(),
            elapsed_ms: 0,
            since_us: mark.since_us,
        }
    }
}

/// Starts a session.
///
/// # Errors
/// [`Kind::Taken`] when the name is; otherwise why it did not start. Then nothing is left, but
/// the specification with [`SpawnMode::Again`] and [`SpawnMode::Restored`].
pub fn spawn(context: &Context, order: SpawnOrder<'_>) -> Result<Spawned> {
    let spec = order.spec;
    let spawned = claimed(context, order);
    if let Err(error) = &spawned {
        // A refusal changes nothing, and is not a failure of the session that has the name.
        if error.kind != Kind::Taken {
            let text = error.message.lines().next().unwrap_or_default().to_owned();
            journal::record(&Event::SpawnFailed {
                session: spec.session.clone(),
                kind: error.kind.word(),
                error: text,
            });
        }
    }
    spawned
}

fn claimed(context: &Context, order: SpawnOrder<'_>) -> Result<Spawned> {
    let start = Instant::now();
    let id = &order.spec.session;
    context.manager()?;
    if let SpawnMode::Restored(planned) = order.mode {
        // Before the name is claimed: whoever is stopping it has its turn, and may start it otherwise.
        drop(context.store.clearing_turn(id, Deadline::after(LAST_RUN))?);
        check_unchanged(context, id, planned)?;
    }
    // Held to the end: who comes next and finds a session half-way up, and no claim, knows
    // that it was abandoned.
    let _claim = claim(context, order)?;
    drop(context.store.clearing_turn(id, Deadline::after(LAST_RUN))?);
    if let SpawnMode::Restored(planned) = order.mode {
        check_unchanged(context, id, planned)?;
        if planned.is_none() {
            // It is to run, and when it does not start 'forge restart' finds it.
            context.store.write_spec(order.spec)?;
        }
    }
    env::tmux()?;
    usable(&context.paths.socket_dir())?;
    if order.keeps_spec() {
        // It was there when the session ran; the error of the program would not name it.
        let there = env::check_working_directory(&order.spec.cwd);
        there.map_err(|error| Error { kind: Kind::Failed, ..error })?;
    }
    let mut report = clean(context);
    match order.mode {
        SpawnMode::Replacing => {
            if let Some(old) = observe::one(context, id)? {
                stop::stop(context, &[old], stop::TIMEOUT)?;
            }
        }
        SpawnMode::Again(Some(old)) => stop::clear(context, std::slice::from_ref(old), stop::TIMEOUT)?,
        SpawnMode::Supervised => {}
        SpawnMode::New | SpawnMode::Again(None) | SpawnMode::Restored(_) => leave_to_supervisor(context, id)?,
    }
    let freed = ports::make_free(context, order.spec)?;
    let (started, attempts) = attempts(context, order, &mut report)?;
    let spawned = Spawned {
        attempts,
        swept: report.removed,
        freed,
        elapsed_ms: millis_since(start),
        ..Spawned::of(id, &started.mark)
    };
    journal::record(&Event::Spawned {
        session: id.clone(),
        program: order.argv.name().to_owned(),
        socket: spawned.socket.clone(),
        server_pid: spawned.server_pid,
        pane_pid: spawned.pane_pid,
        attempts,
        swept: spawned.swept.len(),
        freed: spawned.freed.iter().map(ToString::to_string).reduce(|all, one| format!("{all}, {one}")),
        elapsed_ms: spawned.elapsed_ms,
    });
    Ok(spawned)
}

/// The right to the name. Whoever has it while a supervisor starts its session has it for a moment: until
/// it is seen that there is a supervisor.
fn claim(context: &Context, order: SpawnOrder<'_>) -> Result<Claim> {
    let deadline = Deadline::after(REFUSED);
    loop {
        match context.store.claim(&order.spec.session) {
            Err(error)
                if error.kind == Kind::Taken
                    && matches!(order.mode, SpawnMode::Supervised)
                    && !deadline.passed() =>
            {
                // The kernel has no lock with a deadline.
                pause(Duration::from_millis(20));
            }
            claimed => return claimed,
        }
    }
}

/// Refuses a name whose supervisor is at work, or is about to be.
fn leave_to_supervisor(context: &Context, id: &SessionId) -> Result<()> {
    match observe::one(context, id)? {
        Some(found) if found.is_supervised() => Err(refuse_and_heal(&found)),
        _ => Ok(()),
    }
}

/// Sweeps before the spawn. One that removes nothing is not worth a record, and does not hide
/// from the probe what the last one did remove.
fn clean(context: &Context) -> SweepReport {
    let report = sweep::sweep(context, &sweep::SweepPlan::before_spawn(context));
    if !report.removed.is_empty() {
        sweep::record(context, &report);
    } else if context.store.last_sweep().is_ok_and(|last| last.is_none()) {
        sweep::save_last_sweep(context, &report);
    }
    report
}

/// tmux must be able to make its socket, or what it says later helps nobody; and to make it there.
fn usable(socket_dir: &std::path::Path) -> Result<()> {
    Directory::check_way(socket_dir)?;
    match Directory::open(socket_dir)? {
        Some(directory) if !directory.is_writable() => Err(Error::new(
            Kind::Unsafe,
            format!("{} cannot be written: tmux cannot make its socket", socket_dir.display()),
        )
        .hint(format!("chmod 700 {}", socket_dir.display()))),
        _ => Ok(()),
    }
}

/// At most two attempts; what is in the way and is nobody's is cleared before.
fn attempts(
    context: &Context,
    order: SpawnOrder<'_>,
    report: &mut SweepReport,
) -> Result<(StartedProgram, u32)> {
    let id = &order.spec.session;
    let mut cleared = false;
    let mut attempt = 1;
    loop {
        match attempt::start(context, order) {
            Ok(started) => return Ok((started, attempt)),
            Err(Failure::Exists) => {
                match observe::one(context, id)? {
                    Some(found) if !is_abandoned(&found) => return Err(refuse_and_heal(&found)),
                    // Once: whatever comes back by itself is not ours to fight with.
                    Some(_) | None if cleared => {
                        return Err(Error::new(Kind::Taken, format!("the units of {id} cannot be had"))
                            .hint(format!("see 'systemctl --user status {}'", unit::scope(id))));
                    }
                    Some(found) => stop::clear(context, &[found], CLEARING)?,
                    None => stop::clear_empty_slice(context, id, CLEARING)?,
                }
                cleared = true;
            }
            Err(Failure::Nothing(error)) => return Err(error),
            Err(Failure::Broken(error)) => {
                let is_tried_again = error.kind == Kind::Socket && attempt == 1;
                // Before the specification is cleared with what is left.
                let was_stopped = is_tried_again.then(|| was_stopped(context, id));
                match clear_up(context, order) {
                    // The connection may be what failed. What was asked over it may be there all the same:
                    // the manager can take our process for alive while it ends, and keep an empty scope.
                    Err(lost) if matches!(lost.kind, Kind::Missing | Kind::Bus) => {
                        clear_up(&context.reconnected(), order)
                    }
                    cleared => cleared,
                }?;
                match was_stopped.transpose()? {
                    None => return Err(error),
                    Some(true) => return Err(stopped_meanwhile(id)),
                    Some(false) => attempt += 1,
                }
                journal::record(&Event::SpawnRetried { session: id.clone(), error: error.message });
                report.absorb(clean(context));
            }
        }
    }
}

/// Whether an attempt failed because somebody stopped the session: its specification, which was written
/// before anything could fail like that, is gone then. Who stops it has its turn until it is.
fn was_stopped(context: &Context, id: &SessionId) -> Result<bool> {
    drop(context.store.clearing_turn(id, Deadline::after(LAST_RUN))?);
    Ok(context.store.spec(id)?.is_none())
}

/// What an attempt that failed left: the units, the socket, the specification. The next
/// attempt must not meet the last moments of the old server.
fn clear_up(context: &Context, order: SpawnOrder<'_>) -> Result<()> {
    let spec = order.spec;
    if let Some(found) = observe::one(context, &spec.session)? {
        // A manager that did not answer in time leaves it open whether the units are ours.
        if !is_abandoned(&found) {
            return Ok(());
        }
        stop::clear(context, std::slice::from_ref(&found), CLEARING)?;
        attempt::wait_gone(&found.cgroup)?;
    }
    // tmux may have asked for the scope of a pane that is gone by now: an empty scope, which
    // nothing ends, and which keeps the slice and so the name.
    stop::clear_empty_slice(context, &spec.session, CLEARING)?;
    sweep::remove_session_socket(&context.paths.socket_dir().join(unit::socket(&spec.session)))?;
    // Not one that this attempt did not come to replace.
    if order.keeps_spec() { Ok(()) } else { context.store.remove_that_spec(spec) }
}
