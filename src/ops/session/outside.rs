//! Finds the processes outside a session that do work for it. Some programs work in one daemon for each user, which
//! the first of them starts: the commands of the others then run where the first one was started. forge knows such a
//! daemon by no name, but by its connection to the program over a Unix socket.

use std::collections::BTreeMap;

use crate::model::error::Result;
use crate::model::session::Mark;
use crate::model::session::name::SessionId;
use crate::model::session::outside::OutsideProcess;
use crate::model::unit;
use crate::sys::cgroup::{self, Cgroup};
use crate::sys::connections::{Connection, Connections};
use crate::sys::proc;

/// The processes outside the session's slice that serve a process of the session over a Unix socket, if they are
/// in another session, or run the same program as that process. Other servers are services of the user, such as a
/// bus or an agent for keys, and normal. `None` if the kernel does not list its Unix sockets.
pub fn outside(
    id: &SessionId,
    slice: &Cgroup,
    mark: Option<&Mark>,
    connections: &Connections,
) -> Option<Vec<OutsideProcess>> {
    find(id, slice, mark, connections).inspect_err(|error| tracing::debug!("{error}")).ok()
}

/// The same for a session that has just been started.
pub(super) fn outside_of_running(id: &SessionId, mark: &Mark) -> Option<Vec<OutsideProcess>> {
    let path = cgroup::of_process(mark.server_pid)?;
    let (_, slice) = unit::slice_of_cgroup(&path)?;
    outside(id, &Cgroup::new(slice), Some(mark), &Connections::default())
}

fn find(
    id: &SessionId,
    slice: &Cgroup,
    mark: Option<&Mark>,
    connections: &Connections,
) -> Result<Vec<OutsideProcess>> {
    let group = slice.processes();
    // The tmux server only serves others. Its sockets need not be looked up.
    let server = mark.map(|mark| mark.server_pid);
    let clients: Vec<u32> = group.iter().copied().filter(|pid| Some(*pid) != server).collect();
    let mut found: BTreeMap<u32, OutsideProcess> = BTreeMap::new();
    for connection in connections.leaving(&group, &clients)? {
        if let Some(process) = outside_process(id, connection) {
            let known = found.entry(process.pid).or_insert_with(|| process.clone());
            known.same_program |= process.same_program;
        }
    }
    Ok(found.into_values().collect())
}

/// The server of the connection, if it does work for the session.
fn outside_process(id: &SessionId, connection: Connection) -> Option<OutsideProcess> {
    let Connection { client_pid, server_pid } = connection;
    let path = cgroup::of_process(server_pid)?;
    let (session, slice) = unit::slice_of_cgroup(&path).unzip();
    // A process of forge is connected to another one while a session starts.
    if session.as_ref() == Some(id) || proc::executable(server_pid) == proc::executable(std::process::id()) {
        return None;
    }
    // Attaching to another session, or sending it keys, is no work of that session.
    let is_tmux_server = || {
        slice.and_then(|slice| Cgroup::new(slice).mark()).is_some_and(|mark| mark.server_pid == server_pid)
    };
    let program = proc::program(client_pid);
    let same_program = program.is_some() && program == proc::program(server_pid);
    if (session.is_none() && !same_program) || is_tmux_server() {
        return None;
    }
    let unit = session.as_ref().map(unit::slice).or_else(|| unit::innermost(&path).map(str::to_owned));
    Some(OutsideProcess {
        pid: server_pid,
        command: proc::arguments(server_pid),
        session,
        unit,
        same_program,
    })
}
