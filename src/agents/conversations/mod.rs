//! The conversations that agents keep on disk: which one is a session's, whether it can be resumed, and which process
//! writes to it now.

mod claude;
mod codex;

use std::path::{Path, PathBuf};

use crate::model::process::ProcessId;
use crate::model::session::resume::{AgentKind, IdSource};
use crate::model::session::spec::Spec;

/// The directory in which an agent keeps its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentHome {
    kind: AgentKind,
    dir: PathBuf,
}

impl AgentHome {
    /// The directory of the session's agent; `None` if `resume_id` is not an agent's.
    pub fn of_session(spec: &Spec, home: &Path) -> Option<Self> {
        match spec.resume_id {
            Some(IdSource::Agent(kind)) => Some(Self::of(kind, spec, home)),
            _ => None,
        }
    }

    /// The directory that the agent uses in the session: the one that its own variable names, or its default below
    /// the home directory.
    pub fn of(kind: AgentKind, spec: &Spec, home: &Path) -> Self {
        let (variable, default) = match kind {
            AgentKind::Claude => claude::HOME,
            AgentKind::Codex => codex::HOME,
        };
        // Of two variables with one name, the later one counts; those of the session override those of its caller.
        let all = || spec.kept_env.iter().chain(&spec.env).rev();
        let value = |name: &str| all().find(|(known, value)| known == name && !value.is_empty());
        let dir = match value(variable) {
            Some((_, dir)) => spec.cwd.join(dir),
            None => value("HOME").map_or(home, |(_, home)| Path::new(home)).join(default),
        };
        Self { kind, dir }
    }

    /// The conversation of the agent among these processes. If there are several agents, the one of the first
    /// process that has a conversation.
    pub fn current(&self, pids: &[u32]) -> Option<String> {
        pids.iter().find_map(|pid| match self.kind {
            AgentKind::Claude => claude::of_live(&self.dir, *pid),
            AgentKind::Codex => codex::of_live(&self.dir, *pid),
        })
    }

    /// The last conversation of an agent that has ended without cleaning up; `None` if the agent leaves no trace.
    pub fn last(&self, agent: ProcessId) -> Option<String> {
        match self.kind {
            AgentKind::Claude => claude::of_process(&self.dir, agent),
            // Codex leaves nothing that names its process.
            AgentKind::Codex => None,
        }
    }

    /// A directory in which the agent creates a file for each conversation that it begins. `None` if no new file shows
    /// that, or if [`AgentHome::last`] finds the conversation afterwards as well.
    pub fn begins_in(&self) -> Option<PathBuf> {
        match self.kind {
            AgentKind::Claude => None,
            AgentKind::Codex => Some(codex::locks(&self.dir)),
        }
    }

    /// Whether the conversation is on disk.
    pub fn has(&self, id: &str) -> bool {
        match self.kind {
            AgentKind::Claude => claude::has(&self.dir, id),
            AgentKind::Codex => codex::has(&self.dir, id),
        }
    }

    /// A live process that has the conversation open.
    pub fn writer(&self, id: &str) -> Option<ProcessId> {
        match self.kind {
            AgentKind::Claude => claude::writer(&self.dir, id),
            AgentKind::Codex => codex::writer(&self.dir, id),
        }
    }

    /// The directory, for a message.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}
