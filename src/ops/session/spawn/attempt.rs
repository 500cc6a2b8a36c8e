//! One attempt at starting a session, from the gate to the running program.

use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use super::order::{SpawnMode, SpawnOrder};
use super::refusal::stopped_meanwhile;
use crate::model::error::{Error, Kind, Result, Trying};
use crate::model::event::Event;
use crate::model::internal_command::InternalCommand;
use crate::model::session::command::Argv;
use crate::model::session::spec::Spec;
use crate::model::session::{Mark, environment};
use crate::model::tmux::Ids;
use crate::model::unit;
use crate::ops::Context;
use crate::ops::session::exited;
use crate::sys::cgroup::{self, Cgroup};
use crate::sys::clock::{Deadline, millis_since, now_us};
use crate::sys::command;
use crate::sys::gate::{Gate, Held};
use crate::sys::proc::process_id;
use crate::sys::process::Process;
use crate::sys::systemd::{Scope, StartError};
use crate::sys::tmux::{self, Server, watch};
use crate::sys::{env, journal};

/// How long the manager may take to make the units.
const UNITS: Duration = Duration::from_secs(20);

/// How long tmux may take to start its server, its configuration included: plugin managers take
/// seconds.
const START: Duration = Duration::from_secs(15);

/// A program that ends this soon after its start did not come up.
const SETTLE: Duration = Duration::from_millis(50);

/// What a started session is made of.
#[derive(Debug)]
pub(super) struct StartedProgram {
    /// Its processes.
    pub mark: Mark,
}

/// Why an attempt failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Something of that name is there; nothing was made.
    Exists,
    /// It failed before anything was made: what has the name is not ours to clear.
    Nothing(Error),
    /// It failed half-way, and what it made is still there.
    Broken(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

/// Starts the session. The caller holds its claim, and clears up after [`Failure::Broken`].
pub(super) fn start(
    context: &Context,
    order: SpawnOrder<'_>,
) -> std::result::Result<StartedProgram, Failure> {
    let SpawnOrder { spec, argv, .. } = order;
    let Behind { held, first, gate, forge } = first_process(context, spec).map_err(Failure::Nothing)?;
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
            StartError::Exists => Failure::Exists,
            StartError::Other(error) => error.into(),
        });
    }
    // From here on the units are there. tmux starts while the specification is written, and the
    // program only after that: a power cut at any later moment finds what to bring back.
    let server = held.release()?;
    let kept = context.store.remove_end(&spec.session).and_then(|()| keep_spec(context, order));
    let ids = server_ids(server);
    kept?;
    let ids = ids?;
    Ok(open_pane(order, &gate, &ids, &forge)?)
}

/// Writes what is to come back after a power cut. A session that is being restored may have been
/// stopped since it was planned: its specification is gone then, and it does not come back.
fn keep_spec(context: &Context, order: SpawnOrder<'_>) -> Result<()> {
    let SpawnMode::Restored(planned) = order.mode else { return context.store.write_spec(order.spec) };
    // The plan's, or what the attempt before this one wrote.
    for there in [planned, Some(order.spec)].into_iter().flatten() {
        if context.store.change_spec(there, |spec| order.spec.clone_into(spec))? {
            return Ok(());
        }
    }
    Err(stopped_meanwhile(&order.spec.session))
}

/// The session's first process, behind its gate, and what it is led on with.
struct Behind {
    held: Held,
    first: Process,
    gate: Gate,
    forge: PathBuf,
}

/// Starts the process that becomes tmux. Nothing of the session is there yet.
fn first_process(context: &Context, spec: &Spec) -> Result<Behind> {
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
        Ok(Some(first)) => Ok(Behind { held, first, gate, forge }),
        other => {
            held.abandon();
            Err(other.err().unwrap_or_else(|| Error::failed("the session's first process ended at once")))
        }
    }
}

/// Demands the ids that tmux prints when it made a session. Its exit status alone says nothing: a
/// socket that could not be made exits 0.
fn server_ids(tmux: Child) -> Result<Ids> {
    let output = command::finish(tmux, "tmux", Deadline::after(START)).map_err(|error| {
        if error.kind == Kind::Deadline {
            error.hint("does your tmux.conf run something that waits?")
        } else {
            error
        }
    })?;
    tracing::debug!("tmux printed {:?} {:?}", output.stdout, output.stderr);
    match Ids::parse(&output.stdout) {
        Some(ids) if output.success => Ok(ids),
        _ => Err(tmux::said(&output)),
    }
}

/// Lets the process in the pane become the program, and sees it come up.
fn open_pane(
    order: SpawnOrder<'_>,
    gate: &Gate,
    ids: &Ids,
    forge: &std::path::Path,
) -> Result<StartedProgram> {
    let SpawnOrder { spec, argv, .. } = order;
    let waiting = gate.wait_for(ids.pane_pid, Deadline::after(START))?;
    let lost = || Error::new(Kind::Socket, "tmux: lost server while the session was being started");
    let program = Process::open(ids.pane_pid)?.ok_or_else(lost)?;
    let cgroup = contained(spec, ids)?;
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

    // From here on the program runs: what goes wrong now is no error of the socket, and starting
    // the program a second time would do twice what it does, or undo a stop.
    come_up(order, &mark, &program, &cgroup, forge).map_err(|error| {
        if error.kind == Kind::Socket { Error { kind: Kind::Ended, ..error } } else { error }
    })?;
    mark.up = true;
    cgroup.set_mark(&mark)?;
    Ok(StartedProgram { mark })
}

