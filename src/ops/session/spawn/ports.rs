//! The ports that a session declares: free before it starts, or it is said who has them.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::refusal::{is_abandoned, name_taken};
use crate::model::error::{Error, Kind, Result};
use crate::model::session::name::SessionId;
use crate::model::session::spec::Spec;
use crate::model::unit;
use crate::ops::Context;
use crate::ops::session::{observe, stop};
use crate::sys::tcp::{Holder, Listener, listeners};

/// What an earlier run of a session had left on a port of it, and was ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freed {
    /// The port.
    pub port: u16,
    /// The process.
    pub pid: u32,
    /// Its name.
    pub process: String,
}

impl fmt::Display for Freed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {} of {} (process {})", self.port, self.process, self.pid)
    }
}

/// Sees to it that nobody listens on the session's ports. What an earlier run of this very session
/// left is ended; anybody else is named.
///
/// # Errors
/// [`Kind::Port`] with who has a port; [`Kind::Taken`] when it is the session itself that runs.
pub(super) fn make_free(context: &Context, spec: &Spec) -> Result<Vec<Freed>> {
    if spec.ports.is_empty() {
        return Ok(Vec::new());
    }
    let id = &spec.session;
    let (own, others): (Vec<_>, Vec<_>) =
        listeners(&spec.ports)?.into_iter().partition(|listener| session(listener).as_ref() == Some(id));
    if let Some(first) = others.first() {
        return Err(refusal(id, first, others.len() - 1));
    }
    let mut freed: Vec<Freed> = Vec::new();
    for (port, Holder { pid, name, .. }) in
        own.into_iter().filter_map(|listener| Some((listener.address.port(), listener.process?)))
    {
        let one = Freed { port, pid, process: name };
        // On IPv4 and on IPv6.
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

/// The session that a listener belongs to.
fn session(listener: &Listener) -> Option<SessionId> {
    unit::session_of_cgroup(&listener.process.as_ref()?.cgroup)
}

fn refusal(id: &SessionId, listener: &Listener, more: usize) -> Error {
    let (port, address) = (listener.address.port(), listener.address);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    let Some(Holder { pid, name, cgroup }) = &listener.process else {
        return Error::new(
            Kind::Port,
            format!(
                "{id} needs port {port}, and a process of uid {} listens on {address}{more}",
                listener.uid
            ),
        )
        .hint(format!("see 'sudo ss -ltnp sport = :{port}'"));
    };
    // The last unit of the path; below it a service may have groups of its own.
    let is_unit =
        |part: &&str| Path::new(part).extension().is_some_and(|kind| kind == "service" || kind == "scope");
    let unit = cgroup.rsplit('/').find(is_unit);
    let owner = match (session(listener), unit) {
        (Some(session), Some(unit)) => format!(" of session {session}, in {unit}"),
        (None, Some(unit)) => format!(", in {unit}"),
        _ => String::new(),
    };
    let error = Error::new(
        Kind::Port,
        format!("{id} needs port {port}, and {name} (process {pid}{owner}) listens on {address}{more}"),
    );
    match session(listener) {
        Some(session) => error.hint(format!("'forge stop {session}' ends it")),
        None => error.hint(format!("'ps -fp {pid}' tells more of it")),
    }
}
