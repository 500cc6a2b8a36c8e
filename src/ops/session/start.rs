//! Starts sessions: new ones, and those that have a conversation to resume.

use super::observe;
use super::resume::{Resumption, remember, resumption};
use super::spawn::request::{SpawnMode, SpawnRequest};
use super::spawn::{Spawned, spawn};
use crate::agents::conversations::AgentHome;
use crate::model::error::{Kind, Result};
use crate::model::session::Mark;
use crate::model::session::spec::Spec;
use crate::ops::Context;

/// Starts a session that has no conversation yet.
///
/// # Errors
/// As for [`spawn`].
pub fn start_new(context: &Context, spec: &Spec, mode: SpawnMode<'_>) -> Result<Spawned> {
    let beginning = Resumption::beginning(spec, None);
    start(context, &beginning.recorded_in(spec.clone()), &beginning, mode)
}

fn start(context: &Context, spec: &Spec, how: &Resumption, mode: SpawnMode<'_>) -> Result<Spawned> {
    let spawned = spawn(context, SpawnRequest { spec, resumption: how, mode })?;
    if let Err(error) = remember_agent(context, spec) {
        // The session is up, and most restarts need no more than the specification already has.
        tracing::debug!("{error}");
    }
    Ok(spawned)
}

/// Records the process and the conversation of an agent that has just started. Most agents show their conversation only
/// later; until then forge takes the session's program for the agent's process.
fn remember_agent(context: &Context, spec: &Spec) -> Result<()> {
    let id = &spec.session;
    if AgentHome::of_session(spec, &context.paths.home).is_none() {
        return Ok(());
    }
    let (Some(found), Some(kept)) = (observe::one(context, id)?, context.store.spec(id)?) else {
        return Ok(());
    };
    context.store.change_spec(&kept, |spec| spec.agent_process = found.mark.as_ref().map(Mark::program))?;
    remember(context, id, &found.cgroup.processes())
}

/// Starts a session again, with its conversation if forge knows one. If its program ends at once with the conversation,
/// forge starts it once without: the agent may have deleted the conversation.
///
/// # Errors
/// As for [`spawn`].
pub fn start_again(context: &Context, spec: &Spec, mode: SpawnMode<'_>) -> Result<Spawned> {
    let first = resumption(&context.paths.home, &context.store, spec);
    let recorded = first.recorded_in(spec.clone());
    let error = match start(context, &recorded, &first, mode) {
        Ok(spawned) => return Ok(spawned),
        Err(error) if error.kind == Kind::Ended && first.id.is_some() => error,
        Err(error) => return Err(error),
    };
    let why = error.message.lines().next().unwrap_or_default();
    let fresh = format!("with its conversation it ended at once: {why}");
    let second = Resumption::beginning(spec, Some(fresh));
    let mode = match mode {
        // On disk is the specification of the first start by now.
        SpawnMode::Restored(_) => SpawnMode::Restored(Some(&recorded)),
        SpawnMode::Again(_) => SpawnMode::Again(None),
        other => other,
    };
    let again = second.recorded_in(spec.clone());
    start(context, &again, &second, mode)
}
