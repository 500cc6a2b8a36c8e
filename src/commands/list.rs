//! `forge list`

use serde_json::json;

use super::{Command, CommandContext, ConfigPolicy};
use crate::model::error::Result;
use crate::model::output::Output;
use crate::model::session::Session;
use crate::model::session::activity::Activity;
use crate::model::session::name::Pattern;
use crate::model::usage;
use crate::ops::session::observe;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge list
  forge list 'agent-*'
  forge --json list | jq '.sessions[] | select(.state != \"running\")'
  forge --json list | jq -r '.sessions[] | select(.activity == \"asking\").session'")]
pub struct Args {
    /// List only these sessions: a name or a pattern
    #[arg(value_name = "PATTERN")]
    pattern: Option<String>,
}

impl Command for Args {
    fn config(&self) -> ConfigPolicy {
        ConfigPolicy::Tolerated
    }

    fn run(&self, call: &CommandContext<'_>) -> Result<Output> {
        let context = call.context()?;
        let pattern = self.pattern.as_deref().map_or_else(|| Ok(Pattern::all()), Pattern::parse)?;
        let sessions = observe::describe_all(context, |id| pattern.matches(id))?;
        let output = Output::new(&json!({ "sessions": sessions }));
        if sessions.is_empty() {
            return Ok(output.line(
                "no sessions; 'forge spawn NAME -- COMMAND' starts one, 'forge probe' shows problems",
            ));
        }
        Ok(output.table(
            &["SESSION", "STATE", "PID", "TASKS", "CPU", "MEMORY", "IDLE", "COMMAND"],
            sessions.iter().map(row).collect(),
        ))
    }
}

fn row(session: &Session) -> Vec<String> {
    let unknown = || "-".to_owned();
    let activity = Some(session.activity.word()).filter(|_| session.activity != Activity::Unknown);
    let more: Vec<&str> = activity.into_iter().chain(session.attached.then_some("attached")).collect();
    let more = if more.is_empty() { String::new() } else { format!(" ({})", more.join(", ")) };
    vec![
        session.session.to_string(),
        format!("{}{more}", session.state.word()),
        session.pane_pid.map_or_else(unknown, |pid| pid.to_string()),
        session.tasks.to_string(),
        session.cpu_usec.map_or_else(unknown, usage::cpu),
        session.memory_bytes.map_or_else(unknown, usage::size),
        session.idle_s.map_or_else(unknown, usage::duration),
        shlex::try_join(session.command.iter().map(String::as_str)).unwrap_or_else(|_| unknown()),
    ]
}
