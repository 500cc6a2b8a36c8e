//! Repairs live servers: restores a missing socket file, and makes a server notice that its program ended.
//!
//! If the socket file of a live server is gone, nobody can reach the session, and people spawn a second
//! one. tmux creates its socket again on SIGUSR1. A program that does not handle SIGUSR1 ends on it. So
//! forge opens a pidfd, compares the control group and the start time of the process, and only then sends
//! the signal.
//!
//! tmux 3.3a, built with utempter, can miss the end of its program: it missed 7 of 60 and 3 of 60 ends
//! in two measurements. (At the end of a pane's output, tmux runs utempter's helper, and libutempter ignores
//! SIGCHLD meanwhile.) The program then stays a zombie until the server receives SIGCHLD. forge sends it
//! whenever it observes the session, and at every sweep.

use std::path::PathBuf;
use std::time::Duration;

use super::Context;
use crate::model::event::Event;
use crate::model::session::Mark;
use crate::model::session::name::SessionId;
use crate::model::unit;
use crate::sys::cgroup::{self, Cgroup};
use crate::sys::clock::{Deadline, pause};
use crate::sys::files;
use crate::sys::journal;
use crate::sys::proc::{Stat, stat};
use crate::sys::process::{Process, is_alive};
use crate::sys::signals::Signal;

/// How long a server may take to create its socket.
const CREATES_SOCKET: Duration = Duration::from_millis(500);

/// Heals all sessions and returns the sockets that were restored. Without a manager, forge cannot tell
/// which servers are its own, and does nothing.
pub fn heal_all(context: &Context) -> Vec<PathBuf> {
    let Ok(manager) = context.manager() else { return Vec::new() };
    // One call after the other: if the manager does not answer the first, the second is not made.
    let Ok(scopes) = manager.units(&[unit::SCOPE_PATTERN]) else { return Vec::new() };
    let Ok(group) = manager.control_group() else { return Vec::new() };
    let forge_slice = Cgroup::new(&group).child(unit::FORGE_SLICE);
    scopes
        .iter()
        .filter(|scope| scope.active == "active")
        .filter_map(|scope| unit::session_of_scope(&scope.name))
        .filter_map(|id| {
            let mark = forge_slice.child(&unit::slice(&id)).mark()?;
            reap_program(&mark);
            restore_socket(&id, &mark)
        })
        .collect()
}

/// Makes the server reap its program if the program is a zombie, by SIGCHLD. An additional SIGCHLD harms
/// no program.
pub fn reap_program(mark: &Mark) {
    let is_zombie =
        |stat: Stat| stat.state == 'Z' && stat.start == mark.pane_start && stat.parent == mark.server_pid;
    if stat(mark.pane_pid).is_some_and(is_zombie)
        && let Ok(Some(server)) = Process::open(mark.server_pid)
    {
        let _ = server.signal(Signal::SIGCHLD);
    }
}

/// Makes the server create its socket again if the file is gone, and waits up to 500 ms for it. Returns
/// the path if the socket was restored.
pub(crate) fn restore_socket(id: &SessionId, mark: &Mark) -> Option<PathBuf> {
    let exists = || files::exists(&mark.socket);
    if exists() {
        return None;
    }
    // Open the pidfd before the checks: from then on the pid cannot come to mean another process.
    let server = Process::open(mark.server_pid).ok().flatten()?;
    let in_its_scope = cgroup::of_process(mark.server_pid).is_some_and(|path| {
        unit::session_of_cgroup(&path).as_ref() == Some(id) && path.ends_with(&unit::scope(id))
    });
    if !in_its_scope || !is_alive(mark.server()) {
        return None;
    }
    server.signal(Signal::SIGUSR1).ok()?;
    let deadline = Deadline::after(CREATES_SOCKET);
    // No event reports that the server listens again. The file appears within milliseconds.
    while !exists() && !deadline.passed() {
        pause(Duration::from_millis(2));
    }
    exists().then(|| {
        journal::record(&Event::SocketHealed { session: id.clone(), socket: mark.socket.clone() });
        mark.socket.clone()
    })
}
