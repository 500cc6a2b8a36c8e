//! Spawns sessions: sweeps first, starts each session with its own tmux server in its own slice, and retries
//! once after an error of the socket.

mod attempt;
pub mod ports;
mod ready;
pub mod refusal;
pub mod request;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::observe;
use super::outside::outside_of_running;
use super::stop;
use crate::model::error::{Error, Kind, Result};
use crate::model::event::Event;
use crate::model::session::Mark;
use crate::model::session::name::SessionId;
use crate::model::session::outside::OutsideProcess;
use crate::model::sweep::SweepReport;
use crate::model::unit;
use crate::ops::{Context, sweep};
use crate::sys::clock::{Deadline, millis_since, pause};
use crate::sys::store::Claim;
use crate::sys::tmux::directory::Directory;
use crate::sys::{env, journal};
use attempt::{AttemptError, StartedSession};
use ports::Freed;
use refusal::{check_unchanged, is_abandoned, refuse_and_heal, stopped_meanwhile};
use request::{SpawnMode, SpawnRequest};

/// How long the processes of a failed or abandoned attempt may take to end after SIGTERM.
const CLEARING: Duration = Duration::from_secs(2);

/// How long to wait for another process that is clearing the session's last run (SIGTERM, then SIGKILL).
const LAST_RUN: Duration = Duration::from_secs(30);

/// How long a supervisor waits for another spawn of its session to be refused. That spawn sweeps first.
const OTHER_SPAWN: Duration = Duration::from_secs(30);

/// A session that was started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spawned {
    pub session: String,
    pub socket: PathBuf,
    pub slice: String,
    pub scope: String,
    /// The pid of the tmux server.
    pub server_pid: u32,
    /// The pid of the program.
    pub pane_pid: u32,
    /// How often forge started tmux until the session was up: 1 or 2.
    pub attempts: u32,
    /// The dead sockets that the sweep before the spawn removed.
    #[serde(serialize_with = "crate::model::sweep::texts")]
    pub swept: Vec<PathBuf>,
    /// Whether the session is ready: its ready pattern matched, or it has no pattern and its program runs. False if
    /// the pattern of its agent's profile did not match in time.
    pub ready: bool,
    /// Processes of an earlier run that listened on the session's ports, and were ended.
    pub freed: Vec<Freed>,
    /// The id of the conversation with which the program was resumed.
    pub resumed: Option<String>,
    /// Why the program started without an id although the session has a `resume` command.
    pub fresh: Option<String>,
    /// The processes outside its slice that do work for it. Null if the kernel does not say.
    pub outside: Option<Vec<OutsideProcess>>,
    pub elapsed_ms: u64,
    /// Which run of the session this is, in microseconds since 1970.
    #[serde(skip)]
    pub since_us: u64,
}

impl Spawned {
    /// Describes a session that is up, as if its first attempt had succeeded without a sweep.
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
            resumed: None,
            fresh: None,
            outside: None,
            elapsed_ms: 0,
            since_us: mark.since_us,
        }
    }
}

/// Starts a session, and records the spawn or its failure in the journal.
///
/// # Errors
/// [`Kind::Taken`] if a session of that name exists; [`Kind::Port`] if another process listens on one of its
/// ports; [`Kind::Ended`] if the program ended before the session was up; [`Kind::Deadline`] if the ready
/// pattern did not match in time; [`Kind::Socket`] if tmux failed twice. After an error nothing of the
/// session is left except its specification, which stays with [`SpawnMode::Again`], [`SpawnMode::Supervised`]
/// and [`SpawnMode::Restored`].
pub fn spawn(context: &Context, request: SpawnRequest<'_>) -> Result<Spawned> {
    let spec = request.spec;
    let spawned = spawn_claimed(context, request);
    if let Err(error) = &spawned {
        // A refusal has changed nothing, and is not a failure of the session that has the name.
        if error.kind != Kind::Taken {
            journal::record(&Event::SpawnFailed {
                session: spec.session.clone(),
                kind: error.kind.word(),
                error: error.first_line().to_owned(),
            });
        }
    }
    spawned
}

