//! Selects the sessions that a command is about, by name or pattern.

use std::time::Duration;

use super::list::{ObservedSession, all, one};
use crate::model::error::{Error, Kind, Result};
use crate::model::session::name::{Pattern, SessionId};
use crate::ops::Context;
use crate::sys::clock::{Deadline, pause};

/// How long a session that is being started may take until the manager has its units.
const APPEARS: Duration = Duration::from_secs(10);

/// Observes a session that must exist.
///
/// # Errors
/// [`Kind::NoSession`] if it does not exist; the message says how its last run ended, if that is known.
/// Otherwise as for [`all`].
pub fn existing(context: &Context, id: &SessionId) -> Result<ObservedSession> {
    if let Some(found) = one(context, id)? {
        return Ok(found);
    }
    let no_session = |more: String| Error::new(Kind::NoSession, format!("there is no session {id}{more}"));
    let again = format!("'forge restart {id}' starts it again");
    let is_over = context.store.spec(id).ok().flatten().map(|spec| spec.over);
    Err(match (context.store.end(id), is_over) {
        (Ok(Some(end)), is_over) => {
            no_session(format!(" any more: it ended with {}", end.words())).hint(format!(
                "'forge logs {id}' shows what happened{}",
                if is_over.is_some() { format!("; {again}") } else { String::new() }
            ))
        }
        (_, Some(is_over)) => {
            let how = if is_over { "" } else { ", and nobody stopped it: its server is gone" };
            no_session(format!(" any more{how}")).hint(format!("{again}, 'forge stop {id}' forgets it"))
        }
        (_, None) => no_session(String::new()).hint("'forge list' shows all sessions"),
    })
}

/// Observes the sessions that match the patterns and have a scope or processes.
///
/// # Errors
/// [`Kind::NoSession`] if a pattern matches no session. Otherwise as for [`all`].
pub fn matching(context: &Context, patterns: &[Pattern]) -> Result<Vec<ObservedSession>> {
    let mut found = all(context, |id| patterns.iter().any(|pattern| pattern.matches(id)))?;
    found.retain(|found| found.has_body);
    check_all_match(context, patterns, &found, &[])?;
    Ok(found)
}

/// Observes the sessions that match the patterns. Also returns the ids of sessions that exist only as a
/// specification: their server was lost, or they have not been restored.
///
/// If a matching session is being started, this waits up to 10 seconds until the manager has its units.
///
/// # Errors
/// As for [`matching`].
pub fn matching_or_kept(
    context: &Context,
    patterns: &[Pattern],
) -> Result<(Vec<ObservedSession>, Vec<SessionId>)> {
    let matches = |id: &SessionId| patterns.iter().any(|pattern| pattern.matches(id));
    let deadline = Deadline::after(APPEARS);
    loop {
        // Read the specifications first: a session that starts in between is then among the observed ones.
        let mut kept: Vec<SessionId> = context.store.specs()?.into_keys().filter(matches).collect();
        let found = all(context, matches)?;
        kept.retain(|id| !found.iter().any(|found| found.id == *id));
        // A session that is being started has units in a moment. No event reports them.
        let is_claimed = |id: &SessionId| context.store.is_claimed(id);
        let starting: Vec<SessionId> = kept.iter().filter(|id| is_claimed(id)).cloned().collect();
        if deadline.passed() || starting.is_empty() {
            check_all_match(context, patterns, &found, &kept)?;
            return Ok((found, kept));
        }
        // Until then, ping only the sessions that are being started.
        while !deadline.passed()
            && starting.iter().all(is_claimed)
            && all(context, |id| starting.contains(id))?.is_empty()
        {
            pause(Duration::from_millis(20));
        }
    }
}

/// Refuses patterns that match no session. `*` may match none.
fn check_all_match(
    context: &Context,
    patterns: &[Pattern],
    found: &[ObservedSession],
    kept: &[SessionId],
) -> Result<()> {
    for pattern in patterns.iter().filter(|pattern| pattern.as_str() != "*") {
        let mut ids = found.iter().map(|found| &found.id).chain(kept);
        if !ids.any(|id| pattern.matches(id)) {
            if pattern.is_name() {
                let id = SessionId::from_name(pattern.as_str())?;
                return Err(existing(context, &id)
                    .err()
                    .unwrap_or_else(|| Error::failed(format!("{id} just appeared"))));
            }
            return Err(Error::new(Kind::NoSession, format!("no session matches '{}'", pattern.as_str()))
                .hint("'forge list' shows all sessions"));
        }
    }
    Ok(())
}
