//! The configuration: files, merged, checked.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Table;

use crate::model::error::{Error, Kind, Result, Trying};
use crate::model::guard::unit_state::{Guarded, ManagerKind};
use crate::model::screen::prompts::{self, Prompts, ScreenPattern};
use crate::model::screen::typing;
use crate::model::session::command::Argv;
use crate::model::session::environment;
use crate::model::session::limits::{Limits, Percent};
use crate::model::session::name::SessionId;
use crate::model::session::resume::{self, IdSource};
use crate::model::supervision::{OUTPUT_STEP, Restart, Rules, Sign};
use crate::model::time::{self, span_text};

/// The whole configuration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How sockets are swept.
    pub sweep: Sweep,
    /// Defaults of every session.
    pub limits: Limits,
    /// Sessions by name.
    pub sessions: BTreeMap<SessionId, SessionConfig>,
    /// How sessions are started again after a boot.
    pub restore: Restore,
    /// Who is told of a boot and of failures.
    pub notify: Notify,
    /// The units that nothing may disturb.
    pub guard: Guard,
}

/// `[guard]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Guard {
    /// Units of the user's manager.
    pub units: Vec<String>,
    /// Units of PID 1.
    pub system_units: Vec<String>,
    /// From what pressure on the units the watch freezes the sessions that yield, in percent.
    pub freeze_on_pressure: Option<Percent>,
}

impl Guard {
    /// All of them.
    ///
    /// # Errors
    /// When one cannot be a unit.
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
    /// How many sessions are started at a time.
    pub concurrency: usize,
}

/// A machine that has just booted has other work too.
impl Default for Restore {
    fn default() -> Self {
        Self { concurrency: 4 }
    }
}

/// `[notify]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Notify {
    /// A command that gets the notice as JSON on its standard input.
    pub command: Option<Argv>,
    /// A Telegram chat.
    pub telegram: Option<Telegram>,
    /// An address that the notice is posted to as JSON.
    pub webhook: Option<Webhook>,
}

impl Notify {
    /// Whether anybody is configured to be told.
    pub fn is_configured(&self) -> bool {
        self.command.is_some() || self.telegram.is_some() || self.webhook.is_some()
    }
}

/// `[notify.telegram]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telegram {
    /// The file with the bot's token; without it, the systemd credential `telegram-token`.
    pub token_file: Option<PathBuf>,
    /// The chat: its number, or `@name` of a channel.
    pub chat_id: Option<ChatId>,
    /// Where the Bot API is.
    #[serde(default = "telegram_api")]
    pub base_url: String,
}

fn telegram_api() -> String {
    "https://api.telegram.org".to_owned()
}

/// A chat of Telegram: a number, or the name of a channel.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum ChatId {
    /// A number.
    Number(i64),
    /// A name.
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
    /// The address.
    pub url: Option<String>,
    /// A file with the address, where that is a secret.
    pub url_file: Option<PathBuf>,
}

