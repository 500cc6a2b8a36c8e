//! One attempt to start a session: from the process behind the gate to the running program.

use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use super::ready::StartedProgram;
use super::refusal::stopped_meanwhile;
use super::request::{SpawnMode, SpawnRequest};
use crate::model::error::{Error, Kind, Result};
use crate::model::internal_command::InternalCommand;
use crate::model::session::spec::Spec;
use crate::model::session::{Mark, environment};
use crate::model::tmux::Ids;
use crate::model::unit;
use crate::ops::Context;
use crate::ops::session::resume::Resumption;
use crate::sys::cgroup::{self, Cgroup};
use crate::sys::clock::{Deadline, now_us};
use crate::sys::command;
use crate::sys::env;
use crate::sys::gate::{Gate, Held};
use crate::sys::proc::process_id;
use crate::sys::process::Process;
use crate::sys::systemd::{Scope, StartError};
use crate::sys::tmux::{self, Server};

/// How long the manager may take to create the units.
const UNITS: Duration = Duration::from_secs(20);

/// How long tmux may take to start its server and load the user's configuration. Plugin managers take
/// seconds.
const START: Duration = Duration::from_secs(15);

/// A session whose program is up.
#[derive(Debug)]
pub(super) struct StartedSession {
    pub mark: Mark,
    /// Whether its ready pattern matched, if it has one.
    pub is_ready: bool,
}

/// Why an attempt failed.
#[derive(Debug)]
pub(super) enum AttemptError {
    /// A unit of that name exists. The attempt has created nothing.
    Exists,
    /// The attempt failed before it created a unit. Units of that name belong to somebody else.
    BeforeUnits(Error),
    /// The attempt failed later. Its units may be left.
    AfterUnits(Error),
}

impl From<Error> for AttemptError {
    fn from(error: Error) -> Self {
        Self::AfterUnits(error)
    }
}

/// Starts the session, and returns it once its program is up. The caller holds the claim on the name,
/// and cleans up after [`AttemptError::AfterUnits`].
pub(super) fn start(
    context: &Context,
    request: SpawnRequest<'_>,
) -> std::result::Result<StartedSession, AttemptError> {
    let SpawnRequest { spec, resumption: Resumption { argv, .. }, .. } = request;
    let GatedProcess { held, first, gate, forge } =
        start_gated(context, spec).map_err(AttemptError::BeforeUnits)?;
    let scope = Scope {
        scope: unit::scope(&spec.session),
        slice: unit::slice(&spec.session),
        service: unit::service(&spec.session),
        description: format!("forge session {} ({})", spec.session, argv.name()),
        limits: &spec.limits,
        process: &first,
    };
    tracing::debug!("making {} in {} with process {}", scope.scope, scope.slice, first.pid());
    if let Err(error) = context.manager()?.start_scope(&scope, Deadline::after(UNITS)) {
        held.abandon();
        return Err(match error {
            StartError::Exists => AttemptError::Exists,
            StartError::Other(error) => error.into(),
        });
    }
    // The units exist from here on. tmux starts while forge writes the specification, and the program
    // starts after that: after a power cut at any later moment, a restore finds the specification.
    let server = held.release()?;
    let written = context.store.remove_end(&spec.session).and_then(|()| write_spec(context, request));
    let ids = read_ids(server);
    written?;
    let ids = ids?;
    Ok(start_program(request, &gate, &ids, &forge)?)
}

/// Writes the specification, from which a restore brings the session back after a power cut.
///
/// # Errors
/// [`Kind::Taken`] if the session is being restored and was stopped after the restore was planned: then its
/// specification is gone, and the session must not start.
fn write_spec(context: &Context, request: SpawnRequest<'_>) -> Result<()> {
    let SpawnMode::Restored(planned) = request.mode else { return context.store.write_spec(request.spec) };
    // On disk is the planned specification, or the one that the first attempt has written.
    for expected in [planned, Some(request.spec)].into_iter().flatten() {
        if context.store.change_spec(expected, |spec| request.spec.clone_into(spec))? {
            return Ok(());
        }
    }
    Err(stopped_meanwhile(&request.spec.session))
}

/// The session's first process, which waits behind a gate until it may become tmux.
struct GatedProcess {
    held: Held,
    first: Process,
    gate: Gate,
    forge: PathBuf,
}

/// Starts the process that will become tmux. It waits behind its gate until the units exist.
fn start_gated(context: &Context, spec: &Spec) -> Result<GatedProcess> {
    context.manager()?;
    let (binary, forge, gate) = (env::tmux()?, env::forge()?, Gate::new()?);
    let pane_command = [
        vec![forge.to_string_lossy().into_owned()],
        InternalCommand::GatePane { gate: gate.name().to_owned() }.words(),
    ]
    .concat();
    let command =
        tmux::new_session(&binary, &spec.session, &spec.cwd, &pane_command, &context.paths.tmux_configs());
    let environment =
        environment::for_session(env::caller_environment(), &spec.kept_env, &spec.env, &spec.session);
    let environment = tmux::for_server(environment, &context.paths);
    let held = Held::start(&command, &environment)?;
    match Process::open(held.pid()) {
        Ok(Some(first)) => Ok(GatedProcess { held, first, gate, forge }),
        other => {
            held.abandon();
            Err(other.err().unwrap_or_else(|| Error::failed("the session's first process ended at once")))
        }
    }
}

