//! Arguments that several commands share: the description of a session, and session patterns.

use std::path::PathBuf;

use crate::model::error::{Error, Result};
use crate::model::screen::prompts::{PatternKey, ScreenPattern};
use crate::model::session::command::Argv;
use crate::model::session::environment::Assignment;
use crate::model::session::limits::{Limits, Percent, Size};
use crate::model::session::name::{Pattern, SessionId};
use crate::model::session::spec::Spec;
use crate::model::time;
use crate::ops::Context;
use crate::ops::session::specify;
use crate::sys::env;

/// Headings of option groups in help texts, in the order of a page.
pub const SESSION: &str = "Session";
pub const READINESS: &str = "Readiness";
pub const GUARD: &str = "Guard";
pub const LIMITS: &str = "Limits";
pub const SUPERVISION: &str = "Supervision";
pub const TYPING: &str = "Typing";
pub const WAITING: &str = "Waiting";

/// A session to start.
#[derive(Debug, clap::Args)]
pub struct Wanted {
    /// Name of the session: A-Z a-z 0-9 _ -; other characters become '-'
    pub name: String,
    /// The coding agent that the program is ('forge agents list'); 'generic': forge treats it as any program
    #[arg(long, value_name = "AGENT", help_heading = SESSION)]
    pub agent: Option<String>,
    /// Start the program in this directory [default: the current directory]
    #[arg(long, value_name = "DIR", help_heading = SESSION)]
    pub cwd: Option<PathBuf>,
    /// Set a variable for the program; NAME alone keeps the caller's value, also for restarts (repeatable)
    #[arg(long, value_name = "NAME=VALUE", help_heading = SESSION)]
    pub env: Vec<Assignment>,
    /// TCP port that the program listens on; the session starts only if the port is free (repeatable)
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..), help_heading = SESSION)]
    pub port: Vec<u16>,
    /// Stop a session of the same name first
    #[arg(long, help_heading = SESSION)]
    pub replace: bool,
    /// The session is ready when this regular expression matches its screen
    #[arg(long, value_name = "REGEX", value_parser = pattern(PatternKey::Ready), help_heading = READINESS)]
    pub ready: Option<ScreenPattern>,
    /// The session is not ready while this regular expression matches: a trust question, a log-in dialog
    #[arg(long, value_name = "REGEX", value_parser = pattern(PatternKey::NotReady), help_heading = READINESS)]
    pub not_ready: Option<ScreenPattern>,
    /// The program asks the user a question while this regular expression matches its screen
    #[arg(long, value_name = "REGEX", value_parser = pattern(PatternKey::Asking), help_heading = READINESS)]
    pub asking: Option<ScreenPattern>,
    /// The program works on a turn while this regular expression matches its screen
    #[arg(long, value_name = "REGEX", value_parser = pattern(PatternKey::Working), help_heading = READINESS)]
    pub working: Option<ScreenPattern>,
    /// Fail if the session is not ready after this time (90, 90s, 10min) [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = whole_seconds, help_heading = READINESS)]
    pub ready_timeout: Option<u64>,
    #[command(flatten)]
    limits: WantedLimits,
    /// Program and arguments [default: the configured command, otherwise your shell]
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

impl Wanted {
    /// The specification: options override the configuration of that name, which overrides the defaults.
    ///
    /// # Errors
    /// `Kind::Usage` when a value is not valid, `Kind::Missing` when the caller has no variable of a name that
    /// `--env` keeps.
    pub fn spec(&self, context: &Context) -> Result<Spec> {
        let session = SessionId::from_name(&self.name)?;
        let configured = specify::from_config(context, &session, self.cwd.as_deref(), None)?;
        env::check_working_directory(&configured.cwd)?;
        let mut env = configured.env.clone();
        // Later variables override earlier ones.
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
            agent: self.agent.clone().or_else(|| configured.agent.clone()),
            env,
            ready: self.ready.clone().or_else(|| configured.ready.clone()),
            not_ready: self.not_ready.clone().or_else(|| configured.not_ready.clone()),
            asking: self.asking.clone().or_else(|| configured.asking.clone()),
            working: self.working.clone().or_else(|| configured.working.clone()),
            ready_timeout_s: self.ready_timeout.unwrap_or(configured.ready_timeout_s),
            limits: limits.or(&configured.limits),
            ports: if self.port.is_empty() { configured.ports.clone() } else { self.port.clone() },
            ..configured.clone()
        };
        let as_configured = configured.as_configured && as_asked == configured && self.cwd.is_none();
        let spec = specify::with_agent(&context.config.agents, Spec { as_configured, ..as_asked })?;
        spec.prompts().check()?;
        Ok(spec)
    }
}

/// A parser for an option whose value is a screen pattern.
fn pattern(key: PatternKey) -> impl Fn(&str) -> Result<ScreenPattern> + Clone + Send + Sync + 'static {
    move |text| ScreenPattern::parse(key, text)
}

/// A time span in seconds; a fraction of a second counts as a second.
fn whole_seconds(text: &str) -> Result<u64> {
    let span = time::span(text)?;
    Ok(span.as_secs() + u64::from(span.subsec_nanos() > 0))
}

/// Resource limits of a session or a guarded command.
#[derive(Debug, clap::Args)]
pub struct WantedLimits {
    /// Maximum memory (512M, 4G); above it the kernel kills processes
    #[arg(long, value_name = "SIZE", help_heading = LIMITS)]
    memory_max: Option<Size>,
    /// Memory above which the kernel slows the processes down (512M, 4G)
    #[arg(long, value_name = "SIZE", help_heading = LIMITS)]
    memory_high: Option<Size>,
    /// CPU weight, 1 to 10000; systemd's default is 100
    #[arg(long, value_name = "N", help_heading = LIMITS)]
    cpu_weight: Option<u64>,
    /// Maximum CPU time, in percent of one CPU (50%, 200%)
    #[arg(long, value_name = "PERCENT", help_heading = LIMITS)]
    cpu_quota: Option<Percent>,
    /// Disk I/O weight, 1 to 10000; it has an effect if the io controller is delegated
    #[arg(long, value_name = "N", help_heading = LIMITS)]
    io_weight: Option<u64>,
    /// Maximum number of processes and threads
    #[arg(long, value_name = "N", help_heading = LIMITS)]
    tasks_max: Option<u64>,
}

impl WantedLimits {
    /// # Errors
    /// `Kind::Usage` when a limit is out of its range.
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

/// The sessions that a command applies to.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// Names or patterns ('bridge-*')
    #[arg(value_name = "PATTERN", required_unless_present = "all")]
    pub patterns: Vec<String>,
    /// Apply to all sessions
    #[arg(long, conflicts_with = "patterns")]
    pub all: bool,
}

impl Which {
    /// # Errors
    /// `Kind::Usage` when a pattern is not valid.
    pub fn patterns(&self) -> Result<Vec<Pattern>> {
        if self.all {
            Ok(vec![Pattern::all()])
        } else {
            self.patterns.iter().map(|text| Pattern::parse(text)).collect()
        }
    }
}

/// The session of this name.
///
/// # Errors
/// `Kind::Usage` when the text is a pattern, or is not a valid name.
pub fn session(name: &str) -> Result<SessionId> {
    if name.contains(['*', '?', '[']) {
        return Err(Error::usage(format!("'{name}' is a pattern, but this command takes one session")));
    }
    SessionId::from_name(name)
}

/// A line for the user when the session got another name than requested.
pub fn renamed(name: &str, id: &SessionId) -> Option<String> {
    (name != id.as_str()).then(|| format!("the name '{}' became {id}", name.escape_debug()))
}