/// `[sweep]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sweep {
    /// Socket directories to sweep beside the user's own.
    pub dirs: Vec<PathBuf>,
    /// Names of sockets that nobody may touch; `*` and `?` as in a shell.
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
    /// Where it starts; `~/` is the home directory.
    pub cwd: Option<PathBuf>,
    /// Its environment, beside the caller's.
    pub env: BTreeMap<String, String>,
    /// What shows that it is up.
    #[serde(deserialize_with = "prompts::ready")]
    pub ready: Option<ScreenPattern>,
    /// What shows that it is not up yet, although `ready` matches.
    #[serde(deserialize_with = "prompts::not_ready")]
    pub not_ready: Option<ScreenPattern>,
    /// What shows that it asks its user something.
    #[serde(deserialize_with = "prompts::asking")]
    pub asking: Option<ScreenPattern>,
    /// How long the prompt may take to appear.
    #[serde(deserialize_with = "time::seconds")]
    pub ready_timeout: Option<Duration>,
    /// What it may use.
    pub limits: Limits,
    /// The command that takes up the program's conversation again; `{resume_id}` in it is the id.
    pub resume: Option<Argv>,
    /// Where the id comes from.
    pub resume_id: Option<IdSource>,
    /// The TCP ports that it listens on.
    pub ports: Vec<u16>,
    /// Whether it is started at every boot.
    pub boot: bool,
    /// When its supervisor starts it again.
    pub restart: Restart,
    /// Report the session as stuck after this long without a sign of life; `None`: never.
    #[serde(deserialize_with = "time::seconds")]
    pub stuck_after: Option<Duration>,
    /// What counts as a sign of life.
    pub stuck_by: Option<Vec<Sign>>,
    /// What is typed into it when it is stuck.
    pub nudge_text: Option<String>,
    /// Restart the session after this long without a sign of life; `None`: never.
    #[serde(deserialize_with = "time::seconds")]
    pub stuck_restart_after: Option<Duration>,
    /// Whether it is frozen while the guarded units are under pressure.
    #[serde(rename = "yield")]
    pub yields: bool,
}

impl SessionConfig {
    /// Its patterns.
    pub fn prompts(&self) -> Prompts {
        Prompts { ready: self.ready.clone(), not_ready: self.not_ready.clone(), asking: self.asking.clone() }
    }

    /// How it is supervised.
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

/// Reads `FILE` alone where it is given, else `forge.toml` and then `forge.toml.d/*.toml` by
/// name; a later file overrides an earlier one key by key.
///
/// # Errors
/// When a file cannot be read or says something that forge does not know.
pub fn load(dir: &Path, given: Option<&Path>) -> Result<Config> {
    let mut merged = Table::new();
    for file in files(dir, given)? {
        let text = std::fs::read_to_string(&file)
            .map_err(|error| Error::new(Kind::Config, format!("cannot read {}: {error}", file.display())))?;
        parse(&text).map_err(|error| error.while_(file.display()))?;
        merge(&mut merged, toml::from_str(&text).trying(file.display())?);
    }
    // Each file was checked by itself; together they can only differ in values.
    let config: Config =
        merged.try_into().map_err(|error: toml::de::Error| Error::new(Kind::Config, error.message()))?;
    check_together(&config)?;
    Ok(config)
}

/// Checks what several keys say together, which may come from different files.
fn check_together(config: &Config) -> Result<()> {
    for (id, session) in &config.sessions {
        if session.resume.as_ref().is_some_and(resume::needs_id) && session.resume_id.is_none() {
            return Err(Error::new(
                Kind::Config,
                format!("[sessions.{id}]: resume has {}, and there is no resume_id", resume::PLACEHOLDER),
            )
            .hint("resume_id = \"claude\", a fixed text, or the list of a command that prints it"));
        }
        session
            .prompts()
            .check()
            .map_err(|error| Error { kind: Kind::Config, ..error.while_(format!("[sessions.{id}]")) })?;
        if let Some(why) = not_supervisable(session) {
            return Err(Error::new(Kind::Config, format!("[sessions.{id}]: {why}")));
        }
    }
    if let Some(webhook) = &config.notify.webhook
        && webhook.url.is_some() == webhook.url_file.is_some()
    {
        return Err(Error::new(Kind::Config, "[notify.webhook] needs either url or url_file"));
    }
    if config.notify.telegram.as_ref().is_some_and(|telegram| telegram.chat_id.is_none()) {
        return Err(Error::new(Kind::Config, "[notify.telegram] has no chat_id"));
    }
    Ok(())
}

/// What of a session's supervision contradicts itself.
fn not_supervisable(session: &SessionConfig) -> Option<String> {
    let SessionConfig { stuck_after, stuck_by, nudge_text, stuck_restart_after, .. } = session;
    if stuck_after.is_none() && (stuck_by.is_some() || nudge_text.is_some()) {
        return Some("stuck_by and nudge_text need stuck_after".to_owned());
    }
    let shortest = Duration::from_secs(1);
    for (key, value) in [("stuck_after", stuck_after), ("stuck_restart_after", stuck_restart_after)] {
        if value.is_some_and(|value| value < shortest) {
            return Some(format!("{key} must be at least 1 second"));
        }
    }
    if let (Some(after), Some(restart)) = (stuck_after, stuck_restart_after)
        && restart <= after
    {
        return Some(format!(
            "stuck_restart_after ({}) must be longer than stuck_after ({})",
            span_text(*restart),
            span_text(*after)
        ));
    }
    if stuck_by.as_ref().is_some_and(Vec::is_empty) {
        return Some("stuck_by names no sign of life: beat, output, cpu".to_owned());
    }
    let by_output = stuck_by.as_ref().is_some_and(|signs| signs.contains(&Sign::Output));
    (by_output && stuck_after.is_some_and(|after| after <= OUTPUT_STEP)).then(|| {
        format!(
            "stuck_after is too short for stuck_by = output: the kernel keeps that in steps of {} seconds",
            OUTPUT_STEP.as_secs()
        )
    })
}

/// The files that there are.
fn files(dir: &Path, given: Option<&Path>) -> Result<Vec<PathBuf>> {
    if let Some(file) = given {
        return Ok(vec![file.to_owned()]);
    }
    // One of which the kernel does not tell whether it is there is not absent: to read it says why.
    let is_there = |file: &PathBuf| file.try_exists().unwrap_or(true);
    let mut files: Vec<PathBuf> = Some(dir.join("forge.toml")).filter(is_there).into_iter().collect();
    let fragments = dir.join("forge.toml.d");
    let doing = format!("cannot read {}", fragments.display());
    let entries = match std::fs::read_dir(&fragments) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(files);
        }
        Err(error) => return Err(error).trying(doing),
    };
    let mut found = Vec::new();
    for entry in entries {
        found.push(entry.trying(&doing)?.path());
    }
    found.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    found.sort();
    files.extend(found);
    Ok(files)
}