/// Reads the ids that tmux prints once it has created the session. tmux's exit status alone proves nothing:
/// tmux also exits with 0 if it could not create its socket.
///
/// # Errors
/// [`Kind::Deadline`] if tmux takes longer than 15 seconds; [`Kind::Socket`], [`Kind::TmuxConfig`] or
/// [`Kind::Failed`] with the message that tmux printed.
fn read_ids(tmux: Child) -> Result<Ids> {
    let output = command::finish(tmux, "tmux", Deadline::after(START)).map_err(|error| {
        if error.kind == Kind::Deadline {
            error.hint("does your tmux.conf run a command that waits?")
        } else {
            error
        }
    })?;
    tracing::debug!("tmux printed {:?} {:?}", output.stdout, output.stderr);
    match Ids::parse(&output.stdout) {
        Some(ids) if output.success => Ok(ids),
        _ => Err(tmux::client_error(&output)),
    }
}

/// Lets the process in the pane become the program, and waits until the program is up.
fn start_program(
    request: SpawnRequest<'_>,
    gate: &Gate,
    ids: &Ids,
    forge: &std::path::Path,
) -> Result<StartedSession> {
    let SpawnRequest { spec, resumption: Resumption { argv, .. }, .. } = request;
    let waiting = gate.wait_for(ids.pane_pid, Deadline::after(START))?;
    let lost = || Error::new(Kind::Socket, "tmux: lost server while the session was being started");
    let program = Process::open(ids.pane_pid)?.ok_or_else(lost)?;
    let cgroup = check_contained(spec, ids)?;
    let (server, pane) = (process_id(ids.server_pid), process_id(ids.pane_pid));
    let (server, pane) = (server.ok_or_else(lost)?, pane.ok_or_else(lost)?);
    let mut mark = Mark {
        server_pid: server.pid,
        server_start: server.start,
        pane: ids.pane.clone(),
        pane_pid: pane.pid,
        pane_start: pane.start,
        socket: ids.socket.clone().into(),
        since_us: now_us(),
        up: false,
    };
    cgroup.set_mark(&mark)?;
    waiting.release(argv, spec.cwd.clone(), Deadline::after(START)).map_err(|error| {
        if error.kind == Kind::Ended {
            error.hint("is it installed, and in the PATH that forge was called with?")
        } else {
            error
        }
    })?;

    // The program runs from here on. A failure is no longer an error of the socket that a second attempt
    // may fix: a second start would repeat the program's work, or undo a stop.
    let server = Server::new(&env::tmux()?, &mark.socket);
    let started = StartedProgram { spec, argv, mark: &mark, process: &program, cgroup: &cgroup, server };
    let is_ready = started.wait_until_up(forge).map_err(|error| {
        if error.kind == Kind::Socket { Error { kind: Kind::Ended, ..error } } else { error }
    })?;
    mark.up = true;
    cgroup.set_mark(&mark)?;
    Ok(StartedSession { mark, is_ready })
}

/// Checks that server and program run in the session's slice, and returns the slice's cgroup.
///
/// # Errors
/// [`Kind::Failed`] if a process runs in another slice; [`Kind::Socket`] if it has ended.
fn check_contained(spec: &Spec, ids: &Ids) -> Result<Cgroup> {
    let slice_of = |pid| {
        let path = cgroup::of_process(pid)
            .ok_or_else(|| Error::new(Kind::Socket, "tmux: server exited unexpectedly"))?;
        match unit::slice_of_cgroup(&path) {
            Some((session, slice)) if session == spec.session => Ok(Cgroup::new(slice)),
            _ => Err(Error::failed(format!(
                "process {pid} of {} runs outside its slice, in {path}",
                spec.session
            ))
            .hint("does your tmux.conf or a PAM module move processes to other control groups?")),
        }
    };
    slice_of(ids.server_pid)?;
    slice_of(ids.pane_pid)
}

/// Waits up to 20 seconds until the last attempt's processes have ended, so that a new server does not meet
/// a server that is about to end.
///
/// # Errors
/// [`Kind::Failed`] if processes are left.
pub(super) fn wait_until_empty(group: &Cgroup) -> Result<()> {
    group.wait_empty(Deadline::after(UNITS)).and_then(|empty| {
        if empty { Ok(()) } else { Err(Error::failed("the last attempt's cgroup: it is not empty")) }
    })
}
