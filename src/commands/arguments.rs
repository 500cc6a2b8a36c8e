//! What several verbs ask for in the same words: the description of a session, and patterns.

use std::path::PathBuf;

use crate::model::error::{Error, Result};
use crate::model::screen::prompts::{PatternKey, ScreenPattern};
use crate::model::session::command::Argv;
use crate::model::session::environment::Assignment;
use crate::model::session::limits::{Limits, Percent, Size};
use crate::model::session::name::{Pattern, SessionId};
use crate::model::session::spec::Spec;
use crate::ops::Context;
use crate::ops::session::specify;
use crate::sys::env;

/// A session to start.
#[derive(Debug, clap::Args)]
pub struct Wanted {
    /// The session's name: A-Z a-z 0-9 _ -; other characters become '-'
    pub name: String,
    /// Start in this directory [default: the current one]
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<PathBuf>,
    /// Set a variable for the program, or keep the caller's own for restarts (NAME alone); may be
    /// given several times
    #[arg(long, value_name = "NAME=VALUE")]
    pub env: Vec<Assignment>,
    /// The session is up when this regular expression matches on its screen
    #[arg(long, value_name = "REGEX", value_parser = pattern(PatternKey::Ready))]
    pub ready: Option<ScreenPattern>,
    /// But not while this one matches: a trust question, a log-in dialog
    #[arg(long, value_name = "REGEX", value_parser = pattern(PatternKey::NotReady))]
    pub not_ready: Option<ScreenPattern>,
    /// The program asks its user something while this regular expression matches on its screen
    #[arg(long, value_name = "REGEX", value_parser = pattern(PatternKey::Asking))]
    pub asking: Option<ScreenPattern>,
    /// How long that may take, in seconds [default: 30]
    #[arg(long, value_name = "SECONDS")]
    pub ready_timeout: Option<u64>,
    #[command(flatten)]
    limits: WantedLimits,
    /// A TCP port that the program listens on; the session starts only when nobody else does. May be
    /// given several times
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Vec<u16>,
    /// Stop a session of that name first
    #[arg(long)]
    pub replace: bool,
    /// The program and its arguments [default: the configured ones, else your shell]
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

impl Wanted {
    /// The specification: what was asked, then what is configured for that name, then defaults.
    ///
    /// # Errors
    /// When something in it cannot be.
    pub fn spec(&self, context: &Context) -> Result<Spec> {
        let session = SessionId::from_name(&self.name)?;
        let configured = specify::from_config(context, &session, self.cwd.as_deref(), None)?;
        env::check_working_directory(&configured.cwd)?;
        let mut env = configured.env.clone();
        // The command line's variables come last, and so win.
        for Assignment { name, value } in &self.env {
            env.push((name.clone(), value.clone().map_or_else(|| env::given_variable(name), Ok)?));
        }
        let limits = self.limits.limits()?;
        let as_asked = Spec {
            command: if self.command.is_empty() {
                configured.command.clone()
            } else {
                Argv::new(self.command.clone())?
            },
            env,
            ready: self.ready.clone().or_else(|| configured.ready.clone()),
            not_ready: self.not_ready.clone().or_else(|| configured.not_ready.clone()),
            asking: self.asking.clone().or_else(|| configured.asking.clone()),
            ready_timeout_s: self.ready_timeout.unwrap_or(configured.ready_timeout_s),
            limits: limits.or(&configured.limits),
            ports: if self.port.is_empty() { configured.ports.clone() } else { self.port.clone() },
            ..configured.clone()
        };
        as_asked.prompts().check()?;
        let as_configured = configured.as_configured && as_asked == configured && self.cwd.is_none();
        Ok(Spec { as_configured, ..as_asked })
    }
}

/// Reads the value of an option that is a pattern.
fn pattern(key: PatternKey) -> impl Fn(&str) -> Result<ScreenPattern> + Clone + Send + Sync + 'static {
    move |text| ScreenPattern::parse(key, text)
}

/// What a session or a guarded command may use.
#[derive(Debug, clap::Args)]
pub struct WantedLimits {
    /// The most memory; above it the kernel ends processes
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    memory_max: Option<Size>,
    /// Memory above which it is slowed down
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    memory_high: Option<Size>,
    /// Its share of the CPU beside others, 1 to 10000 (100 is everybody's)
    #[arg(long, value_name = "N", help_heading = "Limits")]
    cpu_weight: Option<u64>,
    /// The most CPU time, in percent of one CPU: 50%, 200%
    #[arg(long, value_name = "PERCENT", help_heading = "Limits")]
    cpu_quota: Option<Percent>,
    /// Its share of the disks beside others, 1 to 10000, where the io controller is delegated
    #[arg(long, value_name = "N", help_heading = "Limits")]
    io_weight: Option<u64>,
    /// The most processes and threads
    #[arg(long, value_name = "N", help_heading = "Limits")]
    tasks_max: Option<u64>,
}

impl WantedLimits {
    /// The limits.
    ///
    /// # Errors
    /// When one is out of its range.
    pub fn limits(&self) -> Result<Limits> {
        let limits = Limits {
            memory_max: self.memory_max,
            memory_high: self.memory_high,
            cpu_weight: self.cpu_weight,
            cpu_quota: self.cpu_quota,
            io_weight: self.io_weight,
            tasks_max: self.tasks_max,
        };
        limits.check()?;
        Ok(limits)
    }
}

/// The sessions that a verb is about.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// Names or patterns: 'bridge-*'
    #[arg(value_name = "PATTERN", required_unless_present = "all")]
    pub patterns: Vec<String>,
    /// All sessions
    #[arg(long, conflicts_with = "patterns")]
    pub all: bool,
}

impl Which {
    /// The patterns.
    ///
    /// # Errors
    /// When one is none.
    pub fn patterns(&self) -> Result<Vec<Pattern>> {
        if self.all {
            Ok(vec![Pattern::all()])
        } else {
            self.patterns.iter().map(|text| Pattern::parse(text)).collect()
        }
    }
}

/// A session that was named.
///
/// # Errors
/// When the name cannot be one.
pub fn session(name: &str) -> Result<SessionId> {
    if name.contains(['*', '?', '[']) {
        return Err(Error::usage(format!("'{name}' is a pattern, and this is about one session")));
    }
    SessionId::from_name(name)
}

/// Tells that a name was changed to make it an id.
pub fn renamed(name: &str, id: &SessionId) -> Option<String> {
    (name != id.as_str()).then(|| format!("the name '{}' became {id}", name.escape_debug()))
}
