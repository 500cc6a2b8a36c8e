//! Decides how a session starts again: with the id that resumes its program's conversation, or without.

use std::collections::BTreeMap;
use std::path::Path;

use crate::model::error::{Error, Result};
use crate::model::session::command::Argv;
use crate::model::session::name::SessionId;
use crate::model::session::restore::Kept;
use crate::model::session::resume::{IdSource, check_id, claude_project, needs_id, with_id};
use crate::model::session::spec::Spec;
use crate::sys::resume_id;
use crate::sys::store::{Claim, Store};

/// The command with which a session starts again.
#[derive(Debug)]
pub struct Resumption {
    pub argv: Argv,
    /// The resume id in `argv`.
    pub id: Option<String>,
    /// Why the session starts without a resume id although it has a `resume` command.
    pub fresh: Option<String>,
    /// The lock on the conversation. forge holds it until the session has started: from then on the session's
    /// specification names the conversation.
    _claim: Option<Claim>,
}

impl Resumption {
    /// `spec` with the resume id of this command, so that the specification says which conversation is the
    /// session's.
    pub fn recorded_in(&self, spec: Spec) -> Spec {
        // A program that starts without an id begins a conversation whose id forge does not know. The saved
        // id belongs to another conversation.
        let is_unknown = self.fresh.is_some() && spec.resume_id == Some(IdSource::Claude);
        let saved_id = self.id.clone().or(spec.saved_id.filter(|_| !is_unknown));
        Spec { saved_id, fresh: false, ..spec }
    }
}

/// For [`IdSource::Claude`]: the sessions that keep their conversations in each directory, and the id of
/// the conversation with which each session was last started.
#[derive(Debug)]
pub struct Conversations(BTreeMap<String, BTreeMap<SessionId, Option<String>>>);

impl Conversations {
    /// Reads the conversations of all sessions that are not over.
    ///
    /// # Errors
    /// [`Kind::Failed`](crate::model::error::Kind::Failed) if forge cannot read the specifications.
    pub fn read(store: &Store) -> Result<Self> {
        let mut directories: BTreeMap<String, BTreeMap<SessionId, Option<String>>> = BTreeMap::new();
        for kept in store.specs()?.into_values() {
            if let Kept::Spec(spec) = kept
                && spec.resume_id == Some(IdSource::Claude)
                && !spec.over
            {
                // Two working directories may share a directory for conversations: /srv/a and /srv-a.
                let directory = directories.entry(claude_project(&spec.cwd)).or_default();
                directory.insert(spec.session, spec.saved_id);
            }
        }
        Ok(Self(directories))
    }

    /// The conversations of the other sessions in the same directory. `None`: a session whose conversation
    /// is not known.
    fn of_others(&self, spec: &Spec) -> Vec<Option<&str>> {
        let sessions = self.0.get(&claude_project(&spec.cwd)).into_iter().flatten();
        sessions.filter(|(id, _)| **id != spec.session).map(|(_, saved)| saved.as_deref()).collect()
    }
}

/// Decides the command with which a session starts again. If forge finds no valid id, the session starts
/// without one.
pub fn resumption(home: &Path, store: &Store, spec: &Spec) -> Resumption {
    let with = |argv: &Argv| Resumption { argv: argv.clone(), id: None, fresh: None, _claim: None };
    match spec.resume.as_ref().filter(|_| !spec.fresh) {
        None => with(&spec.command),
        Some(resume) if !needs_id(resume) => with(resume),
        Some(resume) => {
            let found = claim_id(home, store, spec).and_then(|(id, claim)| {
                Ok(Resumption { argv: with_id(resume, &id)?, id: Some(id), fresh: None, _claim: claim })
            });
            found.unwrap_or_else(|error| Resumption { fresh: Some(error.message), ..with(&spec.command) })
        }
    }
}

