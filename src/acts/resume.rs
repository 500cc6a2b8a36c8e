//! Taking a program's conversation up again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::hands::resume;
use crate::hands::state::Store;
use crate::words::command::Argv;
use crate::words::error::{Error, Result};
use crate::words::name::SessionId;
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
        Spec { saved_id: self.id.clone().or(spec.saved_id), fresh: false, ..spec }
    }
}

/// Which sessions keep their conversations in which directory, for [`IdSource::Claude`].
#[derive(Debug)]
pub struct Conversations(BTreeMap<PathBuf, BTreeSet<SessionId>>);

impl Conversations {
    /// Those of all sessions that run, or are to.
    ///
    /// # Errors
    /// When the specifications cannot be read.
    pub fn of_all(store: &Store) -> Result<Self> {
        let mut directories: BTreeMap<PathBuf, BTreeSet<SessionId>> = BTreeMap::new();
        for kept in store.specs()?.into_values() {
            if let Kept::Spec(spec) = kept
                && spec.resume_id == Some(IdSource::Claude)
                && !spec.over
            {
                directories.entry(spec.cwd).or_default().insert(spec.session);
            }
        }
        Ok(Self(directories))
    }

    /// Whether another session has its conversations in the same place.
    fn are_shared(&self, spec: &Spec) -> bool {
        self.0.get(&spec.cwd).is_some_and(|sessions| sessions.iter().any(|id| *id != spec.session))
    }
}

/// The command with which a session is started again. Whatever is wrong with the id, it starts:
/// afresh.
pub fn resumption(home: &Path, all: &Conversations, spec: &Spec) -> Resumption {
    let plain = || spec.command.clone();
    match spec.resume.as_ref().filter(|_| !spec.fresh) {
        None => Resumption { argv: plain(), id: None, fresh: None },
        Some(resume) if !needs_id(resume) => Resumption { argv: resume.clone(), id: None, fresh: None },
        Some(resume) => {
            let found =
                id(home, all, spec, spec.saved_id.as_deref()).and_then(|id| Ok((with_id(resume, &id)?, id)));
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
pub fn id(home: &Path, all: &Conversations, spec: &Spec, saved: Option<&str>) -> Result<String> {
    match &spec.resume_id {
        None => Err(Error::failed("where its resume id comes from is not configured")),
        Some(IdSource::Fixed(id)) => check_id(id).map(|()| id.clone()),
        Some(IdSource::Command(argv)) => {
            saved.map_or_else(|| resume::printed(argv, spec), |id| Ok(id.to_owned()))
        }
        Some(IdSource::Claude) => claude(home, all, spec),
    }
}

/// The newest conversation of the directory; where several sessions share it, the one that this
/// session was last started with: two agents must never write one conversation.
fn claude(home: &Path, all: &Conversations, spec: &Spec) -> Result<String> {
    let dir = resume::claude_dir(home, &spec.cwd);
    let conversations = resume::claude_conversations(&dir)?;
    if !all.are_shared(spec) {
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
