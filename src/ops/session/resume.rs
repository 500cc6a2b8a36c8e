//! Decides how a session starts again: with the id that resumes its program's conversation, or without; and keeps the
//! newest id that forge knows.

use std::path::Path;

use crate::agents::conversations::{AgentHome, OpenConversation};
use crate::model::error::{Error, Result};
use crate::model::process::ProcessId;
use crate::model::session::command::Argv;
use crate::model::session::name::SessionId;
use crate::model::session::restore::Kept;
use crate::model::session::resume::{AgentKind, IdSource, check_id, needs_id, with_id};
use crate::model::session::spec::Spec;
use crate::model::unit;
use crate::ops::Context;
use crate::sys::cgroup;
use crate::sys::proc::random_uuid;
use crate::sys::resume_id;
use crate::sys::store::{Claim, Store};

/// The command with which a session starts.
#[derive(Debug)]
pub struct Resumption {
    pub argv: Argv,
    /// The resume id in `argv`.
    pub id: Option<String>,
    /// The id that forge chose for the conversation that `argv` begins.
    begun: Option<String>,
    /// Why the session starts without a resume id although it has a `resume` command.
    pub fresh: Option<String>,
    /// The lock on the conversation. forge holds it until the session has started: from then on the session's
    /// specification names the conversation.
    _claim: Option<Claim>,
}

impl Resumption {
    /// A start without a resume id.
    pub fn beginning(spec: &Spec, fresh: Option<String>) -> Self {
        let chosen = spec.begin.as_ref().and_then(|begin| {
            let id = random_uuid()?;
            Some((with_id(begin, &id).ok()?, id))
        });
        let (argv, begun) =
            chosen.map_or_else(|| (spec.command.clone(), None), |(argv, id)| (argv, Some(id)));
        Self { argv, id: None, begun, fresh, _claim: None }
    }

    fn resuming(argv: Argv, id: Option<String>, claim: Option<Claim>) -> Self {
        Self { argv, id, begun: None, fresh: None, _claim: claim }
    }

    /// `spec` with the id of this command, so that the specification says which conversation is the session's.
    pub fn recorded_in(&self, spec: Spec) -> Spec {
        // A program that starts without an id begins another conversation than the saved one.
        let is_another = self.id.is_none() && matches!(spec.resume_id, Some(IdSource::Agent(_)));
        let known = self.id.clone().or_else(|| self.begun.clone());
        let saved_id = known.or(spec.saved_id.filter(|_| !is_another));
        Spec { saved_id, fresh: false, ..spec }
    }
}

/// Decides the command with which a session starts. If forge finds no valid id, the session starts without one.
pub fn resumption(home: &Path, store: &Store, spec: &Spec) -> Resumption {
    match spec.resume.as_ref().filter(|_| !spec.fresh) {
        None => Resumption::beginning(spec, None),
        Some(resume) if !needs_id(resume) => Resumption::resuming(resume.clone(), None, None),
        Some(resume) => {
            let found = claim_id(home, store, spec)
                .and_then(|(id, claim)| Ok(Resumption::resuming(with_id(resume, &id)?, Some(id), claim)));
            found.unwrap_or_else(|error| Resumption::beginning(spec, Some(error.message)))
        }
    }
}

/// Finds the resume id and locks its conversation. Sessions start in parallel, and no two may have the same
/// conversation.
fn claim_id(home: &Path, store: &Store, spec: &Spec) -> Result<(String, Option<Claim>)> {
    let Some(IdSource::Agent(kind)) = spec.resume_id else { return Ok((id_at_start(spec)?, None)) };
    let agent = AgentHome::of(kind, spec, home);
    let last = spec.agent_process.and_then(|process| agent.last(process));
    let id = last.or_else(|| spec.saved_id.clone()).ok_or_else(|| {
        Error::failed(
            "forge does not know its conversation: the agent had none, or ended before forge saw it",
        )
    })?;
    agent.check(&id, spec.reported_id() == Some(id.as_str())).map_err(Error::failed)?;
    let claim = store.claim_conversation(&id)?;
    // Read the specifications after taking the lock: its previous holder has recorded its id by now.
    if claim.is_none() || is_of_another(store, spec, kind, &id)? {
        return Err(Error::failed(format!("another session has the conversation {id}")));
    }
    // A restart decides while the session's own agent still runs.
    let is_own = |pid| {
        cgroup::of_process(pid)
            .is_some_and(|path| path.contains(&format!("/{}/", unit::slice(&spec.session))))
    };
    if let Some(writer) = agent.writer(&id).filter(|writer| !is_own(writer.pid)) {
        return Err(Error::failed(format!("process {} has the conversation {id} open", writer.pid)));
    }
    Ok((id, claim))
}

