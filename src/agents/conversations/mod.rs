//! The conversations that agents keep on disk: which one is a session's, whether it can be resumed, and which process
//! writes to it now.

mod codex;
mod copilot;
mod gemini;
mod pid_files;

use std::path::{Path, PathBuf};

use crate::model::process::ProcessId;
use crate::model::session::resume::{AgentKind, IdSource};
use crate::model::session::spec::Spec;
use crate::sys::proc;

/// The directory in which an agent keeps its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentHome {
    kind: AgentKind,
    dir: PathBuf,
    /// The working directory of the session.
    cwd: PathBuf,
}

/// A conversation, and the process of the agent that has it open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenConversation {
    pub id: String,
    pub process: ProcessId,
}

/// The variable that names the agent's directory, and its default below the home directory.
fn place(kind: AgentKind) -> (&'static str, &'static str) {
    match kind {
        AgentKind::Claude => ("CLAUDE_CONFIG_DIR", ".claude"),
        AgentKind::Codex => ("CODEX_HOME", ".codex"),
        AgentKind::Copilot => ("COPILOT_HOME", ".copilot"),
        // No variable was found.
        AgentKind::Gemini => ("", ".gemini"),
        AgentKind::Qwen => ("", ".qwen"),
    }
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
        // Of two variables with one name, the later one counts; those of the session override those of its caller.
        let all = || spec.kept_env.iter().chain(&spec.env).rev();
        let value = |name: &str| all().find(|(known, value)| known == name && !value.is_empty());
        let (variable, default) = place(kind);
        let dir = match value(variable) {
            Some((_, dir)) => spec.cwd.join(dir),
            None => value("HOME").map_or(home, |(_, home)| Path::new(home)).join(default),
        };
        Self { kind, dir, cwd: spec.cwd.clone() }
    }

    /// The conversation of the agent among these processes. If there are several agents, the one of the first
    /// process that has a conversation. `None` if the agent does not show it.
    pub fn current(&self, pids: &[u32]) -> Option<OpenConversation> {
        pids.iter().find_map(|pid| {
            let process = proc::process_id(*pid)?;
            let id = match self.kind {
                AgentKind::Claude | AgentKind::Qwen => pid_files::of(&self.dir, process),
                AgentKind::Codex => codex::of(&self.dir, process.pid),
                AgentKind::Copilot => copilot::of(&self.dir, process.pid),
                AgentKind::Gemini => None,
            }?;
            Some(OpenConversation { id, process })
        })
    }

    /// The last conversation of a process of the agent that was killed; `None` if the agent leaves no trace.
    pub fn last(&self, agent: ProcessId) -> Option<String> {
        match self.kind {
            AgentKind::Claude | AgentKind::Qwen => pid_files::of(&self.dir, agent),
            AgentKind::Copilot => copilot::last(&self.dir, agent.pid),
            AgentKind::Codex | AgentKind::Gemini => None,
        }
    }

    /// A directory in which the agent creates a file for each conversation that it begins. `None` if no new file shows
    /// that, or if [`AgentHome::last`] always finds the conversation afterwards.
    pub fn begins_in(&self) -> Option<PathBuf> {
        match self.kind {
            AgentKind::Codex => Some(codex::locks(&self.dir)),
            // When its launcher is killed, the agent cleans up.
            AgentKind::Copilot => Some(copilot::folders(&self.dir)),
            AgentKind::Claude | AgentKind::Gemini | AgentKind::Qwen => None,
        }
    }

    /// Checks that the conversation is on disk, and that it is the last one of the session that had it. The program's
    /// own report (`is_reported`) is enough for that.
    ///
    /// # Errors
    /// The reason why the session must not resume it.
    pub fn check(&self, id: &str, is_reported: bool) -> Result<(), String> {
        let has = match self.kind {
            AgentKind::Claude => pid_files::has(&self.dir, "", id),
            AgentKind::Qwen => pid_files::has(&self.dir, "chats", id),
            AgentKind::Codex => codex::has(&self.dir, id),
            AgentKind::Copilot => copilot::has(&self.dir, id),
            AgentKind::Gemini => return gemini::check(&self.dir, &self.cwd, id, is_reported),
        };
        if has { Ok(()) } else { Err(format!("there is no conversation {id} in {}", self.dir.display())) }
    }

    /// A live process that has the conversation open; `None` also if the agent does not show it.
    pub fn writer(&self, id: &str) -> Option<ProcessId> {
        match self.kind {
            AgentKind::Claude | AgentKind::Qwen => pid_files::writer(&self.dir, id),
            AgentKind::Codex => codex::writer(&self.dir, id),
            AgentKind::Copilot => copilot::writer(&self.dir, id),
            AgentKind::Gemini => None,
        }
    }
}