/// Starts a session, and records the spawn in the journal. The caller records a failure.
fn spawn_claimed(context: &Context, request: SpawnRequest<'_>) -> Result<Spawned> {
    let start = Instant::now();
    // Hold the claim until the end. If the next spawn finds a half-started session and no claim, it knows
    // that the session was abandoned.
    let _claim = claim_and_wait(context, request)?;
    check_surroundings(context, request)?;
    let mut report = sweep_before_spawn(context);
    make_way(context, request)?;
    let freed = ports::free_ports(context, request.spec)?;
    let (StartedSession { mark, is_ready }, attempts) = start_with_retry(context, request, &mut report)?;
    let spawned = Spawned {
        attempts,
        swept: report.removed,
        ready: is_ready,
        freed,
        resumed: request.resumption.id.clone(),
        fresh: request.resumption.fresh.clone(),
        outside: outside_of_running(&request.spec.session, &mark),
        elapsed_ms: millis_since(start),
        ..Spawned::of(&request.spec.session, &mark)
    };
    journal::record(&Event::Spawned {
        session: request.spec.session.clone(),
        program: request.resumption.argv.name().to_owned(),
        socket: spawned.socket.clone(),
        server_pid: spawned.server_pid,
        pane_pid: spawned.pane_pid,
        attempts,
        swept: spawned.swept.len(),
        freed: spawned.freed.iter().map(ToString::to_string).reduce(|all, one| format!("{all}, {one}")),
        resume_id: spawned.resumed.clone(),
        fresh: spawned.fresh.clone(),
        elapsed_ms: spawned.elapsed_ms,
    });
    Ok(spawned)
}

/// Claims the session's name, and waits until no other process is clearing the session.
///
/// # Errors
/// [`Kind::Taken`] if another process holds the claim. In a restore, also if the session was stopped or started
/// after the restore chose it. [`Kind::Deadline`] if clearing takes longer than 30 seconds.
fn claim_and_wait(context: &Context, request: SpawnRequest<'_>) -> Result<Claim> {
    let id = &request.spec.session;
    context.manager()?;
    if let SpawnMode::Restored(planned) = request.mode {
        // Before claiming the name, wait for a `forge stop` or `forge restart` of the session to finish.
        drop(context.store.clearing_turn(id, Deadline::after(LAST_RUN))?);
        check_unchanged(context, id, planned)?;
    }
    let claim = claim_name(context, request)?;
    drop(context.store.clearing_turn(id, Deadline::after(LAST_RUN))?);
    if let SpawnMode::Restored(planned) = request.mode {
        check_unchanged(context, id, planned)?;
        if planned.is_none() {
            // Write the specification now: if the session does not start, `forge restart` finds it.
            context.store.write_spec(request.spec)?;
        }
    }
    Ok(claim)
}

/// Checks that tmux is installed, that its socket directory is safe, and that the working directory exists.
fn check_surroundings(context: &Context, request: SpawnRequest<'_>) -> Result<()> {
    env::tmux()?;
    check_socket_dir(&context.paths.socket_dir())?;
    if request.keeps_spec() {
        // The directory existed when the session ran. Without this check, the program's error would not name
        // the directory.
        env::check_working_directory(&request.spec.cwd)
            .map_err(|error| Error { kind: Kind::Failed, ..error })?;
    }
    Ok(())
}

/// Ends an existing session of the name, or refuses to, as the request's mode says.
fn make_way(context: &Context, request: SpawnRequest<'_>) -> Result<()> {
    let id = &request.spec.session;
    match request.mode {
        SpawnMode::Replacing => match observe::one(context, id)? {
            Some(old) => stop::stop(context, &[old], stop::TIMEOUT).map(drop),
            None => Ok(()),
        },
        SpawnMode::Again(Some(old)) => stop::clear(context, std::slice::from_ref(old), stop::TIMEOUT),
        SpawnMode::Supervised => Ok(()),
        SpawnMode::New | SpawnMode::Again(None) | SpawnMode::Restored(_) => check_not_supervised(context, id),
    }
}

/// Claims the session's name.
///
/// A supervisor waits up to 30 seconds for the claim: a `forge spawn` of the same name releases it as soon as
/// it finds the supervisor and fails.
///
/// # Errors
/// [`Kind::Taken`] if another process holds the claim.
fn claim_name(context: &Context, request: SpawnRequest<'_>) -> Result<Claim> {
    let deadline = Deadline::after(OTHER_SPAWN);
    loop {
        match context.store.claim(&request.spec.session) {
            Err(error)
                if error.kind == Kind::Taken
                    && matches!(request.mode, SpawnMode::Supervised)
                    && !deadline.passed() =>
            {
                // The kernel offers no lock with a deadline, so forge tries again.
                pause(Duration::from_millis(20));
            }
            claimed => return claimed,
        }
    }
}

/// Refuses to spawn a session that has a supervisor, or is about to have one.
///
/// # Errors
/// [`Kind::Taken`].
fn check_not_supervised(context: &Context, id: &SessionId) -> Result<()> {
    match observe::one(context, id)? {
        Some(found) if found.is_supervised() => Err(refuse_and_heal(&found)),
        _ => Ok(()),
    }
}

