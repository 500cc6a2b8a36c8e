//! The specification of a session: everything that forge needs to start the session, also after a boot.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::command::Argv;
use super::limits::Limits;
use super::name::SessionId;
use super::resume::IdSource;
use crate::model::process::ProcessId;
use crate::model::screen::prompts::{self, Prompts, ScreenPattern};

/// The version of the file that holds a [`Spec`].
pub const VERSION: u32 = 1;

/// The specification of one session. It is on disk from before the session starts until the
/// session is stopped or ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "facts that do not depend on each other, as the file has them"
)]
pub struct Spec {
    /// [`VERSION`] of the forge that wrote it.
    pub version: u32,
    pub session: SessionId,
    pub command: Argv,
    /// The name of the profile of the coding agent that the program is.
    #[serde(default)]
    pub agent: Option<String>,
    /// The working directory: an absolute path.
    pub cwd: PathBuf,
    /// The variables of `--env` and of the configuration, without the caller's environment.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// Variables of the caller (`model::session::environment::is_kept`), so that another caller finds the same
    /// program and the program uses the same language.
    #[serde(default)]
    pub kept_env: Vec<(String, String)>,
    /// The session is ready when this pattern matches its screen; without it, when the program runs.
    #[serde(default, deserialize_with = "prompts::ready")]
    pub ready: Option<ScreenPattern>,
    /// Whether `ready` is of the agent's profile: another version of the agent may have another prompt.
    #[serde(default)]
    pub ready_is_agents: bool,
    /// The session is not ready while this pattern matches its screen, although `ready` matches.
    #[serde(default, deserialize_with = "prompts::not_ready")]
    pub not_ready: Option<ScreenPattern>,
    /// The program asks its user something while this pattern matches its screen.
    #[serde(default, deserialize_with = "prompts::asking")]
    pub asking: Option<ScreenPattern>,
    /// The program works on a turn while this pattern matches its screen.
    #[serde(default, deserialize_with = "prompts::working")]
    pub working: Option<ScreenPattern>,
    /// How long `ready` may take to match.
    pub ready_timeout_s: u64,
    #[serde(default)]
    pub limits: Limits,
    /// The command that begins a conversation with an id that forge chooses, in place of `command`.
    #[serde(default)]
    pub begin: Option<Argv>,
    /// The command that resumes the program's conversation, in place of `command`.
    #[serde(default)]
    pub resume: Option<Argv>,
    /// The source of the id in `resume`.
    #[serde(default)]
    pub resume_id: Option<IdSource>,
    /// The newest saved id.
    #[serde(default)]
    pub saved_id: Option<String>,
    /// The process of the agent in the last run, if `resume_id` is an agent's: the agent may have left a file that
    /// names it.
    #[serde(default)]
    pub agent_process: Option<ProcessId>,
    /// The newest id that the program itself has reported (`forge report --resume-id`). `saved_id` is the same
    /// until forge has found another one.
    #[serde(default)]
    pub reported_id: Option<String>,
    #[serde(default)]
    pub keeper: Keeper,
    /// Whether the session follows the configuration, without other options. A restore then uses the present
    /// configuration.
    #[serde(default)]
    pub as_configured: bool,
    /// The TCP ports that the program listens on.
    #[serde(default)]
    pub ports: Vec<u16>,
    /// Whether the session never ran: its first start runs `command`, not `resume`.
    #[serde(default)]
    pub fresh: bool,
    /// Whether the session ended, by the end of its program or, if it is supervised, by a stop of its service.
    /// forge keeps the specification for another start, and does not restore the session.
    #[serde(default)]
    pub over: bool,
}

impl Spec {
    /// The saved id, if the program itself has reported it.
    pub fn reported_id(&self) -> Option<&str> {
        self.reported_id.as_deref().filter(|id| self.saved_id.as_deref() == Some(*id))
    }

    pub fn prompts(&self) -> Prompts {
        Prompts {
            ready: self.ready.clone(),
            not_ready: self.not_ready.clone(),
            asking: self.asking.clone(),
            working: self.working.clone(),
        }
    }
}

/// The program that starts a session again after a boot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keeper {
    /// `forge restore`.
    #[default]
    Forge,
    /// The caller of `forge run`, for example a service of the user.
    Caller,
    /// The supervisor, `forge-spawn@.service`.
    Supervisor,
}

/// The default of `ready_timeout`, in seconds.
pub const READY_TIMEOUT_S: u64 = 30;