/// Finds the resume id and locks its conversation. Sessions start in parallel, and no two may have the same
/// conversation.
fn claim_id(home: &Path, store: &Store, spec: &Spec) -> Result<(String, Option<Claim>)> {
    let id = find_id(home, &Conversations::read(store)?, spec, spec.saved_id.as_deref())?;
    if spec.resume_id != Some(IdSource::Claude) {
        return Ok((id, None));
    }
    let claim = store.claim_conversation(&id)?;
    // Read the conversations after taking the lock: its previous holder has recorded its id by now.
    let is_taken = claim.is_none() || Conversations::read(store)?.of_others(spec).contains(&Some(&id));
    if is_taken {
        return Err(Error::failed(format!("another session has resumed the conversation {id}")));
    }
    Ok((id, claim))
}

/// Finds the id of a session's conversation. If only the running program can print the id, `saved` is used
/// when it is set.
///
/// # Errors
/// [`Kind::Failed`](crate::model::error::Kind::Failed) if there is no valid id.
pub fn find_id(home: &Path, all: &Conversations, spec: &Spec, saved: Option<&str>) -> Result<String> {
    match &spec.resume_id {
        None => Err(Error::failed("no source of its resume id (resume_id) is configured")),
        Some(IdSource::Fixed(id)) => check_id(id).map(|()| id.clone()),
        Some(IdSource::Command(argv)) => {
            saved.map_or_else(|| resume_id::printed(argv, spec), |id| Ok(id.to_owned()))
        }
        Some(IdSource::Claude) => claude_id(home, all, spec),
    }
}

/// The id of the newest conversation in the directory. If several sessions share the directory, the id with
/// which this session was last started: two agents must never write to one conversation.
fn claude_id(home: &Path, all: &Conversations, spec: &Spec) -> Result<String> {
    let dir = resume_id::claude_dir(home, &spec.cwd);
    let conversations = resume_id::claude_conversations(&dir)?;
    let others = all.of_others(spec);
    if others.is_empty() {
        return conversations.into_iter().next().ok_or_else(|| {
            Error::failed(format!("there is no conversation to resume in {}", dir.display()))
        });
    }
    // Another session may have resumed this session's conversation while it was alone in the directory.
    let own = spec.saved_id.as_deref().filter(|id| !others.contains(&Some(*id)));
    conversations.into_iter().find(|id| Some(id.as_str()) == own).ok_or_else(|| {
        Error::failed(format!(
            "several sessions run in {}, and forge does not know which conversation belongs to which",
            spec.cwd.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::env::Paths;
    use crate::sys::files::write_text_for_tests;
    use crate::sys::resume_id::claude_dir;

    fn agent(name: &str, cwd: &str, saved: Option<&str>) -> Spec {
        let spec = serde_json::json!({
            "version": 1, "session": name, "command": ["claude"], "cwd": cwd, "ready_timeout_s": 30,
            "resume": ["claude", "--resume", "{resume_id}"], "resume_id": "claude", "saved_id": saved,
        });
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn two_agents_never_get_one_conversation() {
        let root = tempfile::tempdir().unwrap();
        let dir = |name: &str| root.path().join(name);
        let home = dir("home");
        let paths = Paths {
            uid: 0,
            home: home.clone(),
            config: dir("config"),
            state: dir("state"),
            runtime: dir("runtime"),
            tmux_tmpdir: dir("tmp"),
        };
        let store = Store::new(&paths);
        write_text_for_tests(&claude_dir(&home, Path::new("/srv/a")).join("7.jsonl"), "{}\n");
        let id = |spec: &Spec| resumption(&home, &store, spec).id;
        // Both start in parallel, as at a boot: neither specification has an id yet.
        let (one, other) = (agent("one", "/srv/a", None), agent("other", "/srv/a", None));
        let first = resumption(&home, &store, &one);
        assert_eq!((first.id.as_deref(), id(&other)), (Some("7"), None));
        store.write_spec(&first.recorded_in(one.clone())).unwrap();
        drop(first);
        assert_eq!(id(&agent("one", "/srv/a", Some("7"))).as_deref(), Some("7"));
        // Another working directory that shares the directory for conversations.
        assert_eq!(id(&agent("other", "/srv-a", None)), None);
        // A session that had the conversation, was over, and starts again: its saved id is dropped.
        let before = agent("other", "/srv/a", Some("7"));
        let afresh = resumption(&home, &store, &before);
        assert_eq!((&afresh.id, afresh.recorded_in(before.clone()).saved_id), (&None, None));
        assert!(afresh.fresh.is_some());
    }
}
