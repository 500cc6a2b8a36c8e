//! Taking a program's conversation up again.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::hands::resume;
use crate::words::command::Argv;
use crate::words::error::{Error, Result};
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

/// The ids that were given to sessions already: two sessions in one directory are two
/// conversations.
pub type Taken = Mutex<BTreeSet<String>>;

/// The command with which a session is started again. Whatever is wrong with the id, it starts:
/// afresh.
pub fn resumption(home: &Path, spec: &Spec, taken: &Taken) -> Resumption {
    let plain = || spec.command.clone();
    match &spec.resume {
        None => Resumption { argv: plain(), id: None, fresh: None },
        Some(resume) if !needs_id(resume) => Resumption { argv: resume.clone(), id: None, fresh: None },
        Some(resume) => {
            let found = id(home, spec, spec.saved_id.as_deref(), taken)
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
pub fn id(home: &Path, spec: &Spec, saved: Option<&str>, taken: &Taken) -> Result<String> {
    match &spec.resume_id {
        None => Err(Error::failed("where its resume id comes from is not configured")),
        Some(IdSource::Fixed(id)) => check_id(id).map(|()| id.clone()),
        Some(IdSource::Command(argv)) => {
            saved.map_or_else(|| resume::printed(argv, spec), |id| Ok(id.to_owned()))
        }
        Some(IdSource::Claude) => {
            let dir = resume::claude_dir(home, &spec.cwd);
            let conversations = resume::claude_conversations(&dir)?;
            let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
            let id = conversations.into_iter().find(|id| !taken.contains(id)).ok_or_else(|| {
                Error::failed(format!("there is no conversation to resume in {}", dir.display()))
            })?;
            taken.insert(id.clone());
            Ok(id)
        }
    }
}
