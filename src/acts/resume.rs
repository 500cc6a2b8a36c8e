//! Taking a program's conversation up again.

use std::path::Path;

use crate::hands::resume;
use crate::hands::state::Store;
use crate::words::command::Argv;
use crate::words::error::{Error, Result};
use crate::words::restore::Kept;
use crate::words::resume::{IdSource, check_id, needs_id, with_id};
use crate::words::spec::Spec;

/// How a session is started again.
#[derive(Debug)]
pub struct Resumption {
    /// The program and its arguments.
    pub argv: Argv,
    /// The id that is in them.
    pub id: Option<String>,
    /// Why it is started afresh although it has a `resume` command.
    pub fresh: Option<String>,
}

impl Resumption {
    /// The specification of the session that is started so: whose conversation it is, is known.
    pub fn noted(&self, spec: Spec) -> Spec {
        Spec { saved_id: self.id.clone().or(spec.saved_id), ..spec }
    }
}

/// The command with which a session is started again. Whatever is wrong with the id, it starts:
/// afresh.
pub fn resumption(home: &Path, store: &Store, spec: &Spec) -> Resumption {
    let plain = || spec.command.clone();
    match &spec.resume {
        None => Resumption { argv: plain(), id: None, fresh: None },
        Some(resume) if !needs_id(resume) => Resumption { argv: resume.clone(), id: None, fresh: None },
        Some(resume) => {
            let found = id(home, store, spec, spec.saved_id.as_deref())
                .and_then(|id| Ok((with_id(resume, &id)?, id)));
            match found {
                Ok((argv, id)) => Resumption { argv, id: Some(id), fresh: None },
                Err(error) => Resumption { argv: plain(), id: None, fresh: Some(error.message) },
            }
        }
    }
}

/// The id of a session's conversation. One that was saved stands for what only the running
/// program could tell.
///
/// # Errors
/// When there is none.
pub fn id(home: &Path, store: &Store, spec: &Spec, saved: Option<&str>) -> Result<String> {
    match &spec.resume_id {
        None => Err(Error::failed("where its resume id comes from is not configured")),
        Some(IdSource::Fixed(id)) => check_id(id).map(|()| id.clone()),
        Some(IdSource::Command(argv)) => {
            saved.map_or_else(|| resume::printed(argv, spec), |id| Ok(id.to_owned()))
        }
        Some(IdSource::Claude) => claude(home, store, spec),
    }
}

/// The newest conversation of the directory; where several sessions share it, the one that this
/// session was last started with: two agents must never write one conversation.
fn claude(home: &Path, store: &Store, spec: &Spec) -> Result<String> {
    let dir = resume::claude_dir(home, &spec.cwd);
    let conversations = resume::claude_conversations(&dir)?;
    if !is_shared(store, spec)? {
        return conversations.into_iter().next().ok_or_else(|| {
            Error::failed(format!("there is no conversation to resume in {}", dir.display()))
        });
    }
    conversations.into_iter().find(|id| Some(id) == spec.saved_id.as_ref()).ok_or_else(|| {
        Error::failed(format!(
            "several sessions run in {}, and which conversation is whose is not known",
            spec.cwd.display()
        ))
    })
}

/// Whether another session keeps its conversations in the same place.
fn is_shared(store: &Store, spec: &Spec) -> Result<bool> {
    Ok(store.specs()?.into_iter().any(|(id, kept)| {
        id != spec.session
            && matches!(kept, Kept::Spec(other) if other.cwd == spec.cwd
                && other.resume_id == Some(IdSource::Claude) && !other.over)
    }))
}
