//! Ends a session whose program has ended by itself.
//!
//! The session's tmux server runs this (its `pane-died` hook) when the program ends. forge records how the
//! program ended, for `forge wait` and `forge logs`, and ends the processes that the program left behind: a
//! background process that holds a port must not outlive its session.

use std::path::Path;
use std::time::Duration;

use super::{notice, observe, stop};
use crate::model::error::{Error, Kind, Result};
use crate::model::event::Event;
use crate::model::notice::NoticeKind;
use crate::model::session::name::SessionId;
use crate::model::session::{End, EndCause, Mark, State};
use crate::ops::{Context, heal};
use crate::sys::cgroup::Cgroup;
use crate::sys::clock::{Deadline, now_us, pause};
use crate::sys::signals::Signal;
use crate::sys::store::Claim;
use crate::sys::tmux::{ANSWER, Server};
use crate::sys::{env, journal};

/// How long processes that the program left behind may take to end after SIGTERM.
const LEFT_BEHIND: Duration = Duration::from_secs(5);

/// How long tmux may take to notice that a pane's program ended.
const NOTICED: Duration = Duration::from_secs(2);

/// How long a spawn may take to return after its program has ended.
const SPAWN: Duration = Duration::from_secs(20);

/// Records the end of the session's program, and ends the session.
///
/// # Errors
/// [`Kind::Deadline`] if another process keeps the session locked for 20 seconds, or if processes are left
/// 10 seconds after SIGKILL; [`Kind::Failed`] if the server does not report how the program ended.
pub fn end_after_program(context: &Context, id: &SessionId) -> Result<()> {
    // A supervisor also notices the end, and decides whether to restart the session.
    if observe::one(context, id)?.is_some_and(|found| found.is_supervised()) {
        return Ok(());
    }
    let _lock = clearing_turn_without_spawn(context, id, Deadline::after(SPAWN))?;
    let Some(found) = observe::one(context, id)? else { return Ok(()) };
    // At a shutdown of the machine or of the user manager, services that the program needs end at the same
    // time. The program did not end by itself, and forge restores the session after the boot.
    if context.manager()?.is_going_down() {
        return Ok(());
    }
    // If another forge is stopping the session, that forge records the end.
    let (State::Dead, Some(mark)) = (found.state(), &found.mark) else { return Ok(()) };
    let kills = found.cgroup.oom_kills();
    if kills > 0 {
        // Without a supervisor no process has recorded these kills when they happened.
        let limit = found.cgroup.memory_max();
        journal::record(&Event::Oom { session: id.clone(), kills, limit });
    }
    let end = query_end(id, mark, kills)?;
    let server = Server::new(&env::tmux()?, &mark.socket);
    let end = End { over: !session_stays(&server, mark)?, ..end };
    record_end(context, id, Some(&found.cgroup), &end, None)?;
    let spec = context.store.spec(id)?;
    if !end.over {
        // Keep the specification for `forge restart`; forge does not restore the session after a boot.
        if let Some(spec) = spec {
            context.store.change_spec(&spec, |spec| spec.over = true)?;
        }
        return Ok(());
    }
    if let Some(spec) = spec {
        context.store.remove_that_spec(&spec)?;
    }
    stop::clear(context, std::slice::from_ref(&found), LEFT_BEHIND)
}

/// Takes the clearing lock of the session while no spawn of it is under way.
///
/// A spawn that is still under way notices the end itself. The next spawn waits for this lock, so that its
/// run is not mistaken for the last one.
///
/// # Errors
/// [`Kind::Deadline`] if a spawn, or another holder of the lock, has not finished by the deadline.
pub(crate) fn clearing_turn_without_spawn(
    context: &Context,
    id: &SessionId,
    deadline: Deadline,
) -> Result<Claim> {
    loop {
        while context.store.is_claimed(id) && !deadline.passed() {
            // No event reports that a process has released its claim.
            pause(Duration::from_millis(20));
        }
        let lock = context.store.clearing_turn(id, deadline)?;
        if !context.store.is_claimed(id) {
            return Ok(lock);
        }
        if deadline.passed() {
            return Err(Error::new(Kind::Deadline, format!("{id} is still being started")));
        }
    }
}