/// Sees the program come up, and has the server tell of its end.
fn come_up(
    order: SpawnOrder<'_>,
    mark: &Mark,
    program: &Process,
    cgroup: &Cgroup,
    forge: &std::path::Path,
) -> Result<()> {
    let SpawnOrder { spec, argv, .. } = order;
    let start = Instant::now();
    let server = Server::new(&env::tmux()?, &mark.socket);
    let ended = || ended(spec, argv, &server, mark, cgroup);
    match &spec.ready {
        Some(ready) => {
            let limit = Duration::from_secs(spec.ready_timeout_s);
            journal::progress!("waiting for {} to be ready ('{}')", spec.session, ready.as_str());
            let deadline = Deadline::after(limit);
            let prompts = spec.prompts();
            let seen = watch::until(&server, mark, program, deadline, |screen| prompts.is_ready(screen))?;
            match seen {
                watch::ScreenWait::Found => {
                    let elapsed_ms = millis_since(start);
                    journal::record(&Event::Ready { session: spec.session.clone(), elapsed_ms });
                }
                watch::ScreenWait::ProgramEnded => return Err(ended()),
                watch::ScreenWait::ServerGone => {
                    return Err(Error::new(
                        Kind::Ended,
                        format!("the tmux server of {} ended while it was starting", spec.session),
                    ));
                }
                watch::ScreenWait::Late => return Err(never_ready(spec, &server, mark, limit)),
            }
        }
        None => {
            if program.wait(Deadline::after(SETTLE)) {
                return Err(ended());
            }
        }
    }
    // The session may have another home; forge's files are in its user's.
    let given = spec.env.iter().map(|(name, _)| name.as_str());
    let own: Vec<_> = given
        .filter(|name| environment::PLACE.contains(name))
        .map(|name| (name, env::variable(name)))
        .collect();
    let command = InternalCommand::PaneDied { session: spec.session.to_string() }.words();
    let hook = tmux::on_end(mark, forge, &command, &own)?;
    // The order matters: once the hook is set the server tells of every end, and an end before
    // that is seen here, so none falls between.
    server.tell(&hook.iter().map(String::as_str).collect::<Vec<_>>(), Deadline::after(tmux::ANSWER))?;
    if program.ended() {
        return Err(ended());
    }
    Ok(())
}

/// Checks that server and program are inside the session's slice; returns the slice's group.
fn contained(spec: &Spec, ids: &Ids) -> Result<Cgroup> {
    let slice_of = |pid| {
        let path = cgroup::of_process(pid)
            .ok_or_else(|| Error::new(Kind::Socket, "tmux: server exited unexpectedly"))?;
        match unit::slice_of_cgroup(&path) {
            Some((session, slice)) if session == spec.session => Ok(Cgroup::new(slice)),
            _ => Err(Error::failed(format!(
                "process {pid} of {} is outside of its slice, in {path}",
                spec.session
            ))
            .hint("does your tmux.conf or a PAM module move processes to other control groups?")),
        }
    };
    slice_of(ids.server_pid)?;
    slice_of(ids.pane_pid)
}

/// The program ended before the session was up: how, and with which last words.
fn ended(spec: &Spec, argv: &Argv, server: &Server, mark: &Mark, cgroup: &Cgroup) -> Error {
    let end = match exited::query_end(&spec.session, mark, cgroup.oom_kills()) {
        Ok(end) => end,
        Err(error) => return error.while_("the program ended, and its server does not tell how"),
    };
    let (name, how) = (argv.name(), end.words());
    let error = Error::new(
        Kind::Ended,
        format!("{name} ended before {} was up: {how}; {}", spec.session, screen(server, mark)),
    )
    .hint(format!("run it by hand in {} to see why", spec.cwd.display()));
    Error { program_status: Some(end.shell_status()), ..error }
}

/// The ready pattern did not appear.
fn never_ready(spec: &Spec, server: &Server, mark: &Mark, limit: Duration) -> Error {
    let pattern = spec.ready.as_ref().map_or("", |ready| ready.as_str());
    let now = server.screen(&mark.pane, None, Deadline::after(tmux::ANSWER)).unwrap_or_default();
    let prompts = spec.prompts();
    let blocking = prompts.blocking(&now);
    let what = blocking.map_or_else(String::new, |blocking| format!("{blocking} is "));
    let message = format!(
        "boot failed: the prompt never appeared ('{pattern}', waited {} s); {what}{}",
        limit.as_secs(),
        screen(server, mark)
    );
    Error::new(Kind::Deadline, message).hint(match blocking {
        None => "is the pattern right, and is --ready-timeout long enough?".to_owned(),
        Some(_) => {
            format!("run it by hand in {} once and answer that; or is the pattern right?", spec.cwd.display())
        }
    })
}

/// What was on the screen, below a message.
fn screen(server: &Server, mark: &Mark) -> String {
    const LINES: usize = 20;
    // With some history: tmux scrolls a dead pane up to say at the bottom that it is dead.
    let screen = server.screen(&mark.pane, Some(50), Deadline::after(tmux::ANSWER));
    let Ok(screen) = screen else { return "its screen could not be read".to_owned() };
    let lines: Vec<&str> = screen
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty() && !line.starts_with("Pane is dead"))
        .collect();
    if lines.is_empty() {
        return "its screen was empty".to_owned();
    }
    let last = &lines[lines.len().saturating_sub(LINES)..];
    last.iter().fold("on its screen:".to_owned(), |text, line| format!("{text}\n  | {line}"))
}

/// Waits for what is left of a server: a new one must not meet the old one's last moments.
pub(super) fn wait_gone(group: &Cgroup) -> Result<()> {
    group.wait_empty(Deadline::after(UNITS)).and_then(|empty| {
        if empty { Ok(()) } else { Err("it is not empty") }.trying("the last attempt's control group")
    })
}
