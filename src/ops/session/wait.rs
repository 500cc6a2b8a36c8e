//! Waits until a session is ready, or until its program has ended. `send/turn` waits for the end of a turn.

use std::time::Duration;

use super::observe::ObservedSession;
use crate::model::error::{Error, Kind, Result};
use crate::model::session::name::SessionId;
use crate::model::session::{End, Mark};
use crate::ops::{Context, heal};
use crate::sys::clock::{Deadline, now_us};
use crate::sys::inotify::FileWatch;
use crate::sys::process::{Process, is_alive};
use crate::sys::tmux::watch::{ScreenWait, until};
use crate::sys::tmux::{ANSWER, Server};
use crate::sys::{env, journal};

/// How long the `pane-died` hook may take to write how the program ended.
const RESULT: Duration = Duration::from_secs(10);

/// Waits until the session's ready pattern matches its screen. Without a pattern, a session is ready as
/// soon as its program runs.
///
/// # Errors
/// [`Kind::Deadline`] if the pattern does not match by the deadline; [`Kind::Ended`] if the program ends.
pub fn until_ready(context: &Context, found: &ObservedSession, deadline: Deadline) -> Result<()> {
    let id = &found.id;
    let mark = found.mark()?;
    let prompts = context.store.spec(id)?.map(|spec| spec.prompts()).unwrap_or_default();
    let ended = || {
        Error::new(Kind::Ended, format!("the program of {id} ended"))
            .hint(format!("'forge logs {id}' shows how"))
    };
    let program = Process::open(mark.pane_pid)?.filter(|_| is_alive(mark.program())).ok_or_else(ended)?;
    let Some(pattern) = &prompts.ready else { return Ok(()) };
    let server = Server::new(&env::tmux()?, &mark.socket);
    match until(&server, mark, &program, deadline, |screen| prompts.is_ready(screen))? {
        ScreenWait::Found => Ok(()),
        ScreenWait::Late => {
            let screen = server.screen(&mark.pane, None, Deadline::after(ANSWER)).unwrap_or_default();
            let why = match prompts.blocking(&screen) {
                Some(blocking) => format!("{blocking} is on its screen"),
                None => format!("'{}' is not on its screen", pattern.as_str()),
            };
            Err(Error::new(Kind::Deadline, format!("{id} is not ready: {why}"))
                .hint(format!("'forge capture {id}' shows the screen")))
        }
        ScreenWait::ProgramEnded | ScreenWait::ServerGone => Err(ended()),
    }
}

/// Waits until the session's program has ended, and returns how it ended.
///
/// # Errors
/// [`Kind::Deadline`] if the program still runs at the deadline.
pub fn until_exit(context: &Context, found: &ObservedSession, deadline: Deadline) -> Result<End> {
    let (id, mark) = (&found.id, found.mark()?);
    journal::progress!("waiting for {id} to end");
    if is_alive(mark.program())
        && let Some(program) = Process::open(mark.pane_pid)?
        && !program.wait(deadline)
    {
        return Err(Error::new(Kind::Deadline, format!("{id} still runs (program {})", mark.pane_pid)));
    }
    let end = recorded_end(context, id, mark)?;
    if end.over {
        // The caller may want to use the name again at once: wait until all processes have ended.
        found.cgroup.wait_empty(deadline.min(Deadline::after(RESULT)))?;
    }
    Ok(end)
}

/// Waits up to 10 seconds for the recorded end of a run. If the server ended together with the program,
/// nobody records the end, and the result is unknown.
///
/// # Errors
/// [`Kind::Failed`] if forge cannot read or watch the recorded ends.
pub fn recorded_end(context: &Context, id: &SessionId, mark: &Mark) -> Result<End> {
    let deadline = Deadline::after(RESULT);
    let ends = FileWatch::in_directory(context.store.ends_dir()?)?;
    loop {
        match context.store.end(id)? {
            Some(end) if end.since_us == mark.since_us => return Ok(end),
            _ => {}
        }
        heal::reap_program(mark);
        let server_gone = !is_alive(mark.server());
        if deadline.passed() || (server_gone && !ends.wait(Deadline::after(Duration::from_millis(500)))) {
            return Ok(End::unknown(mark.since_us, now_us(), None));
        }
        // Wait in steps: a server that dies now records no end, and no event reports its death here.
        ends.wait(deadline.min(Deadline::after(Duration::from_millis(500))));
    }
}
