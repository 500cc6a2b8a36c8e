//! Describes sessions for `forge list` and `forge status`: resources, command and activity.

use std::collections::BTreeMap;

use super::activity::{ObservedActivity, activities_by};
use super::list::{ALL_UNITS, ObservedSession, observe};
use crate::model::error::Result;
use crate::model::screen::prompts::Prompts;
use crate::model::session::activity::Activity;
use crate::model::session::name::SessionId;
use crate::model::session::spec::Spec;
use crate::model::session::{Session, State};
use crate::model::time::rfc3339;
use crate::ops::Context;
use crate::ops::session::outside::outside;
use crate::sys::clock::{boot_us, now_us};
use crate::sys::connections::Connections;
use crate::sys::proc::{stat, terminal_idle_s};
use crate::sys::tmux;

/// Observes and describes every session whose id is `wanted`.
///
/// # Errors
/// As for [`all`](super::all).
pub fn describe_all(context: &Context, wanted: impl Fn(&SessionId) -> bool) -> Result<Vec<Session>> {
    let mut described = BTreeMap::new();
    let mut add =
        |found: &ObservedSession| drop(described.insert(found.id.clone(), without_activity(context, found)));
    let found = observe(context, &ALL_UNITS, wanted, &mut add)?;
    let described: Vec<(&ObservedSession, (Session, Prompts))> =
        found.iter().filter_map(|found| Some((found, described.remove(&found.id)?))).collect();
    let sessions: Vec<_> = described.iter().map(|(found, (_, prompts))| (*found, prompts)).collect();
    let activities = activities_by(context, &sessions);
    let complete =
        |((found, (session, _)), activity): ((&ObservedSession, (Session, Prompts)), ObservedActivity)| {
            // The server's answer was not known when the session was described.
            with_activity(Session { state: found.state(), ..session }, activity)
        };
    Ok(described.into_iter().zip(activities).map(complete).collect())
}

pub fn describe(context: &Context, found: &ObservedSession) -> Session {
    let (session, prompts) = without_activity(context, found);
    let activity = activities_by(context, &[(found, &prompts)]).pop().unwrap_or_default();
    let outside = outside(&found.id, &found.cgroup, found.mark.as_ref(), &Connections::default());
    Session { outside, ..with_activity(session, activity) }
}

/// Adds the activity to a described session.
fn with_activity(session: Session, activity: ObservedActivity) -> Session {
    let ObservedActivity { known, question, .. } = activity;
    let since = known.since.map(|since| now_us().saturating_sub(boot_us().saturating_sub(since)));
    Session {
        activity: known.activity,
        activity_since: since.and_then(rfc3339),
        activity_source: known.source,
        question,
        ..session
    }
}

/// The last failure of a session that its supervisor starts again, or no longer starts.
fn failure(context: &Context, found: &ObservedSession) -> Option<String> {
    let is_down = found.service.is_some() && matches!(found.state(), State::Starting | State::Failed);
    is_down.then(|| context.store.record(&found.id).ok().flatten()?.failure)?
}

/// Describes a session except for its activity; also returns its prompt patterns.
fn without_activity(context: &Context, found: &ObservedSession) -> (Session, Prompts) {
    // If the specification cannot be read, the session is described without its command.
    let spec = context.store.spec(&found.id).ok().flatten();
    let mark = found.mark.as_ref();
    let pane = mark.filter(|_| found.program.is_there());
    let attached = tmux::is_attached(&found.socket);
    let prompts = spec.as_ref().map(Spec::prompts).unwrap_or_default();
    let session = Session {
        session: found.id.clone(),
        state: found.state(),
        since: mark.and_then(|mark| rfc3339(mark.since_us)),
        socket: found.socket.clone(),
        server_pid: mark.filter(|_| found.server.is_there()).map(|mark| mark.server_pid),
        pane_pid: pane.map(|mark| mark.pane_pid),
        command: spec.as_ref().map(|spec| spec.command.as_slice().to_vec()).unwrap_or_default(),
        agent: spec.as_ref().and_then(|spec| spec.agent.clone()),
        resume_id: spec.as_ref().and_then(|spec| spec.saved_id.clone()),
        cwd: spec.map(|spec| spec.cwd),
        memory_bytes: found.cgroup.memory(),
        cpu_usec: found.cgroup.cpu_usec(),
        tasks: found.cgroup.processes().len() as u64,
        attached,
        supervised: found.is_supervised(),
        activity: Activity::Unknown,
        activity_since: None,
        activity_source: None,
        question: None,
        failure: failure(context, found),
        outside: None,
        idle_s: pane.and_then(|mark| terminal_idle_s(&stat(mark.pane_pid)?)),
    };
    (session, prompts)
}
