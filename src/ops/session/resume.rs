//! Taking a program's conversation up again.

use std::collections::BTreeMap;
use std::path::Path;

use crate::model::error::{Error, Result};
use crate::model::session::command::Argv;
use crate::model::session::name::SessionId;
use crate::model::session::restore::Kept;
use crate::model::session::resume::{IdSource, check_id, claude_project, needs_id, with_id};
use crate::model::session::spec::Spec;
use crate::sys::resume;
use crate::sys::store::{Claim, Store};

/// How a session is started again.
#[derive(Debug)]
pub struct Resumption {
    /// The program and its arguments.
    pub argv: Argv,
    /// The id that is in them.
    pub id: Option<String>,
    /// Why it is started afresh although it has a `resume` command.
    pub fresh: Option<String>,
    /// Held until the session is started: then whose conversation it is stands in its specification.
    _claim: Option<Claim>,
}

impl Resumption {
    /// The specification of the session that is started so: whose conversation it is, is known.
    pub fn recorded_in(&self, spec: Spec) -> Spec {
        // One that starts afresh begins a conversation that is not known; what was saved is another's.
        let is_unknown = self.fresh.is_some() && spec.resume_id == Some(IdSource::Claude);
        let saved_id = self.id.clone().or(spec.saved_id.filter(|_| !is_unknown));
        Spec { saved_id, fresh: false, ..spec }
    }
}

/// Which sessions keep their conversations in which directory, for [`IdSource::Claude`], and with which
/// each was last started.
#[derive(Debug)]
pub struct Conversations(BTreeMap<String, BTreeMap<SessionId, Option<String>>>);

impl Conversations {
    /// Those of all sessions that run, or are to.
    ///
    /// # Errors
    /// When the specifications cannot be read.
    pub fn of_all(store: &Store) -> Result<Self> {
        let mut directories: BTreeMap<String, BTreeMap<SessionId, Option<String>>> = BTreeMap::new();
        for kept in store.specs()?.into_values() {
            if let Kept::Spec(spec) = kept
                && spec.resume_id == Some(IdSource::Claude)
                && !spec.over
            {
                // Several working directories may have one: /srv/a and /srv-a.
                let directory = directories.entry(claude_project(&spec.cwd)).or_default();
                directory.insert(spec.session, spec.saved_id);
            }
        }
        Ok(Self(directories))
    }

    /// The conversations of other sessions in the same place: one for each, where it is known.
    fn of_others(&self, spec: &Spec) -> Vec<Option<&str>> {
        let sessions = self.0.get(&claude_project(&spec.cwd)).into_iter().flatten();
        sessions.filter(|(id, _)| **id != spec.session).map(|(_, saved)| saved.as_deref()).collect()
    }
}

/// The command with which a session is started again. Whatever is wrong with the id, it starts:
/// afresh.
pub fn resumption(home: &Path, store: &Store, spec: &Spec) -> Resumption {
    let with = |argv: &Argv| Resumption { argv: argv.clone(), id: None, fresh: None, _claim: None };
    match spec.resume.as_ref().filter(|_| !spec.fresh) {
        None => with(&spec.command),
        Some(resume) if !needs_id(resume) => with(resume),
        Some(resume) => {
            let found = claimed(home, store, spec).and_then(|(id, claim)| {
                Ok(Resumption { argv: with_id(resume, &id)?, id: Some(id), fresh: None, _claim: claim })
            });
            found.unwrap_or_else(|error| Resumption { fresh: Some(error.message), ..with(&spec.command) })
        }
    }
}

/// The id with which a session is started. Sessions are started side by side, and no two with one
/// conversation.
fn claimed(home: &Path, store: &Store, spec: &Spec) -> Result<(String, Option<Claim>)> {
    let id = id(home, &Conversations::of_all(store)?, spec, spec.saved_id.as_deref())?;
    if spec.resume_id != Some(IdSource::Claude) {
        return Ok((id, None));
    }
    let claim = store.claim_conversation(&id)?;
    // After the claim: who had it before has noted by now whose the conversation is.
    let is_taken = claim.is_none() || Conversations::of_all(store)?.of_others(spec).contains(&Some(&id));
    if is_taken {
        return Err(Error::failed(format!("another session has taken up the conversation {id}")));
    }
    Ok((id, claim))
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
    let others = all.of_others(spec);
    if others.is_empty() {
        return conversations.into_iter().next().ok_or_else(|| {
            Error::failed(format!("there is no conversation to resume in {}", dir.display()))
        });
    }
    // One that was alone here for a while may have taken up what another had before.
    let own = spec.saved_id.as_deref().filter(|id| !others.contains(&Some(*id)));
    conversations.into_iter().find(|id| Some(id.as_str()) == own).ok_or_else(|| {
        Error::failed(format!(
            "several sessions run in {}, and which conversation is whose is not known",
            spec.cwd.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::env::Paths;
    use crate::sys::files::write_text_for_tests;
    use crate::sys::resume::claude_dir;

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
        // Neither is noted yet: as at a boot, side by side.
        let (one, other) = (agent("one", "/srv/a", None), agent("other", "/srv/a", None));
        let first = resumption(&home, &store, &one);
        assert_eq!((first.id.as_deref(), id(&other)), (Some("7"), None));
        store.write_spec(&first.recorded_in(one.clone())).unwrap();
        drop(first);
        assert_eq!(id(&agent("one", "/srv/a", Some("7"))).as_deref(), Some("7"));
        // Another working directory whose conversations are in the same place.
        assert_eq!(id(&agent("other", "/srv-a", None)), None);
        // One that had it before, was over, and is started again; it is forgotten that it had it.
        let before = agent("other", "/srv/a", Some("7"));
        let afresh = resumption(&home, &store, &before);
        assert_eq!((&afresh.id, afresh.recorded_in(before.clone()).saved_id), (&None, None));
        assert!(afresh.fresh.is_some());
    }
}
