//! Frees the ports that a session declares, or names the process that listens on them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::refusal::{is_abandoned, name_taken};
use crate::model::error::{Error, Kind, Result};
use crate::model::session::name::SessionId;
use crate::model::session::spec::Spec;
use crate::model::unit;
use crate::ops::Context;
use crate::ops::session::{observe, stop};
use crate::sys::tcp::{Holder, Listener, listeners};

/// A process of an earlier run that listened on one of the session's ports, and was ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freed {
    pub port: u16,
    pub pid: u32,
    /// The name of the process, at most 15 bytes, as the kernel keeps it.
    pub process: String,
}

impl fmt::Display for Freed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {} of {} (process {})", self.port, self.process, self.pid)
    }
}

/// Makes sure that no process listens on the session's ports: ends processes of an earlier run of this
/// session, and returns them.
///
/// # Errors
/// [`Kind::Port`] if another process listens on a port; the message names it. [`Kind::Taken`] if the session
/// itself is running.
pub(super) fn free_ports(context: &Context, spec: &Spec) -> Result<Vec<Freed>> {
    if spec.ports.is_empty() {
        return Ok(Vec::new());
    }
    let id = &spec.session;
    let (own, others): (Vec<_>, Vec<_>) =
        listeners(&spec.ports)?.into_iter().partition(|listener| session_of(listener).as_ref() == Some(id));
    if let Some(first) = others.first() {
        return Err(port_taken(id, first, others.len() - 1));
    }
    let mut freed: Vec<Freed> = Vec::new();
    for (port, Holder { pid, name, .. }) in
        own.into_iter().filter_map(|listener| Some((listener.address.port(), listener.process?)))
    {
        let one = Freed { port, pid, process: name };
        // A process may listen on the same port on IPv4 and on IPv6.
        if !freed.contains(&one) {
            freed.push(one);
        }
    }
    if !freed.is_empty()
        && let Some(found) = observe::one(context, id)?
    {
        if !is_abandoned(&found) {
            return Err(name_taken(&found));
        }
        stop::clear(context, &[found], stop::TIMEOUT)?;
    }
    Ok(freed)
}

/// The session in whose slice the listening process runs.
fn session_of(listener: &Listener) -> Option<SessionId> {
    unit::session_of_cgroup(&listener.process.as_ref()?.cgroup)
}

fn port_taken(id: &SessionId, listener: &Listener, more: usize) -> Error {
    let (port, address) = (listener.address.port(), listener.address);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    let Some(Holder { pid, name, cgroup }) = &listener.process else {
        return Error::new(
            Kind::Port,
            format!(
                "{id} needs port {port}, but a process of uid {} listens on {address}{more}",
                listener.uid
            ),
        )
        .hint(format!("see 'sudo ss -ltnp sport = :{port}'"));
    };
    let owner = match (session_of(listener), unit::innermost(cgroup)) {
        (Some(session), Some(unit)) => format!(" of session {session}, in {unit}"),
        (None, Some(unit)) => format!(", in {unit}"),
        _ => String::new(),
    };
    let error = Error::new(
        Kind::Port,
        format!("{id} needs port {port}, but {name} (process {pid}{owner}) listens on {address}{more}"),
    );
    match session_of(listener) {
        Some(session) => error.hint(format!("'forge stop {session}' ends it")),
        None => error.hint(format!("'ps -fp {pid}' shows the process")),
    }
}
