//! `forge status`

use super::arguments;
use super::{Command, CommandContext, ConfigPolicy};
use crate::model::error::Result;
use crate::model::output::Output;
use crate::model::session::State;
use crate::model::session::activity::Activity;
use crate::model::{unit, usage};
use crate::ops::session::observe;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge status demo
  forge --json status demo | jq .pane_pid")]
pub struct Args {
    /// Name of the session
    name: String,
}

impl Command for Args {
    fn config(&self) -> ConfigPolicy {
        ConfigPolicy::Tolerated
    }

    fn run(&self, call: &CommandContext<'_>) -> Result<Output> {
        let context = call.context()?;
        let id = arguments::session(&self.name)?;
        let session = observe::describe(context, &observe::existing(context, &id)?);
        let unknown = || "-".to_owned();
        let mut rows: Vec<(&str, String)> = vec![
            ("state", session.state.word().to_owned()),
            ("since", session.since.clone().unwrap_or_else(unknown)),
            (
                "command",
                shlex::try_join(session.command.iter().map(String::as_str)).unwrap_or_else(|_| unknown()),
            ),
            ("directory", session.cwd.as_ref().map_or_else(unknown, |cwd| cwd.display().to_string())),
            ("program", session.pane_pid.map_or_else(unknown, |pid| format!("process {pid}"))),
            ("server", session.server_pid.map_or_else(unknown, |pid| format!("process {pid}"))),
            ("socket", session.socket.display().to_string()),
            ("slice", unit::slice(&id)),
            ("scope", unit::scope(&id)),
            ("tasks", session.tasks.to_string()),
            ("cpu", session.cpu_usec.map_or_else(unknown, usage::cpu)),
            ("memory", session.memory_bytes.map_or_else(unknown, usage::size)),
            ("idle", session.idle_s.map_or_else(unknown, usage::duration)),
            ("supervisor", if session.supervised { unit::service(&id) } else { unknown() }),
            ("attached", if session.attached { "yes" } else { "no" }.to_owned()),
        ];
        if let Some(agent) = &session.agent {
            let conversation = session.resume_id.as_ref().map(|id| format!(", conversation {id}"));
            rows.push(("agent", format!("{agent}{}", conversation.unwrap_or_default())));
        }
        match &session.outside {
            Some(outside) => rows.extend(outside.iter().map(|one| ("outside", one.to_string()))),
            None => rows.push(("outside", "unknown: the kernel does not list its Unix sockets".to_owned())),
        }
        rows.extend(session.failure.iter().map(|failure| ("failure", failure.clone())));
        if let Some(source) = session.activity_source {
            let since = session.activity_since.as_ref().map(|since| format!(" since {since}"));
            let (activity, since) = (session.activity.word(), since.unwrap_or_default());
            rows.push(("activity", format!("{activity}{since} ({})", source.word())));
        }
        if session.activity == Activity::Asking {
            let question = session.question.iter().flat_map(|question| question.lines());
            rows.extend(question.map(|line| ("", format!("| {line}"))));
            rows.push((
                "next",
                format!("'forge capture {id}' shows the screen, 'forge attach {id}' lets you answer,"),
            ));
            rows.push((
                "",
                format!("'forge send {id} --key KEY' or 'forge send {id} --answer TEXT' answers from here"),
            ));
        }
        rows.extend(advice(session.state, id.as_str()).map(|advice| ("next", advice)));
        let output = Output::new(&session).line(id.to_string());
        Ok(rows
            .into_iter()
            .fold(output, |output, (name, value)| output.line(format!("  {name:<10} {value}"))))
    }
}

/// Advice for the user about the state.
fn advice(state: State, id: &str) -> Option<String> {
    Some(match state {
        State::Running | State::Starting | State::Stopping => return None,
        State::Dead => {
            format!("its program ended: 'forge restart {id}' starts it again, 'forge stop {id}' removes it")
        }
        State::Wedged => format!("its tmux server does not answer; 'forge stop {id}' ends it nevertheless"),
        State::Failed => {
            format!("'forge logs {id}' shows what happened; 'forge restart {id}' starts it again")
        }
        State::Frozen => format!("'forge thaw {id}' resumes it"),
    })
}
