//! The knowledge of coding agents: one file for each, which is a table of data. A session uses a profile that the
//! user names (`agent`, `--agent`), or the one whose program its command plainly starts.

mod aider;
mod arguments;
mod built_in;
mod claude;
mod codex;
pub mod conversations;
mod copilot;
mod gemini;
mod opencode;
mod qwen;

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::model::error::{Error, Kind, Result};
use crate::model::screen::prompts::{self, PatternKey, Prompts, ScreenPattern};
use crate::model::session::command::Argv;
use crate::model::session::resume::IdSource;
use crate::model::similar::nearest;
use arguments::Arguments;
use built_in::{BuiltIn, Syntax};

/// The profile that knows nothing: with it forge treats an agent as any other program.
pub const GENERIC: &str = "generic";

/// forge's own profiles, in the order in which `forge agents list` prints them.
const KNOWN: [&BuiltIn; 7] = [
    &claude::KNOWN,
    &codex::KNOWN,
    &gemini::KNOWN,
    &opencode::KNOWN,
    &copilot::KNOWN,
    &qwen::KNOWN,
    &aider::KNOWN,
];

/// `[agents.NAME]`: a profile of the user, or changes to one of forge's own.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgentConfig {
    /// The profile that supplies the other values.
    pub based_on: Option<String>,
    /// The names of its program, without a directory.
    pub programs: Option<Vec<String>>,
    /// Arguments that forge adds after the program.
    pub arguments: Option<Vec<String>>,
    #[serde(deserialize_with = "prompts::ready")]
    pub ready: Option<ScreenPattern>,
    #[serde(deserialize_with = "prompts::not_ready")]
    pub not_ready: Option<ScreenPattern>,
    #[serde(deserialize_with = "prompts::asking")]
    pub asking: Option<ScreenPattern>,
    #[serde(deserialize_with = "prompts::working")]
    pub working: Option<ScreenPattern>,
    /// The arguments, after the program, that resume a conversation; empty: forge resumes none.
    pub resume: Option<Vec<String>>,
    pub resume_id: Option<IdSource>,
}

/// The profiles of the configuration, by name.
pub type AgentConfigs = BTreeMap<String, AgentConfig>;

/// The knowledge of one agent, with the user's changes.
pub struct Profile {
    pub name: String,
    pub title: &'static str,
    /// The version with which forge's own values were measured; empty for [`GENERIC`].
    pub measured: &'static str,
    pub programs: Vec<String>,
    pub arguments: Vec<String>,
    /// Why forge adds the arguments; empty if they are the user's.
    pub why: &'static str,
    pub prompts: Prompts,
    pub begin: Vec<String>,
    pub resume: Vec<String>,
    pub resume_id: Option<IdSource>,
    /// Whether the user has changed values.
    pub is_changed: bool,
    syntax: &'static Syntax,
}

static NO_SYNTAX: Syntax = Syntax { flags: &[], lists: &[], conversation: &[], other_uses: &[] };

/// All profiles: forge's own, then those of the user.
///
/// # Errors
/// [`Kind::Config`] if a profile of the user is based on an unknown one.
pub fn all(configs: &AgentConfigs) -> Result<Vec<Profile>> {
    let own = KNOWN.iter().map(|known| known.name);
    let users = configs.keys().map(String::as_str).filter(|name| known(name).is_none());
    own.chain(users).chain([GENERIC]).map(|name| named(configs, name)).collect()
}

/// The profile of this name.
///
/// # Errors
/// [`Kind::Usage`] if there is none; [`Kind::Config`] if it is based on an unknown one.
pub fn named(configs: &AgentConfigs, name: &str) -> Result<Profile> {
    let Some(config) = configs.get(name) else { return base(configs, name) };
    let profile = match &config.based_on {
        Some(other) => base(configs, other).map_err(|error| Error {
            kind: Kind::Config,
            ..error.while_(format!("[agents.{name}] based_on"))
        })?,
        None => base(configs, name).unwrap_or_else(|_| Profile { title: "", ..Profile::generic() }),
    };
    Ok(profile.changed(name, config))
}

/// A profile of forge's own.
fn base(configs: &AgentConfigs, name: &str) -> Result<Profile> {
    if name == GENERIC {
        return Ok(Profile::generic());
    }
    known(name).map_or_else(|| Err(unknown(configs, name)), Profile::known)
}

/// The profile whose program the command starts as an interactive agent. The program's name decides, and the
/// configuration's profiles come first.
///
/// # Errors
/// [`Kind::Config`] as for [`all`].
pub fn recognised(configs: &AgentConfigs, command: &Argv) -> Result<Option<Profile>> {
    // Most commands start no agent: look at the names before a profile is made, whose patterns cost time.
    let own = KNOWN.iter().map(|known| known.name).filter(|name| !configs.contains_key(*name));
    for name in configs.keys().map(String::as_str).chain(own) {
        if is_program_of(configs, name, command.name()) {
            let profile = named(configs, name)?;
            if !Arguments::parse(command, profile.syntax).is_other_use() {
                return Ok(Some(profile));
            }
        }
    }
    Ok(None)
}

