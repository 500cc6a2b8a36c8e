//! Records a beat, a session's sign of life, on the session's cgroup. A beat costs one system call, and
//! goes away with the session.

use super::observe;
use crate::model::error::{Error, Result};
use crate::model::session::name::SessionId;
use crate::model::unit;
use crate::ops::Context;
use crate::sys::cgroup::{self, Cgroup};

/// Records a beat for the session `wanted`, or for the session that this process runs in. Returns the
/// session's id.
///
/// # Errors
/// [`Kind::NoSession`](crate::model::error::Kind::NoSession) if the session does not exist;
/// [`Kind::Usage`](crate::model::error::Kind::Usage) if `wanted` is `None` and this process does not run in a
/// session.
pub fn beat(context: &Context, wanted: Option<SessionId>) -> Result<SessionId> {
    let (session, cgroup) = match (wanted, own_session()) {
        // Beats are frequent: from inside the session, forge does not ask the manager.
        (None, Some(own)) => own,
        (Some(wanted), Some(own)) if own.0 == wanted => own,
        (Some(wanted), _) => {
            let found = observe::existing(context, &wanted)?;
            (wanted, found.cgroup)
        }
        (None, None) => {
            return Err(Error::usage("this command does not run in a session")
                .hint("name the session: forge beat NAME"));
        }
    };
    cgroup.beat()?;
    Ok(session)
}

/// The session that this process runs in, with the control group of its slice.
pub(super) fn own_session() -> Option<(SessionId, Cgroup)> {
    let path = cgroup::of_process(std::process::id())?;
    let (session, slice) = unit::slice_of_cgroup(&path)?;
    Some((session, Cgroup::new(slice)))
}
