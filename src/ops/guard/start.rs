//! The start of a guarded command: the checks before it, and its units.

use std::time::Duration;

use super::listening::Listening;
use super::request::GuardRequest;
use super::require_known;
use super::running::{FORWARDED, Placement, Running};
use super::settle::wait_while_going_down;
use crate::model::error::{Error, Kind, Result};
use crate::model::event::Event;
use crate::model::guard::report::{Denial, GuardReport};
use crate::model::guard::timeline::Timeline;
use crate::model::guard::unit_state::{Guarded, ManagerKind};
use crate::model::internal_command::InternalCommand;
use crate::model::process::ProcessId;
use crate::model::session::End;
use crate::model::unit;
use crate::ops::Context;
use crate::sys::cgroup::{self, Cgroup};
use crate::sys::clock::{Deadline, boot_us};
use crate::sys::command;
use crate::sys::gate::{self, Gate};
use crate::sys::journal::{self, inform};
use crate::sys::proc::stat;
use crate::sys::process::Process;
use crate::sys::signals::{self, Signal, Signals};
use crate::sys::systemd::Guarding;
use crate::sys::systemd::unit_watch::{BRIEFLY, UnitWatch, observe, watch};
use crate::sys::{env, landlock, psi};

/// How long the start may take, including systemd's part.
const START: Duration = Duration::from_secs(60);

/// Runs the command to its end. Returns the report on the units, and how the command ended.
///
/// # Errors
/// When forge refuses to run the command, or a step before its start fails: `Kind::Missing`, `Kind::Usage`,
/// `Kind::Bus`, `Kind::Failed`, or `Kind::Deadline` after 60 seconds.
pub fn run(context: &Context, request: &GuardRequest<'_>) -> Result<(GuardReport, End)> {
    // If the caller ignores SIGCHLD, the kernel reaps the command and does not report its end.
    signals::keep_exit_statuses()?;
    // Before any thread starts: threads inherit the signals that this one blocks.
    let mut taken = vec![Signal::SIGCHLD, Signal::SIGCONT, Signal::SIGTSTP];
    taken.extend(FORWARDED);
    let signals = Signals::block(&taken)?;
    let (running, watch) = start(context, request).inspect_err(|error| {
        journal::record(&Event::GuardRefused { program: request.program(), error: error.message.clone() });
    })?;
    let finished = running.run_to_end(&signals, &watch);
    // Drop the pending signals. Later ones may end the guard, on which nothing depends any more.
    while signals.next().is_some() {}
    signals.unblock();
    Ok(finished)
}

/// Checks the request and the units, and starts the command.
fn start<'a>(context: &Context, request: &'a GuardRequest<'a>) -> Result<(Running<'a>, UnitWatch)> {
    refuse_if_impossible(request)?;
    let (mut readings, mut unit_watch) = watch(&request.units)?;
    if readings.iter().any(|reading| reading.has_job || reading.state.is_going_down()) {
        wait_while_going_down(&request.units, readings)?;
        (readings, unit_watch) = watch(&request.units)?;
    }
    let seen: Vec<_> = request.units.iter().cloned().zip(readings).collect();
    require_known(seen.iter().map(|(unit, reading)| (unit, reading.state.load.as_str())))?;
    for (unit, reading) in &seen {
        if !reading.state.is_up() {
            inform!("{unit} is {} before the command begins", reading.state.active);
        }
    }
    let timeline = Timeline::new(seen.into_iter().map(|(unit, reading)| (unit, reading.state)));
    Ok((begin(context, request, timeline)?, unit_watch))
}