/// Puts the later table over the earlier one.
fn merge(earlier: &mut Table, later: Table) {
    for (key, value) in later {
        match (earlier.get_mut(&key), value) {
            (Some(toml::Value::Table(earlier)), toml::Value::Table(later)) => merge(earlier, later),
            (_, value) => {
                earlier.insert(key, value);
            }
        }
    }
}

/// Reads one file's text.
fn parse(text: &str) -> Result<Config> {
    let config: Config = toml::from_str(text).map_err(|error| explain(text, &error))?;
    config.limits.check().map_err(|error| Error { kind: Kind::Config, ..error.while_("[limits]") })?;
    for (id, session) in &config.sessions {
        let checked = session
            .limits
            .check()
            .and_then(|()| session.env.keys().try_for_each(|name| environment::check_name(name)))
            .and_then(|()| session.nudge_text.as_deref().map_or(Ok(()), check_nudge))
            .and_then(|()| session.ports.iter().try_for_each(|port| check_port(*port)));
        checked.map_err(|error| Error { kind: Kind::Config, ..error.while_(format!("[sessions.{id}]")) })?;
    }
    let guarded =
        config.guard.all_units().and_then(|_| config.guard.freeze_on_pressure.map_or(Ok(()), check_pressure));
    guarded.map_err(|error| Error { kind: Kind::Config, ..error.while_("[guard]") })?;
    if !(1..=100).contains(&config.restore.concurrency) {
        let error = format!("[restore] concurrency is {}: it goes from 1 to 100", config.restore.concurrency);
        return Err(Error::new(Kind::Config, error));
    }
    for name in &config.sweep.protect {
        glob::Pattern::new(name).map_err(|error| {
            Error::new(Kind::Config, format!("[sweep] protect: '{name}' is no pattern: {}", error.msg))
        })?;
    }
    Ok(config)
}

