//! Healing what is alive and not quite well.
//!
//! A live server of forge whose socket file is gone is asked to make it again: without that
//! people spawn again and have two. tmux makes its socket anew on SIGUSR1; any other program
//! ends on it, so the process is identified three times over before.
//!
//! A server that has not noticed the end of its program is told to look: tmux 3.3a, built with
//! utempter, was measured to miss the end of 7 of 60 and of 3 of 60 programs, which stay zombies
//! until the server is sent SIGCHLD. (At the end of a pane's output it runs utempter's helper, and
//! that library ignores SIGCHLD meanwhile.) Every look at the session mends that, and every sweep.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use crate::model::event::Event;
use crate::model::session::Mark;
use crate::model::session::name::SessionId;
use crate::model::unit;
use crate::ops::Context;
use crate::sys::cgroup::{self, Cgroup};
use crate::sys::clock::{Deadline, pause};
use crate::sys::journal;
use crate::sys::process::{Process, Stat, is_alive, stat};

/// How long a server may take to make its socket.
const MADE: Duration = Duration::from_millis(500);

/// Heals all sessions; returns the sockets that are back. Without a manager there
/// is nothing to go by, and nothing is done.
pub fn sessions(context: &Context) -> Vec<PathBuf> {
    let Ok(manager) = context.manager() else { return Vec::new() };
    // One after the other: of a manager that does not answer nothing more is asked.
    let Ok(scopes) = manager.units(&[unit::SCOPE_PATTERN]) else { return Vec::new() };
    let Ok(group) = manager.control_group() else { return Vec::new() };
    let forge_slice = Cgroup::new(&group).child(unit::FORGE_SLICE);
    scopes
        .iter()
        .filter(|scope| scope.active == "active")
        .filter_map(|scope| unit::session_of_scope(&scope.name))
        .filter_map(|id| {
            let mark = forge_slice.child(&unit::slice(&id)).mark()?;
            unnoticed_end(&mark);
            heal(&id, &mark)
        })
        .collect()
}

/// Has the server look for the end of its program, where that is a zombie. SIGCHLD harms nobody.
pub fn unnoticed_end(mark: &Mark) {
    let is_zombie =
        |stat: Stat| stat.state == 'Z' && stat.start == mark.pane_start && stat.parent == mark.server_pid;
    if stat(mark.pane_pid).is_some_and(is_zombie)
        && let Ok(Some(server)) = Process::open(mark.server_pid)
    {
        let _ = server.signal(Signal::CHILD);
    }
}

/// Heals one session.
pub(crate) fn heal(id: &SessionId, mark: &Mark) -> Option<PathBuf> {
    let exists = || mark.socket.symlink_metadata().is_ok();
    if exists() {
        return None;
    }
    // The pidfd first, then the checks: from here on the pid cannot become another process.
    let server = Process::open(mark.server_pid).ok().flatten()?;
    let in_its_scope = cgroup::of_process(mark.server_pid).is_some_and(|path| {
        unit::session_of_cgroup(&path).as_ref() == Some(id) && path.ends_with(&unit::scope(id))
    });
    if !in_its_scope || !is_alive(mark.server_pid, mark.server_start) {
        return None;
    }
    server.signal(Signal::USR1).ok()?;
    let deadline = Deadline::after(MADE);
    // No event tells that a server has listened; the file appears within milliseconds.
    while !exists() && !deadline.passed() {
        pause(Duration::from_millis(2));
    }
    exists().then(|| {
        journal::record(&Event::SocketHealed { session: id.clone(), socket: mark.socket.clone() });
        mark.socket.clone()
    })
}
