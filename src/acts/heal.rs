//! Healing: a live server of forge whose socket file is gone is asked to make it again.
//!
//! Without that people spawn again and have two. tmux makes its socket anew on SIGUSR1; any
//! other program ends on it, so the process is identified three times over before.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use super::World;
use crate::hands::cgroup::{self, Cgroup};
use crate::hands::clock::{Deadline, pause};
use crate::hands::journal;
use crate::hands::process::{Process, is_alive};
use crate::words::event::Event;
use crate::words::name::SessionId;
use crate::words::session::Mark;
use crate::words::unit;

/// How long a server may take to make its socket.
const MADE: Duration = Duration::from_millis(500);

/// Heals all sessions that need it; returns the sockets that are back. Without a manager there
/// is nothing to go by, and nothing is done.
pub fn missing_sockets(world: &World) -> Vec<PathBuf> {
    let Ok(manager) = world.manager() else { return Vec::new() };
    let (Ok(scopes), Ok(group)) = (manager.units(&[unit::SCOPE_PATTERN]), manager.control_group()) else {
        return Vec::new();
    };
    let forge_slice = Cgroup::new(&group).child(unit::FORGE_SLICE);
    scopes
        .iter()
        .filter(|scope| scope.active == "active")
        .filter_map(|scope| unit::session_of_scope(&scope.name))
        .filter_map(|id| heal(&id, &forge_slice.child(&unit::slice(&id)).mark()?))
        .collect()
}

/// Heals one session.
fn heal(id: &SessionId, mark: &Mark) -> Option<PathBuf> {
    let exists = || mark.socket.symlink_metadata().is_ok();
    if exists() {
        return None;
    }
    // The pidfd first, then the checks: from here on the pid cannot become another process.
    let server = Process::open(mark.server_pid).ok().flatten()?;
    let in_its_scope = cgroup::of_process(mark.server_pid)
        .is_some_and(|path| unit::session_of_cgroup(&path).as_ref() == Some(id) && path.ends_with(&unit::scope(id)));
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