/// The id when no program of the session runs. The program's own report is exact. Otherwise a command may find the id
/// now, and otherwise the saved one is the newest.
fn id_at_start(spec: &Spec) -> Result<String> {
    match &spec.resume_id {
        Some(IdSource::Fixed(id)) => check_id(id).map(|()| id.clone()),
        Some(IdSource::Command(argv)) => {
            let printed = || resume_id::printed(argv, spec);
            spec.reported_id()
                .map_or_else(printed, |id| Ok(id.to_owned()))
                .or_else(|error| spec.saved_id.clone().ok_or(error))
        }
        Some(IdSource::Agent(_)) | None => {
            Err(Error::failed("no source of its resume id (resume_id) is configured"))
        }
    }
}

/// Whether the conversation is that of another session that is not over.
fn is_of_another(store: &Store, spec: &Spec, kind: AgentKind, id: &str) -> Result<bool> {
    let is_its = |kept: &Kept| {
        matches!(kept, Kept::Spec(other) if other.session != spec.session
            && !other.over
            && other.resume_id == Some(IdSource::Agent(kind))
            && other.saved_id.as_deref() == Some(id))
    };
    Ok(store.specs()?.values().any(is_its))
}

/// The id of a session's conversation while its program runs as one of these processes.
///
/// # Errors
/// [`Kind::Failed`] if there is no valid id.
pub fn current_id(home: &Path, spec: &Spec, pids: &[u32]) -> Result<String> {
    match &spec.resume_id {
        Some(IdSource::Command(argv)) => {
            resume_id::printed(argv, spec).or_else(|error| spec.reported_id().map(str::to_owned).ok_or(error))
        }
        Some(IdSource::Agent(kind)) => {
            let open = AgentHome::of(*kind, spec, home).current(pids).map(|open| open.id);
            open.or_else(|| spec.saved_id.clone())
                .ok_or_else(|| Error::failed(format!("{} has no conversation yet", kind.word())))
        }
        Some(IdSource::Fixed(_)) | None => id_at_start(spec),
    }
}

/// Records the conversation of a session's agent while it runs as one of these processes, if forge does not know it
/// yet. A power cut and the end of the agent may leave nothing else that names it.
///
/// # Errors
/// [`Kind::Failed`](crate::model::error::Kind::Failed) if forge cannot read or write the specification.
pub fn remember(context: &Context, id: &SessionId, pids: &[u32]) -> Result<()> {
    let Some(spec) = context.store.spec(id)? else { return Ok(()) };
    let Some(agent) = AgentHome::of_session(&spec, &context.paths.home) else { return Ok(()) };
    let Some(OpenConversation { id, process }) = agent.current(pids) else { return Ok(()) };
    if spec.saved_id.as_ref() != Some(&id) || spec.agent_process != Some(process) {
        context.store.change_spec(&spec, |spec| {
            (spec.saved_id, spec.agent_process) = (Some(id), Some(process));
        })?;
    }
    Ok(())
}

/// Records the last conversation of a session's agent right after its end: an agent that was killed may leave a file
/// that names it, until another process of the agent cleans up. `program` is the session's program.
///
/// # Errors
/// As for [`remember`].
pub fn remember_last(context: &Context, id: &SessionId, program: ProcessId) -> Result<()> {
    let Some(spec) = context.store.spec(id)? else { return Ok(()) };
    let Some(agent) = AgentHome::of_session(&spec, &context.paths.home) else { return Ok(()) };
    let last =
        [spec.agent_process, Some(program)].into_iter().flatten().find_map(|process| agent.last(process));
    if last.is_some() && last != spec.saved_id {
        context.store.change_spec(&spec, |spec| spec.saved_id = last)?;
    }
    Ok(())
}