/// Sweeps before a spawn. A sweep that removes nothing is not recorded, so that `forge probe` still shows how
/// many sockets the last recorded sweep removed.
fn sweep_before_spawn(context: &Context) -> SweepReport {
    let report = sweep::sweep(context, &sweep::SweepPlan::before_spawn(context));
    if !report.removed.is_empty() {
        sweep::record(context, &report);
    } else if context.store.last_sweep().is_ok_and(|last| last.is_none()) {
        sweep::save_last_sweep(context, &report);
    }
    report
}

/// Checks that tmux can create its socket safely in the directory. tmux's own message would not name the
/// cause.
///
/// # Errors
/// [`Kind::Unsafe`].
fn check_socket_dir(socket_dir: &std::path::Path) -> Result<()> {
    Directory::check_way(socket_dir)?;
    match Directory::open(socket_dir)? {
        Some(directory) if !directory.is_writable() => Err(Error::new(
            Kind::Unsafe,
            format!("{} is not writable, so tmux cannot create its socket", socket_dir.display()),
        )
        .hint(format!("chmod 700 {}", socket_dir.display()))),
        _ => Ok(()),
    }
}

/// Starts the session with at most two attempts, and clears abandoned units of that name in between. Returns
/// the session and the number of attempts.
fn start_with_retry(
    context: &Context,
    request: SpawnRequest<'_>,
    report: &mut SweepReport,
) -> Result<(StartedSession, u32)> {
    let id = &request.spec.session;
    let mut cleared = false;
    let mut attempt = 1;
    loop {
        match attempt::start(context, request) {
            Ok(started) => return Ok((started, attempt)),
            Err(AttemptError::Exists) => {
                match observe::one(context, id)? {
                    Some(found) if !is_abandoned(&found) => return Err(refuse_and_heal(&found)),
                    // Clear only once: forge does not fight against units that come back by themselves.
                    Some(_) | None if cleared => {
                        return Err(Error::new(Kind::Taken, format!("{} still exists", unit::scope(id)))
                            .hint(format!("see 'systemctl --user status {}'", unit::scope(id))));
                    }
                    Some(found) => stop::clear(context, &[found], CLEARING)?,
                    None => stop::clear_empty_slice(context, id, CLEARING)?,
                }
                cleared = true;
            }
            Err(AttemptError::BeforeUnits(error)) => return Err(error),
            Err(AttemptError::AfterUnits(error)) => {
                let may_retry = error.kind == Kind::Socket && attempt == 1;
                // Ask before clean_up removes the specification.
                let was_stopped = may_retry.then(|| was_stopped(context, id));
                match clean_up(context, request) {
                    // The connection itself may have failed after the manager received the request. The
                    // manager can take the ending process for a live one, and keep an empty scope.
                    Err(lost) if matches!(lost.kind, Kind::Missing | Kind::Bus) => {
                        clean_up(&context.reconnected(), request)
                    }
                    cleared => cleared,
                }?;
                match was_stopped.transpose()? {
                    None => return Err(error),
                    Some(true) => return Err(stopped_meanwhile(id)),
                    Some(false) => attempt += 1,
                }
                journal::record(&Event::SpawnRetried { session: id.clone(), error: error.message });
                report.absorb(sweep_before_spawn(context));
            }
        }
    }
}

/// Whether the attempt failed because somebody stopped the session. The attempt has written the
/// specification, and `forge stop` removes it before it releases the clearing lock. So if the specification
/// is gone, the session was stopped.
fn was_stopped(context: &Context, id: &SessionId) -> Result<bool> {
    drop(context.store.clearing_turn(id, Deadline::after(LAST_RUN))?);
    Ok(context.store.spec(id)?.is_none())
}

/// Removes the remains of a failed attempt: units, processes, socket and specification. The next attempt must
/// not meet a server that is about to end.
fn clean_up(context: &Context, request: SpawnRequest<'_>) -> Result<()> {
    let spec = request.spec;
    if let Some(found) = observe::one(context, &spec.session)? {
        // If the manager did not answer in time, the units may belong to another spawn.
        if !is_abandoned(&found) {
            return Ok(());
        }
        stop::clear(context, std::slice::from_ref(&found), CLEARING)?;
        attempt::wait_until_empty(&found.cgroup)?;
    }
    // tmux may have requested a scope for a pane that has ended by now. Such an empty scope does not end by
    // itself, and keeps the slice and thus the name.
    stop::clear_empty_slice(context, &spec.session, CLEARING)?;
    sweep::remove_session_socket(&context.socket(&spec.session))?;
    // In the modes that keep the specification, it was there before this attempt.
    if request.keeps_spec() { Ok(()) } else { context.store.remove_that_spec(spec) }
}
