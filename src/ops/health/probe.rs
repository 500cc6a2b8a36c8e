//! `forge probe`: checks of the machine and the sessions. They change nothing.

use crate::model::error::{Error, Result};
use crate::model::health::{HealthFacts, Probe, Problem};
use crate::model::session::State;
use crate::model::session::restore::Kept;
use crate::model::session::spec::Keeper;
use crate::model::unit;
use crate::model::unit::files::{SWEEP_TIMER, is_of_forge};
use crate::ops::Context;
use crate::ops::boot::restore;
use crate::ops::session::observe::{self, ObservedSession};
use crate::ops::sweep::{SweepPlan, sweep};
use crate::sys::cgroup::Cgroup;
use crate::sys::clock::now_us;
use crate::sys::env::user_name;
use crate::sys::files;
use crate::sys::files::Entry;
use crate::sys::systemd::Login;
use crate::sys::tmux::ping::server_of;

/// Makes all checks. `configuration` is the error of the configuration, where it is not valid.
///
/// # Errors
/// `Kind::Bus` when the user manager cannot be reached; `Kind::Failed` when forge's files cannot be read.
pub fn probe(context: &Context, configuration: Option<&Error>) -> Result<Probe> {
    let manager = context.manager()?;
    // Read the specifications first: a session that ends meanwhile must not count as lost.
    let kept = context.store.specs()?;
    let found = observe::all(context, |_| true)?;
    let answered = found.iter().filter(|found| found.answered).map(|found| found.socket.clone()).collect();
    let sockets = sweep(context, &SweepPlan { known_live: answered, ..SweepPlan::new(context, &[], true) });
    let session_of = |path: &std::path::Path| path.file_name()?.to_str().and_then(unit::session_of_socket);
    let mut orphans: Vec<Problem> = Vec::new();
    for found in found.iter().filter(|found| found.has_body && !found.has_scope) {
        let slice = unit::slice(&found.id);
        orphans.push(Problem::new(
            format!("{slice} has processes, but no session"),
            format!("systemctl --user status '{slice}' shows them, forge stop {} ends them", found.id),
        ));
    }
    for socket in sockets.live.iter().chain(&sockets.unresponsive) {
        let Some(id) = session_of(socket) else { continue };
        if !found.iter().any(|found| found.id == id) && !context.store.is_claimed(&id) {
            let path = socket.display();
            let pid = server_of(socket).map(|pid| format!(" (process {pid})")).unwrap_or_default();
            orphans.push(Problem::new(
                format!("the tmux server on {path}{pid} is not in a unit of forge"),
                format!("tmux -S {path} attach shows it, tmux -S {path} kill-server ends it"),
            ));
        }
    }
    let unsupervised = found
        .iter()
        .filter(|found| found.has_body && !found.is_supervised())
        .filter(|found| {
            let spec = context.store.spec(&found.id).ok().flatten();
            spec.is_some_and(|spec| spec.keeper == Keeper::Supervisor && !spec.over)
        })
        .map(|found| found.id.clone())
        .collect();
    let mut last_restore = restore::last_restore(context)?;
    let lost = kept
        .into_iter()
        .filter(|(id, kept)| {
            matches!(kept, Kept::Spec(spec) if !spec.over && spec.keeper != Keeper::Caller)
                && !found.iter().any(|found| found.id == *id)
                && !context.store.is_claimed(id)
                // A user may have stopped the session since the query.
                && context.store.spec(id).is_ok_and(|spec| spec.is_some())
        })
        .map(|(id, _)| id)
        .collect();
    for failed in last_restore.iter_mut().flat_map(|restored| &mut restored.failed) {
        // A user has removed the file that forge set aside.
        failed.set_aside = failed.set_aside.take().filter(|path| files::exists(path));
    }
    let facts = HealthFacts {
        now_us: now_us(),
        dead: sockets.removed,
        live: sockets.live.len(),
        wedged: sockets.unresponsive,
        missing: found.iter().filter(|found| is_missing(found)).map(|found| found.id.clone()).collect(),
        sessions: found
            .iter()
            .filter(|found| found.has_scope || !found.has_body)
            .map(|found| (found.id.clone(), found.state()))
            .collect(),
        activities: observe::activities(context, &found)
            .into_iter()
            .zip(&found)
            .filter(|(_, found)| found.program.is_there())
            .map(|(activity, _)| activity.known.activity)
            .collect(),
        lost,
        unsupervised,
        orphans,
        units_failed: manager
            .units(&["forge*"])?
            .into_iter()
            .filter(|unit| unit.active == "failed" && is_of_forge(&unit.name))
            .map(|unit| unit.name)
            .collect(),
        last_sweep: context.store.last_sweep().ok().flatten(),
        sweep_timer_since_us: manager.active_since_us(SWEEP_TIMER)?,
        last_restore,
        oom_kills: Cgroup::new(&manager.control_group()?).child(unit::FORGE_SLICE).oom_kills(),
        state_free_bytes: files::free_bytes(&context.paths.state),
        linger: Login::connect().and_then(|login| login.lingers(context.paths.uid)).ok(),
        user: user_name(),
        configuration: configuration.map(|error| {
            Problem::new(
                format!("the configuration is not valid: {}", error.message),
                error.hint.clone().unwrap_or_else(|| "fix it".to_owned()),
            )
        }),
    };
    Ok(Probe::of(&facts))
}

/// Whether the socket of a running session's server does not exist.
fn is_missing(found: &ObservedSession) -> bool {
    matches!(found.state(), State::Running | State::Frozen)
        && found.mark.is_some()
        && files::entry(&found.socket) == Entry::Missing
}
