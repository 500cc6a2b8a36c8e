//! The configuration: its keys. `load` reads and merges the files, `check` finds contradictions, `explain`
//! says where a mistake is and what was probably meant.

mod check;
mod explain;
mod load;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::agents::AgentConfigs;
use crate::model::error::Result;
use crate::model::guard::unit_state::{Guarded, ManagerKind};
use crate::model::notice::NoticeKind;
use crate::model::screen::prompts::{self, Prompts, ScreenPattern};
use crate::model::session::command::Argv;
use crate::model::session::limits::{Limits, Percent};
use crate::model::session::name::SessionId;
use crate::model::session::resume::IdSource;
use crate::model::supervision::{Restart, Rules, Sign};
use crate::model::time;
use serde::Deserialize;

pub use check::check_pressure;
pub use load::{load, salvage_sweep};

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub sweep: Sweep,
    /// The limits of sessions that do not set their own.
    pub limits: Limits,
    pub sessions: BTreeMap<SessionId, SessionConfig>,
    pub agents: AgentConfigs,
    pub restore: Restore,
    pub notify: Notify,
    pub guard: Guard,
}

/// `[guard]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Guard {
    /// Units of the user manager.
    pub units: Vec<String>,
    /// Units of the system manager.
    pub system_units: Vec<String>,
    /// `forge guard watch` freezes the sessions with `yield = true` while the pressure on the units is at
    /// least this high.
    pub freeze_on_pressure: Option<Percent>,
}

impl Guard {
    /// The units of both managers.
    ///
    /// # Errors
    /// `Kind::Usage` if a name is not a valid unit name.
    pub fn all_units(&self) -> Result<Vec<Guarded>> {
        let of = |manager, names: &[String]| -> Result<Vec<Guarded>> {
            names.iter().map(|name| Guarded::parse(manager, name)).collect()
        };
        Ok([of(ManagerKind::User, &self.units)?, of(ManagerKind::System, &self.system_units)?].concat())
    }
}

/// `[restore]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Restore {
    /// How many sessions `forge restore` starts at the same time.
    pub concurrency: usize,
}

// A machine that has just booted has other work too.
impl Default for Restore {
    fn default() -> Self {
        Self { concurrency: 4 }
    }
}

/// `[notify]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Notify {
    /// The kinds of notices to send.
    pub on: Option<Vec<NoticeKind>>,
    /// A command that reads the notice as JSON from its standard input.
    pub command: Option<Argv>,
    pub telegram: Option<Telegram>,
    /// A URL that forge posts the notice to as JSON.
    pub webhook: Option<Webhook>,
}

impl Notify {
    /// Whether at least one channel is configured.
    pub fn is_configured(&self) -> bool {
        self.command.is_some() || self.telegram.is_some() || self.webhook.is_some()
    }

    /// Whether to send notices of this kind. A test is always sent.
    pub fn wants(&self, kind: NoticeKind) -> bool {
        let on = self.on.as_deref().unwrap_or(&NoticeKind::USUAL);
        kind == NoticeKind::Test || on.contains(&kind)
    }
}

/// `[notify.telegram]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telegram {
    /// The file with the bot's token; if not set, forge uses the systemd credential `telegram-token`.
    pub token_file: Option<PathBuf>,
    /// The chat's number, or `@name` of a channel.
    pub chat_id: Option<ChatId>,
    /// The URL of the Bot API.
    #[serde(default = "telegram_api")]
    pub base_url: String,
}

fn telegram_api() -> String {
    "https://api.telegram.org".to_owned()
}

/// A Telegram chat.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum ChatId {
    Number(i64),
    Name(String),
}

impl std::fmt::Display for ChatId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// `[notify.webhook]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Webhook {
    pub url: Option<String>,
    /// A file with the URL, for a URL that is a secret.
    pub url_file: Option<PathBuf>,
}

/// `[sweep]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sweep {
    /// Socket directories to sweep in addition to the user's own.
    pub dirs: Vec<PathBuf>,
    /// Names of sockets that forge never touches; `*` and `?` as in a shell.
    pub protect: Vec<String>,
    /// How long a sweep waits for servers that do not answer.
    #[serde(rename = "timeout_ms", deserialize_with = "time::milliseconds")]
    pub timeout: Duration,
}

const SWEEP_TIMEOUT: Duration = Duration::from_secs(2);

impl Default for Sweep {
    fn default() -> Self {
        Self { dirs: Vec::new(), protect: Vec::new(), timeout: SWEEP_TIMEOUT }
    }
}

/// `[sessions.NAME]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SessionConfig {
    /// The program and its arguments: a list, or one line with quotes.
    pub command: Option<Argv>,
    /// The coding agent that the program is: the name of a profile. If not set, the program's name decides.
    pub agent: Option<String>,
    /// The program's working directory; `~/` is the home directory.
    pub cwd: Option<PathBuf>,
    /// Environment variables in addition to the caller's.
    pub env: BTreeMap<String, String>,
    /// The session is ready when this pattern matches its screen.
    #[serde(deserialize_with = "prompts::ready")]
    pub ready: Option<ScreenPattern>,
    /// The session is not ready while this pattern matches its screen, although `ready` matches.
    #[serde(deserialize_with = "prompts::not_ready")]
    pub not_ready: Option<ScreenPattern>,
    /// The program asks its user something while this pattern matches its screen.
    #[serde(deserialize_with = "prompts::asking")]
    pub asking: Option<ScreenPattern>,
    /// The program works on a turn while this pattern matches its screen.
    #[serde(deserialize_with = "prompts::working")]
    pub working: Option<ScreenPattern>,
    /// How long `ready` may take to match.
    #[serde(deserialize_with = "time::seconds")]
    pub ready_timeout: Option<Duration>,
    pub limits: Limits,
    /// The command that resumes the program's conversation; forge replaces `{resume_id}` with the id.
    pub resume: Option<Argv>,
    pub resume_id: Option<IdSource>,
    /// The TCP ports that the program listens on.
    pub ports: Vec<u16>,
    /// Whether the session starts at every boot.
    pub boot: bool,
    /// When the supervisor starts the session again.
    pub restart: Restart,
    /// Report the session as stuck after this long without a sign of life; `None`: never.
    #[serde(deserialize_with = "time::seconds")]
    pub stuck_after: Option<Duration>,
    /// The signs of life that count.
    pub stuck_by: Option<Vec<Sign>>,
    /// The text that the supervisor types into a stuck session.
    pub nudge_text: Option<String>,
    /// Restart the session after this long without a sign of life; `None`: never.
    #[serde(deserialize_with = "time::seconds")]
    pub stuck_restart_after: Option<Duration>,
    /// Whether forge freezes the session while the guarded units are under pressure.
    #[serde(rename = "yield")]
    pub yields: bool,
}

impl SessionConfig {
    pub fn prompts(&self) -> Prompts {
        Prompts {
            ready: self.ready.clone(),
            not_ready: self.not_ready.clone(),
            asking: self.asking.clone(),
            working: self.working.clone(),
        }
    }

    pub fn rules(&self) -> Rules {
        Rules {
            restart: self.restart,
            stuck_after: self.stuck_after,
            signs: self.stuck_by.clone().unwrap_or_else(|| vec![Sign::Beat]),
            nudge_text: self.nudge_text.clone(),
            stuck_restart_after: self.stuck_restart_after,
        }
    }
}