/// Checks from what pressure on something is to be frozen.
///
/// # Errors
/// When there is no such share of the time.
pub fn check_pressure(percent: Percent) -> Result<()> {
    if (1..=100).contains(&percent.0) {
        return Ok(());
    }
    Err(Error::usage(format!("freeze-on-pressure is {}: it goes from 1 to 100 percent", percent.0))
        .hint("for example 40%: of the time, something guarded waits"))
}

/// Checks that a nudge is a text that can be typed at all.
fn check_nudge(text: &str) -> Result<()> {
    typing::text(text).map(drop).map_err(|error| error.while_("nudge_text"))
}

fn check_port(port: u16) -> Result<()> {
    if port == 0 { Err(Error::usage("0 is no port that can be waited for")) } else { Ok(()) }
}

/// Says where the mistake is, and what was probably meant.
fn explain(text: &str, error: &toml::de::Error) -> Error {
    let line = error
        .span()
        .map_or(1, |span| text.get(..span.start).map_or(1, |before| before.matches('\n').count() + 1));
    let message = error.message();
    let explained =
        Error::new(Kind::Config, format!("line {line}: {}", message.lines().next().unwrap_or(message)));
    match unknown_key(message) {
        Some((key, known)) => {
            let unknown = Error::new(Kind::Config, format!("line {line}: unknown key '{key}'"));
            match nearest(key, &known) {
                Some(near) => unknown.hint(format!("did you mean '{near}'?")),
                None => unknown.hint(format!("known keys: {}", known.join(", "))),
            }
        }
        None => explained,
    }
}

/// Reads serde's "unknown field `x`, expected one of `a`, `b`". The key may have any character in it.
fn unknown_key(message: &str) -> Option<(&str, Vec<&str>)> {
    let (key, known) = message.strip_prefix("unknown field `")?.rsplit_once("`, expected ")?;
    Some((key, known.split('`').skip(1).step_by(2).collect()))
}

/// The known key that is most like it, if one is.
fn nearest<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|known| (strsim::jaro_winkler(key, known), *known))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

