//! A sign of life, on the control group of the session: it costs one system call, and is gone with
//! the session.

use super::observe;
use crate::model::error::{Error, Result};
use crate::model::session::name::SessionId;
use crate::model::unit;
use crate::ops::Context;
use crate::sys::cgroup::{self, Cgroup};

/// Notes a sign of life of that session, or of the one that this process is in; returns which.
///
/// # Errors
/// When there is no such session.
pub fn beat(context: &Context, wanted: Option<SessionId>) -> Result<SessionId> {
    let own = cgroup::of_process(std::process::id()).and_then(|path| {
        let (session, slice) = unit::slice_of_cgroup(&path)?;
        Some((session, Cgroup::new(slice)))
    });
    let (session, cgroup) = match (wanted, own) {
        // From inside the manager is not asked: beats are frequent.
        (None, Some(own)) => own,
        (Some(wanted), Some(own)) if own.0 == wanted => own,
        (Some(wanted), _) => {
            let found = observe::existing(context, &wanted)?;
            (wanted, found.cgroup)
        }
        (None, None) => {
            return Err(
                Error::usage("this is not called in a session").hint("name the session: forge beat NAME")
            );
        }
    };
    cgroup.beat()?;
    Ok(session)
}
