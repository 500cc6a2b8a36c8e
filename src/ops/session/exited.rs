//! The end of a session whose program ended by itself.
//!
//! The session's own tmux server calls this (the `pane-died` hook) when the program ends. It
//! tells how, keeps it for those who wait, and ends what the program left behind: a background
//! process that holds a port must not outlive its session.

use std::time::Duration;

use super::{observe, stop};
use crate::model::error::{Error, Kind, Result};
use crate::model::event::Event;
use crate::model::session::name::SessionId;
use crate::model::session::{End, EndCause, Mark, State};
use crate::ops::{Context, heal};
use crate::sys::cgroup::Cgroup;
use crate::sys::clock::{Deadline, now_us, pause};
use crate::sys::signals::Signal;
use crate::sys::store::Claim;
use crate::sys::tmux::{ANSWER, Server};
use crate::sys::{env, journal};

/// How long what the program left behind may take to end when asked.
const LEFT_BEHIND: Duration = Duration::from_secs(5);

/// How long tmux may take to notice that a pane's program ended.
const NOTICED: Duration = Duration::from_secs(2);

/// How long a spawn may take to come to its end after its program did.
const SPAWN: Duration = Duration::from_secs(20);

/// Ends the session whose program ended.
///
/// # Errors
/// When it cannot be told how, or something is left.
pub fn end_after_program(context: &Context, id: &SessionId) -> Result<()> {
    // Its supervisor sees the end too, and decides what comes of it.
    if observe::one(context, id)?.is_some_and(|found| found.is_supervised()) {
        return Ok(());
    }
    let _turn = clearing_turn(context, id, Deadline::after(SPAWN))?;
    let Some(found) = observe::one(context, id)? else { return Ok(()) };
    // Not its own end: the machine goes down, or the user's manager does, and whatever the program
    // needs goes at the same time. The session comes back after the boot.
    if context.manager()?.is_going_down() {
        return Ok(());
    }
    // Who is ending the session tells about it.
    let (State::Dead, Some(mark)) = (found.state(), &found.mark) else { return Ok(()) };
    let kills = found.cgroup.oom_kills();
    if kills > 0 {
        // Without a supervisor nobody told of them when they happened.
        let limit = found.cgroup.memory_max();
        journal::record(&Event::Oom { session: id.clone(), kills, limit });
    }
    let end = query_end(id, mark, kills)?;
    let server = Server::new(&env::tmux()?, &mark.socket);
    let end = End { over: !session_stays(&server, mark)?, ..end };
    record_end(context, id, Some(&found.cgroup), &end)?;
    let spec = context.store.spec(id)?;
    if !end.over {
        // For a restart by hand; after a boot it is not restored.
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

/// The turn to clear the session, with no spawn of it under way: who is still starting it sees the
/// end itself, and who starts it next waits for this turn, so that the next run is not taken for
/// the last.
pub(crate) fn clearing_turn(context: &Context, id: &SessionId, deadline: Deadline) -> Result<Claim> {
    loop {
        while context.store.is_claimed(id) && !deadline.passed() {
            pause(Duration::from_millis(20));
        }
        let turn = context.store.clearing_turn(id, deadline)?;
        if !context.store.is_claimed(id) {
            return Ok(turn);
        }
        if deadline.passed() {
            return Err(Error::new(Kind::Deadline, format!("{id} is still being started")));
        }
    }
}

/// How the program of a session ended, as its server tells. The server does not know who killed it:
/// where the kernel killed for want of memory (so many times, as far as is known), it was the kernel.
///
/// # Errors
/// When the server does not tell.
pub(crate) fn query_end(id: &SessionId, mark: &Mark, oom_kills: u64) -> Result<End> {
    // It tells by its socket, which somebody may have deleted.
    heal::restore_socket(id, mark);
    let server = Server::new(&env::tmux()?, &mark.socket);
    let deadline = Deadline::after(NOTICED);
    let mut pane = server.pane(&mark.pane, deadline);
    // tmux reads the last output before it calls the pane dead, and has no event for us yet.
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

/// Keeps how a program ended, for those who wait, and tells the journal.
///
/// # Errors
/// When it cannot be kept.
pub(crate) fn record_end(
    context: &Context,
    id: &SessionId,
    cgroup: Option<&Cgroup>,
    end: &End,
) -> Result<()> {
    let session = id.clone();
    let usage = cgroup.map(|cgroup| cgroup.usage(Some(end.since_us))).unwrap_or_default();
    journal::record(&if end.is_clean() {
        Event::Exited { session, end: end.clone(), usage }
    } else {
        Event::Crashed { session, end: end.clone(), usage }
    });
    context.store.write_end(id, end)
}

/// Whether the session stays although its program is gone: because the user's configuration
/// keeps dead panes, or because the user opened other panes in it, which are not ours to close.
pub(crate) fn session_stays(server: &Server, mark: &Mark) -> Result<bool> {
    let deadline = Deadline::after(ANSWER);
    let kept = server.tell(&["show-options", "-gwv", "remain-on-exit"], deadline)?;
    if kept.trim() != "off" {
        return Ok(true);
    }
    if has_other_panes(server)? {
        server.tell(&["kill-pane", "-t", &mark.pane], deadline)?;
        return Ok(true);
    }
    Ok(false)
}

/// Whether something runs in the session beside its program, which ended.
///
/// # Errors
/// When the server does not tell.
pub(crate) fn has_other_panes(server: &Server) -> Result<bool> {
    let panes = server.tell(&["list-panes", "-a", "-F", "#{pane_dead}"], Deadline::after(ANSWER))?;
    Ok(panes.lines().any(|dead| dead == "0"))
}
