//! What a user asked for: everything that is needed to start a session, and to start it again.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::command::Argv;
use super::limits::Limits;
use super::name::SessionId;
use super::resume::IdSource;
use crate::model::screen::prompts::{self, Prompts, ScreenPattern};

/// The version of the file that holds a [`Spec`].
pub const VERSION: u32 = 1;

/// The specification of one session. It is on disk from before the session starts until the
/// session is stopped or ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// [`VERSION`] when it was written.
    pub version: u32,
    /// The session.
    pub session: SessionId,
    /// The program and its arguments.
    pub command: Argv,
    /// Where it starts: absolute.
    pub cwd: PathBuf,
    /// What the user gave with `--env` or in the configuration; not the caller's environment.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// What is kept of the caller's environment, so that the program is found again and speaks the
    /// same language when another caller starts it: `model::session::environment::is_kept`.
    #[serde(default)]
    pub kept_env: Vec<(String, String)>,
    /// What shows that it is up; without it, up means that the program runs.
    #[serde(default, deserialize_with = "prompts::ready")]
    pub ready: Option<ScreenPattern>,
    /// What shows that it is not up yet, although `ready` matches.
    #[serde(default, deserialize_with = "prompts::not_ready")]
    pub not_ready: Option<ScreenPattern>,
    /// What shows that it asks its user something.
    #[serde(default, deserialize_with = "prompts::asking")]
    pub asking: Option<ScreenPattern>,
    /// How long to wait for that, in seconds.
    pub ready_timeout_s: u64,
    /// What it may use.
    #[serde(default)]
    pub limits: Limits,
    /// The command that takes up the program's conversation again, in place of `command`.
    #[serde(default)]
    pub resume: Option<Argv>,
    /// Where the id in it comes from.
    #[serde(default)]
    pub resume_id: Option<IdSource>,
    /// The newest id that was saved.
    #[serde(default)]
    pub saved_id: Option<String>,
    /// Who has it started again after a boot.
    #[serde(default)]
    pub keeper: Keeper,
    /// Whether it is as configured, with nothing else asked: then a changed configuration counts
    /// when it is restored.
    #[serde(default)]
    pub as_configured: bool,
    /// The TCP ports that it listens on.
    #[serde(default)]
    pub ports: Vec<u16>,
    /// Whether it never ran: its first start runs `command`, and takes up no conversation.
    #[serde(default)]
    pub fresh: bool,
    /// Whether it is over, by the end of its program or, where it is supervised, by a stop of its
    /// service: kept for another start, and not restored.
    #[serde(default)]
    pub over: bool,
}

impl Spec {
    /// The session's patterns.
    pub fn prompts(&self) -> Prompts {
        Prompts { ready: self.ready.clone(), not_ready: self.not_ready.clone(), asking: self.asking.clone() }
    }
}

/// Who has a session started again after a boot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keeper {
    /// `forge restore`.
    #[default]
    Forge,
    /// Whoever called `forge run`: a service of the user's, for example.
    Caller,
    /// Its supervisor, `forge-spawn@.service`.
    Supervisor,
}

/// How long a prompt may take to come up when nobody said otherwise, in seconds.
pub const READY_TIMEOUT_S: u64 = 30;