/// Refuses the request if this machine or an active unit does not allow it.
///
/// # Errors
/// `Kind::Missing` when the kernel does not measure pressure; `Kind::Failed` when a unit of
/// `refuse_if_active` is active; `Kind::Usage` when a name is not a valid unit name; `Kind::Bus` when a
/// manager cannot be reached.
fn refuse_if_impossible(request: &GuardRequest<'_>) -> Result<()> {
    if request.freeze_on_pressure.is_some() && !psi::is_measured() {
        return Err(Error::new(Kind::Missing, "this kernel does not measure pressure")
            .hint("boot it with psi=1, or leave out --freeze-on-pressure"));
    }
    let mut named = Vec::new();
    for name in request.refuse_if_active {
        named.push(Guarded::parse(ManagerKind::User, name)?);
        named.push(Guarded::parse(ManagerKind::System, name)?);
    }
    let readings = observe(&named, BRIEFLY)?;
    let mut known = named.iter().zip(&readings).collect::<Vec<_>>();
    if let Some((unit, reading)) = known.iter().find(|(_, reading)| reading.state.is_up()) {
        let error = format!("{unit} is {}, and --refuse-if-active names it", reading.state.active);
        return Err(Error::failed(error).hint(format!("stop {} first, or wait for its end", unit.unit)));
    }
    known.retain(|(_, reading)| reading.state.load != "not-found");
    for name in request.refuse_if_active {
        let unit = Guarded::parse(ManagerKind::User, name)?.unit;
        if !known.iter().any(|(known, _)| known.unit == unit) {
            inform!("--refuse-if-active: neither manager knows {unit}");
        }
    }
    Ok(())
}

/// Starts a process, moves it into a scope with the limits, and lets it execute the command.
fn begin<'a>(context: &Context, request: &'a GuardRequest<'a>, timeline: Timeline) -> Result<Running<'a>> {
    let manager = context.manager()?;
    let deadline = Deadline::after(START);
    let own = std::process::id();
    let id = unit::guard_id(own, boot_us() / 1000);
    let slice = unit::guard_slice(&id, &cgroup::of_process(own).unwrap_or_default());
    let program = request.program();
    let denial = request.deny_listen.then(|| {
        let denial = if landlock::can_deny_bind() { Denial::KernelAndWatch } else { Denial::Watch };
        Ok::<_, Error>((denial, Listening::new(denial)?))
    });
    let denial = denial.transpose()?;
    let denied = denial.as_ref().map(|(denial, _)| *denial);
    let gate = Gate::new()?;
    let child = gate::start_guarded(&gate, request.command, request.stdout_to_stderr)?;
    let gone = || Error::failed("the process ended before it could execute the command");
    let process = Process::open(child.id())?.ok_or_else(gone)?;
    let waiting = gate.wait_for(child.id(), deadline).and_then(|waiting| {
        let id_of = |pid| ProcessId { pid, start: stat(pid).map(|stat| stat.start).unwrap_or_default() };
        let guard = id_of(own);
        let keeper = InternalCommand::GuardKeeper { slice: slice.clone(), guard };
        let after_keeper = InternalCommand::GuardGone {
            slice: slice.clone(),
            guard,
            command: id_of(child.id()),
            leave_children: request.leave_children,
        };
        manager.start_guarding(
            &Guarding {
                id: &id,
                slice: &slice,
                may_stay: request.leave_children,
                description: &format!("guarded: {program}"),
                limits: &request.limits,
                process: &process,
                forge: &env::forge()?,
                keeper: &keeper.words(),
                after_keeper: &after_keeper.words(),
            },
            deadline,
        )?;
        if !command::set_idle_io(child.id()) {
            inform!("{program} runs without idle IO priority: ionice is missing or failed");
        }
        Ok(waiting)
    })?;
    // Take every step that can fail before the command begins; a failure after that would leave it unguarded.
    let manager_group = Cgroup::new(&manager.control_group()?);
    let group = manager_group.child(&unit::path_of_slice(&slice));
    let is_inside = cgroup::of_process(child.id()).is_some_and(|path| group.holds(&path));
    if !is_inside {
        return Err(Error::failed(format!("forge did not run {program}: its process is not in {slice}")));
    }
    if let Some(denial) = denied {
        inform!("{program} may not listen on TCP ports: {}", denial.words());
    }
    if request.units.is_empty() {
        inform!("no unit is guarded; name units with --unit, --system-unit or in [guard]");
    }
    let placement = Placement { id: id.clone(), slice, group, manager_group };
    let running = Running::new(request, placement, child.id(), timeline, denial);
    waiting.release_guarded(denied == Some(Denial::KernelAndWatch), &program, deadline)?;
    let units = request.units.clone();
    journal::record(&Event::GuardStarted { guard: id, program, units, deny_listen: denied });
    Ok(running)
}