/// Whether the program is the agent's.
fn is_program_of(configs: &AgentConfigs, agent: &str, program: &str) -> bool {
    match configs.get(agent).and_then(|config| config.programs.as_ref()) {
        Some(programs) => programs.iter().any(|name| name == program),
        None => known(agent).is_some_and(|known| known.programs.contains(&program)),
    }
}

fn known(name: &str) -> Option<&'static BuiltIn> {
    KNOWN.into_iter().find(|known| known.name == name)
}

/// The error for an unknown name, with the nearest known one.
fn unknown(configs: &AgentConfigs, name: &str) -> Error {
    let own = KNOWN.iter().map(|known| known.name);
    let names = own.chain(configs.keys().map(String::as_str)).chain([GENERIC]).filter(|known| *known != name);
    let error = Error::usage(format!("forge knows no agent '{name}'"));
    match nearest(name, names) {
        Some(near) => error.hint(format!("did you mean '{near}'?")),
        None => error.hint("'forge agents list' shows them"),
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

/// The command with more arguments right after the program.
fn with(command: &Argv, more: &[String]) -> Result<Argv> {
    let (program, rest) = command.as_slice().split_at(1);
    Argv::new([program, more, rest].concat())
}

impl Profile {
    fn known(known: &'static BuiltIn) -> Result<Self> {
        let pattern =
            |key, text: &str| (!text.is_empty()).then(|| ScreenPattern::parse(key, text)).transpose();
        Ok(Self {
            name: known.name.to_owned(),
            title: known.title,
            measured: known.measured,
            programs: owned(known.programs),
            arguments: owned(known.added),
            why: known.why,
            prompts: Prompts {
                ready: pattern(PatternKey::Ready, known.ready)?,
                not_ready: pattern(PatternKey::NotReady, known.not_ready)?,
                asking: pattern(PatternKey::Asking, known.asking)?,
                working: pattern(PatternKey::Working, known.working)?,
            },
            begin: owned(known.begin),
            resume: owned(known.resume),
            resume_id: known.resume_id.clone(),
            is_changed: false,
            syntax: &known.syntax,
        })
    }

    fn generic() -> Self {
        Self {
            name: GENERIC.to_owned(),
            title: "any other program",
            measured: "",
            programs: Vec::new(),
            arguments: Vec::new(),
            why: "",
            prompts: Prompts::default(),
            begin: Vec::new(),
            resume: Vec::new(),
            resume_id: None,
            is_changed: false,
            syntax: &NO_SYNTAX,
        }
    }

    /// This profile with the values of `[agents.NAME]`.
    fn changed(self, name: &str, config: &AgentConfig) -> Self {
        let config = config.clone();
        // A copy under another name is not started by the same program: both would match.
        let programs = if name == self.name { self.programs } else { Vec::new() };
        Self {
            name: name.to_owned(),
            programs: config.programs.unwrap_or(programs),
            why: if config.arguments.is_some() { "" } else { self.why },
            arguments: config.arguments.unwrap_or(self.arguments),
            prompts: Prompts {
                ready: config.ready.or(self.prompts.ready),
                not_ready: config.not_ready.or(self.prompts.not_ready),
                asking: config.asking.or(self.prompts.asking),
                working: config.working.or(self.prompts.working),
            },
            // An agent that the user has resumed in another way may not accept these arguments.
            begin: if config.resume.is_some() { Vec::new() } else { self.begin },
            resume: config.resume.unwrap_or(self.resume),
            resume_id: config.resume_id.or(self.resume_id),
            is_changed: true,
            ..self
        }
    }

    /// The command with the arguments that forge adds. An argument that the command has already is not added again.
    ///
    /// # Errors
    /// As for [`Argv::new`].
    pub fn command(&self, command: &Argv) -> Result<Argv> {
        let words = command.as_slice();
        let added: Vec<String> =
            self.arguments.iter().filter(|argument| !words.contains(argument)).cloned().collect();
        with(command, &added)
    }

    /// The command that resumes a conversation: without the options that choose another conversation, and without a
    /// first task, which the agent has already. `None` if forge does not know how the agent resumes.
    ///
    /// # Errors
    /// As for [`Argv::new`].
    pub fn resume_command(&self, command: &Argv) -> Result<Option<Argv>> {
        if self.resume.is_empty() {
            return Ok(None);
        }
        let options = Arguments::parse(command, self.syntax).lasting();
        let lasting = Argv::new([vec![command.program().to_owned()], options].concat())?;
        with(&self.command(&lasting)?, &self.resume).map(Some)
    }

    /// The command that begins a conversation with an id that forge chooses. `None` if the agent takes no id, or if
    /// the command chooses a conversation itself.
    ///
    /// # Errors
    /// As for [`Argv::new`].
    pub fn begin_command(&self, command: &Argv) -> Result<Option<Argv>> {
        if self.begin.is_empty() || Arguments::parse(command, self.syntax).has_conversation() {
            return Ok(None);
        }
        self.command(&with(command, &self.begin)?).map(Some)
    }
}

/// forge's own profiles as a table in Markdown, for the documentation.
#[cfg(test)]
fn table() -> String {
    let head = "| agent | program | measured with | its prompt | its first questions | its questions | its work | its conversations | forge adds |\n\
                | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";
    let known = |is_known: bool| if is_known { "known" } else { "–" };
    KNOWN.iter().fold(head.to_owned(), |table, agent| {
        let conversations = match (agent.resume.is_empty(), agent.begin.is_empty()) {
            (true, _) => "–",
            (false, true) => "resumed",
            (false, false) => "resumed; forge chooses the id",
        };
        let added: Vec<String> = agent.added.iter().map(|argument| format!("`{argument}`")).collect();
        format!(
            "{table}| {} | `{}` | {} | {} | {} | {} | {} | {conversations} | {} |\n",
            agent.title,
            agent.programs.join("`, `"),
            agent.measured,
            known(!agent.ready.is_empty()),
            known(!agent.not_ready.is_empty()),
            known(!agent.asking.is_empty()),
            known(!agent.working.is_empty()),
            if added.is_empty() { "–".to_owned() } else { added.join(" ") }
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(line: &str) -> Argv {
        Argv::new(shlex::split(line).unwrap()).unwrap()
    }

    fn line(argv: &Argv) -> String {
        argv.as_slice().join(" ")
    }

    fn configs(text: &str) -> AgentConfigs {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn an_agent_is_recognised_by_its_program() {
        let configs = configs("[mine]\nbased_on = 'codex'\nprograms = ['my-codex']\n[claude]\nready = 'x'\n");
        let name = |line: &str| recognised(&configs, &argv(line)).unwrap().map(|profile| profile.name);
        for (line, agent) in [
            ("claude", Some("claude")),
            ("/opt/bin/codex -a never 'fix it'", Some("codex")),
            ("codex resume --last", Some("codex")),
            ("my-codex", Some("mine")),
            ("claude -p 'one answer'", None),
            ("codex exec 'one answer'", None),
            ("bash -c claude", None),
            ("claude-wrapper", None),
        ] {
            assert_eq!(name(line).as_deref(), agent, "{line}");
        }
    }

    #[test]
    fn a_command_gets_what_its_agent_needs_once() {
        let codex = named(&AgentConfigs::new(), "codex").unwrap();
        assert_eq!(line(&codex.command(&argv("codex -m big")).unwrap()), "codex --no-daemon -m big");
        assert_eq!(line(&codex.command(&argv("codex --no-daemon")).unwrap()), "codex --no-daemon");
        let resume = codex.resume_command(&argv("codex -m big 'fix it'")).unwrap().unwrap();
        assert_eq!(line(&resume), "codex resume {resume_id} --no-daemon -m big");
        let claude = named(&AgentConfigs::new(), "claude").unwrap();
        let begin = |line: &str| claude.begin_command(&argv(line)).unwrap();
        assert_eq!(line(&begin("claude 'fix it'").unwrap()), "claude --session-id {resume_id} fix it");
        assert!(begin("claude --continue").is_none(), "it chooses its conversation itself");
    }

    #[test]
    fn the_configuration_changes_a_profile() {
        let configs = configs(
            "[codex]\narguments = []\n[mine]\nbased_on = 'claude'\nresume = []\n[bad]\nbased_on = 'clade'\n",
        );
        let codex = named(&configs, "codex").unwrap();
        assert!(codex.arguments.is_empty() && codex.prompts.ready.is_some() && codex.programs == ["codex"]);
        let mine = named(&configs, "mine").unwrap();
        assert!(mine.resume.is_empty() && mine.begin.is_empty() && mine.programs.is_empty());
        let hint = |name: &str| named(&configs, name).err().unwrap().hint;
        assert_eq!(hint("bad").as_deref(), Some("did you mean 'claude'?"));
        assert_eq!(named(&configs, "bad").err().unwrap().kind, Kind::Config);
        assert_eq!(hint("cluade").as_deref(), Some("did you mean 'claude'?"));
    }

    #[test]
    fn each_profile_is_valid() {
        for profile in all(&AgentConfigs::new()).unwrap() {
            profile.prompts.check().unwrap();
            assert_eq!(profile.resume.is_empty(), profile.resume_id.is_none(), "{}", profile.name);
        }
    }

    #[test]
    fn the_documentation_has_this_table() {
        assert!(
            include_str!("../../docs/agents.md").contains(&table()),
            "docs/agents.md lacks:\n{}",
            table()
        );
    }
}
