//! `forge agents`

use serde_json::{Value, json};

use super::{Command, CommandContext, ConfigPolicy};
use crate::agents::{self, Profile};
use crate::model::error::Result;
use crate::model::output::Output;
use crate::model::screen::prompts::ScreenPattern;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge agents list
  forge agents show codex
  forge spawn helper --agent claude -- my-wrapper-of-claude")]
pub struct Args {
    #[command(subcommand)]
    what: AgentsCommand,
}

#[derive(Debug, clap::Subcommand)]
enum AgentsCommand {
    /// List the agents that forge knows
    #[command(after_help = "\
Examples:
  forge agents list
  forge --json agents list | jq -r '.agents[].agent'")]
    List,
    /// Show what forge does with sessions of one agent
    #[command(after_help = "\
Examples:
  forge agents show codex")]
    Show {
        /// Name of the agent
        agent: String,
    },
}

impl Command for Args {
    fn config(&self) -> ConfigPolicy {
        ConfigPolicy::Needed
    }

    fn run(&self, call: &CommandContext<'_>) -> Result<Output> {
        let configs = &call.context()?.config.agents;
        match &self.what {
            AgentsCommand::List => Ok(list(&agents::all(configs)?)),
            AgentsCommand::Show { agent } => Ok(show(&agents::named(configs, agent)?)),
        }
    }
}

fn list(profiles: &[Profile]) -> Output {
    let all: Vec<Value> = profiles.iter().map(describe).collect();
    let rows = profiles.iter().map(|profile| {
        vec![
            profile.name.clone(),
            title(profile),
            or_dash(profile.programs.join(" ")),
            or_dash(profile.arguments.join(" ")),
            or_dash(knows(profile).join(", ")),
        ]
    });
    Output::new(&json!({ "agents": all }))
        .table(&["AGENT", "WHAT IT IS", "PROGRAM", "ADDED ARGUMENTS", "FORGE KNOWS ITS"], rows.collect())
}

fn show(profile: &Profile) -> Output {
    let pattern = |pattern: &Option<ScreenPattern>| {
        or_dash(pattern.as_ref().map(|pattern| pattern.as_str().to_owned()).unwrap_or_default())
    };
    let added = match profile.why {
        "" => profile.arguments.join(" "),
        why => format!("{}: {why}", profile.arguments.join(" ")),
    };
    let measured = match (profile.measured, profile.is_changed) {
        ("", _) => "you have configured it".to_owned(),
        (version, false) => format!("measured with version {version}; other versions may differ"),
        (version, true) => format!("measured with version {version}, and changed by your configuration"),
    };
    let rows = [
        ("is", title(profile)),
        ("known", if profile.name == agents::GENERIC { "nothing".to_owned() } else { measured }),
        ("program", or_dash(profile.programs.join(" "))),
        ("adds", or_dash(added)),
        ("ready", pattern(&profile.prompts.ready)),
        ("not ready", pattern(&profile.prompts.not_ready)),
        ("asking", pattern(&profile.prompts.asking)),
        ("working", pattern(&profile.prompts.working)),
        ("begins", or_dash(profile.begin.join(" "))),
        ("resumes", or_dash(profile.resume.join(" "))),
    ];
    let output = Output::new(&describe(profile)).line(&profile.name);
    let output =
        rows.into_iter().fold(output, |output, (key, value)| output.line(format!("  {key:<10} {value}")));
    output.line(match profile.programs.first() {
        Some(program) => format!(
            "forge uses this for sessions whose command starts '{program}', and with '--agent {0}' or agent = \"{0}\"",
            profile.name
        ),
        None => format!("forge uses this with '--agent {0}' or agent = \"{0}\"", profile.name),
    })
}

fn title(profile: &Profile) -> String {
    if profile.title.is_empty() { "configured by you".to_owned() } else { profile.title.to_owned() }
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

/// The parts of the profile that are known.
fn knows(profile: &Profile) -> Vec<&'static str> {
    let prompts = &profile.prompts;
    [
        (prompts.ready.is_some(), "prompt"),
        (prompts.not_ready.is_some(), "first questions"),
        (prompts.asking.is_some(), "questions"),
        (prompts.working.is_some(), "work"),
        (!profile.resume.is_empty(), "conversations"),
    ]
    .into_iter()
    .filter_map(|(is_known, word)| is_known.then_some(word))
    .collect()
}

fn describe(profile: &Profile) -> Value {
    let pattern =
        |pattern: &Option<ScreenPattern>| pattern.as_ref().map(|pattern| pattern.as_str().to_owned());
    json!({
        "agent": profile.name,
        "title": profile.title,
        "measured": (!profile.measured.is_empty()).then_some(profile.measured),
        "changed": profile.is_changed,
        "programs": profile.programs,
        "arguments": profile.arguments,
        "ready": pattern(&profile.prompts.ready),
        "not_ready": pattern(&profile.prompts.not_ready),
        "asking": pattern(&profile.prompts.asking),
        "working": pattern(&profile.prompts.working),
        "begin": profile.begin,
        "resume": profile.resume,
        "resume_id": profile.resume_id,
    })
}