/// Asks the session's server how the program ended.
///
/// The server does not know who sent a SIGKILL. If the kernel has killed processes of the session because
/// memory ran out (`oom_kills` counts them), the kernel is taken to be the sender.
///
/// # Errors
/// [`Kind::Failed`] or [`Kind::Socket`] if the server does not answer; [`Kind::Deadline`] after 2 seconds.
pub(crate) fn query_end(id: &SessionId, mark: &Mark, oom_kills: u64) -> Result<End> {
    // forge asks the server through its socket, which somebody may have deleted.
    heal::restore_socket(id, mark);
    let server = Server::new(&env::tmux()?, &mark.socket);
    let deadline = Deadline::after(NOTICED);
    let mut pane = server.pane(&mark.pane, deadline);
    // tmux reads the last output before it marks the pane as dead. No event reports that mark.
    while matches!(&pane, Ok(pane) if !pane.has_result()) && !deadline.passed() {
        heal::reap_program(mark);
        pause(Duration::from_millis(2));
        pane = server.pane(&mark.pane, deadline);
    }
    let mut end = pane?.end(mark.since_us, now_us());
    if oom_kills > 0 && end.signal == Some(Signal::SIGKILL as i32) {
        end.cause = Some(EndCause::OutOfMemory);
    }
    Ok(end)
}

/// Records how a program ended: in the journal, and in a file for `forge wait`. Starts the unit that sends a notice
/// of a crash, if the configuration wants one; `config_file` is the file that `--config` named.
///
/// # Errors
/// [`Kind::Failed`] if forge cannot write the file.
pub(crate) fn record_end(
    context: &Context,
    id: &SessionId,
    cgroup: Option<&Cgroup>,
    end: &End,
    config_file: Option<&Path>,
) -> Result<()> {
    let session = id.clone();
    let usage = cgroup.map(|cgroup| cgroup.usage(Some(end.since_us))).unwrap_or_default();
    journal::record(&if end.is_clean() {
        Event::Exited { session, end: end.clone(), usage }
    } else {
        Event::Crashed { session, end: end.clone(), usage }
    });
    context.store.write_end(id, end)?;
    if !end.is_clean()
        && let Err(error) = notice::start_if_wanted(context, config_file, id, NoticeKind::Crashed, || Ok(()))
    {
        // The end of the session matters more than its notice.
        tracing::debug!("{error}");
    }
    Ok(())
}

/// Whether the session stays although its program has ended: the user's tmux configuration keeps dead
/// panes, or the user has opened other panes, which forge must not close. In the second case this closes the
/// program's dead pane.
///
/// # Errors
/// [`Kind::Deadline`] or [`Kind::Socket`] if the server does not answer.
pub(crate) fn session_stays(server: &Server, mark: &Mark) -> Result<bool> {
    let deadline = Deadline::after(ANSWER);
    let kept = server.run_command(&["show-options", "-gwv", "remain-on-exit"], deadline)?;
    if kept.trim() != "off" {
        return Ok(true);
    }
    if has_other_panes(server)? {
        server.run_command(&["kill-pane", "-t", &mark.pane], deadline)?;
        return Ok(true);
    }
    Ok(false)
}

/// Whether a program runs in another pane of the session.
///
/// # Errors
/// [`Kind::Deadline`] or [`Kind::Socket`] if the server does not answer.
pub(crate) fn has_other_panes(server: &Server) -> Result<bool> {
    let panes = server.run_command(&["list-panes", "-a", "-F", "#{pane_dead}"], Deadline::after(ANSWER))?;
    Ok(panes.lines().any(|dead| dead == "0"))
}