/// What a sweep may go by when the configuration cannot be used: `[sweep]` alone, where at
/// least that can be read.
pub fn salvage_sweep(dir: &Path, given: Option<&Path>) -> Option<Sweep> {
    let mut merged = Table::new();
    for file in files(dir, given).ok()? {
        merge(&mut merged, toml::from_str(&std::fs::read_to_string(file).ok()?).ok()?);
    }
    match merged.remove("sweep") {
        None => Some(Sweep::default()),
        Some(value) => value.try_into().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_configuration_is_read() {
        let config = parse(
            r#"
            [sweep]
            protect = ["homebase", "prod-*"]
            [limits]
            memory_max = "2G"
            [sessions.claude-1]
            command = "claude --continue"
            cwd = "~/src"
            ready = "❯"
            ready_timeout = 60
            env = { LANG = "C.UTF-8" }
            limits = { tasks_max = 200, cpu_quota = "150%" }
            resume = "claude --resume {resume_id}"
            resume_id = "claude"
            boot = true
            [restore]
            concurrency = 2
            [notify]
            command = ["mail", "-s", "forge"]
            [notify.telegram]
            token_file = "~/.secrets/telegram"
            chat_id = -100123
            [notify.webhook]
            url = "https://example.org/hook"
            [guard]
            units = ["web", "db.socket"]
            system_units = ["nginx"]
            freeze_on_pressure = "40%"
            "#,
        )
        .unwrap();
        assert_eq!(config.sweep.timeout, SWEEP_TIMEOUT);
        let session = &config.sessions[&SessionId::from_name("claude-1").unwrap()];
        assert_eq!(session.command.as_ref().unwrap().as_slice(), ["claude", "--continue"]);
        assert_eq!(session.limits.tasks_max, Some(200));
        let guarded: Vec<String> =
            config.guard.all_units().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(guarded, ["web.service", "db.socket", "nginx.service (system)"]);
    }

    #[test]
    fn a_time_span_is_a_number_or_text() {
        let config = parse(
            "[sweep]\ntimeout_ms = '1s'\n[sessions.a]\nready_timeout = 60\nstuck_after = '10min'\n\
             stuck_restart_after = '1h 30min'\n",
        )
        .unwrap();
        let session = &config.sessions[&SessionId::from_name("a").unwrap()];
        assert_eq!(config.sweep.timeout, Duration::from_secs(1));
        assert_eq!(session.ready_timeout, Some(Duration::from_secs(60)));
        assert_eq!(session.stuck_after, Some(Duration::from_secs(600)));
        assert_eq!(session.stuck_restart_after, Some(Duration::from_secs(5400)));
    }

    /// The keys of a table, as an unknown one is answered.
    fn keys(table: &str) -> Vec<String> {
        let text = format!("{table}\nno-such-key = 1\n");
        let error = toml::from_str::<Config>(&text).unwrap_err();
        let known = unknown_key(error.message()).unwrap().1;
        known.into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn the_manual_has_every_key_and_no_other() {
        let manual = include_str!("../../packaging/man/forge.toml.5");
        let sections = ["sweep", "limits", "sessions.NAME", "restore", "guard", "notify"];
        for table in sections.into_iter().chain(["notify.telegram", "notify.webhook"]) {
            let section = manual.split(&format!(".SH \"[{table}]\"\n")).nth(1).expect(table);
            let section = section.split("\n.SH ").next().unwrap();
            let told: Vec<&str> =
                section.split(".TP\n.B ").skip(1).map(|key| key.lines().next().unwrap()).collect();
            assert_eq!(told, keys(&format!("[{}]", table.replace("NAME", "a"))), "[{table}]");
        }
    }

    #[test]
    fn the_sample_is_good_and_stands_in_the_readme() {
        let sample = include_str!("../../packaging/forge.toml");
        parse(sample).and_then(|config| check_together(&config)).unwrap();
        assert!(include_str!("../../README.md").contains(&format!("```toml\n{sample}```\n")));
    }

    #[test]
    fn an_unknown_key_names_the_nearest_known_one() {
        let error = parse("[sessions.a]\n\ncomand = 'x'\n").unwrap_err();
        assert_eq!(error.message, "line 3: unknown key 'comand'");
        assert_eq!(error.hint.as_deref(), Some("did you mean 'command'?"));
        let error = parse("[zzz]\n").unwrap_err();
        assert_eq!(
            error.hint.as_deref(),
            Some("known keys: sweep, limits, sessions, restore, notify, guard")
        );
        let error = parse("[restore]\n'a`b' = 1\n").unwrap_err();
        assert_eq!(error.message, "line 2: unknown key 'a`b'");
        assert_eq!(error.hint.as_deref(), Some("known keys: concurrency"));
    }

    #[test]
    fn mistakes_name_their_place() {
        for (text, part) in [
            ("[limits]\ncpu_weight = 0", "[limits]: cpu-weight is 0"),
            ("[limits]\nmemory_max = 'x'", "line 2: 'x' is not a valid size"),
            ("[sessions.a]\nready = '['", "line 2: the ready pattern '['"),
            ("[sessions.a]\nready = 'x'\nnot_ready = '['", "line 3: the not_ready pattern '['"),
            ("[sessions.a]\nasking = ''", "line 2: the asking pattern ''"),
            ("[sessions.a]\nnot_ready = 'x'", "[sessions.a]: not_ready needs ready"),
            ("[sessions.a.env]\n'1' = 'x'", "[sessions.a]: '1' is no name"),
            ("[sessions.'a b']\n", "'a b' is no session id"),
            ("[sweep]\nprotect = ['[a']", "'[a' is no pattern"),
            ("[sessions.a]\nresume = 'x {resume_id}'", "there is no resume_id"),
            ("[restore]\nconcurrency = 0", "from 1 to 100"),
            ("[sessions.a]\nports = [70000]", "line 2"),
            ("[sessions.a]\nports = [0]", "0 is no port"),
            ("[sessions.a]\nrestart = 'sometimes'", "unknown variant `sometimes`, expected one of `never`"),
            ("[sessions.a]\nnudge_text = 'x'", "need stuck_after"),
            (
                "[sessions.a]\nnudge_text = \"a\\u001b\"",
                "nudge_text: byte 2 of the text is the control character",
            ),
            (
                "[sessions.a]\nstuck_after = 60\nstuck_restart_after = 60",
                "must be longer than stuck_after (1min)",
            ),
            ("[sessions.a]\nstuck_after = 0", "stuck_after must be at least 1 second"),
            (
                "[sessions.a]\nstuck_after = 'soon'",
                "line 2: 'soon' is not a valid time span: use seconds (90) or",
            ),
            ("[sessions.a]\nstuck_after = -1", "expected seconds (90) or a span such as 90s"),
            ("[sweep]\ntimeout_ms = true", "expected milliseconds (500) or a span"),
            ("[sessions.a]\nstuck_after = 60\nstuck_by = []", "no sign of life"),
            ("[sessions.a]\nstuck_after = 5\nstuck_by = ['output']", "too short"),
            ("[notify.webhook]\n", "either url or url_file"),
            ("[notify.telegram]\n", "has no chat_id"),
            ("[guard]\nunits = ['a b']", "[guard]: 'a b' is no name of a unit"),
            ("[guard]\nfreeze_on_pressure = 0", "[guard]: freeze-on-pressure is 0"),
            ("x", "line 1"),
        ] {
            let error = parse(text).and_then(|config| check_together(&config)).unwrap_err();
            assert!(error.message.contains(part), "{text}: {error}");
            assert_eq!(error.kind, Kind::Config);
        }
    }

    #[test]
    fn a_fragment_overrides_key_by_key() {
        let root = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| crate::sys::files::write_text_for_tests(&root.path().join(name), text);
        write("forge.toml", "[sessions.a]\ncommand = 'x'\nready = 'y'\n");
        write("forge.toml.d/10.toml", "[sessions.a]\ncommand = 'z'\n");
        write("forge.toml.d/notes.txt", "not toml");
        let config = load(root.path(), None).unwrap();
        let session = &config.sessions[&SessionId::from_name("a").unwrap()];
        assert_eq!(session.command.as_ref().unwrap().program(), "z");
        assert_eq!(session.ready.as_ref().unwrap().as_str(), "y");
        assert!(
            load(root.path(), Some(&root.path().join("none.toml")))
                .unwrap_err()
                .message
                .contains("none.toml")
        );
    }

    #[test]
    fn a_file_that_cannot_be_looked_at_is_not_absent() {
        let root = tempfile::tempdir().unwrap();
        assert!(load(root.path(), None).is_ok());
        std::os::unix::fs::symlink("forge.toml", root.path().join("forge.toml")).unwrap();
        assert!(load(root.path(), None).unwrap_err().message.contains("forge.toml"));
        assert!(salvage_sweep(root.path(), None).is_none());
    }

    #[test]
    fn a_sweep_goes_by_its_own_part_of_a_broken_file() {
        let root = tempfile::tempdir().unwrap();
        let write =
            |text: &str| crate::sys::files::write_text_for_tests(&root.path().join("forge.toml"), text);
        write("[sweep]\nprotect = ['homebase']\n[nonsense]\n");
        assert!(load(root.path(), None).is_err());
        assert_eq!(salvage_sweep(root.path(), None).unwrap().protect, ["homebase"]);
        write("[sweep\n");
        assert!(salvage_sweep(root.path(), None).is_none());
    }
}
