//! `forge spawn`

use super::arguments::{SUPERVISION, Wanted, renamed};
use super::{Command, CommandContext, ConfigPolicy};
use crate::agents;
use crate::model::error::Result;
use crate::model::output::Output;
use crate::model::session::outside::WITHOUT_DAEMON;
use crate::model::session::spec::Spec;
use crate::model::sweep::stale_sockets;
use crate::ops::Context;
use crate::ops::session::spawn::request::SpawnMode;
use crate::ops::session::start::start_new;
use crate::ops::supervise::client;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge spawn demo -- top
  forge spawn agent -- claude                    a known agent: 'forge agents list'
  forge spawn repl --ready '^>>> ' -- python3
  forge spawn web --supervise --port 7890 --memory-max 2G -- ./server
  forge spawn claude-1        as [sessions.claude-1] of the configuration says")]
pub struct Args {
    #[command(flatten)]
    wanted: Wanted,
    /// Restart the session when it crashes: see 'forge help supervise'
    #[arg(long, help_heading = SUPERVISION)]
    supervise: bool,
}

impl Command for Args {
    fn config(&self) -> ConfigPolicy {
        ConfigPolicy::Needed
    }

    fn run(&self, call: &CommandContext<'_>) -> Result<Output> {
        let context = call.context()?;
        let Args { wanted, supervise } = self;
        let spec = wanted.spec(context)?;
        let spawned = if *supervise {
            client::spawn(context, &spec, wanted.replace)?
        } else {
            let mode = if wanted.replace { SpawnMode::Replacing } else { SpawnMode::New };
            start_new(context, &spec, mode)?
        };
        let cleaned = match spawned.swept.len() {
            0 => String::new(),
            count => format!(" after cleaning {}", stale_sockets(count)),
        };
        let retried = if spawned.attempts > 1 { ", at the second attempt" } else { "" };
        let mut output = Output::new(&spawned);
        if let Some(note) = renamed(&wanted.name, &spec.session) {
            output = output.line(note);
        }
        for freed in &spawned.freed {
            output = output.line(format!("ended processes of an earlier run: {freed}"));
        }
        for one in spawned.outside.iter().flatten().filter(|one| one.same_program) {
            output = output
                .line(format!("warning: {}", one.works(&spec.session)))
                .line(format!("  {WITHOUT_DAEMON}"));
        }
        if !spawned.ready {
            output = output
                .line(format!("warning: forge did not recognise the prompt of {}", spec.command.name()))
                .line("  it may be of a version with another prompt; '--ready REGEX' names it, for 'forge send' too");
        }
        if let Some(note) = added(context, &spec, &wanted.command)? {
            output = output.line(note);
        }
        output = output
            .line(format!(
                "spawned {}{cleaned}{retried}: {} is process {} ({} ms)",
                spawned.session,
                spec.command.name(),
                spawned.pane_pid,
                spawned.elapsed_ms
            ))
            .line(format!(
                "  forge attach {0}   shows it\n  forge stop {0}     ends it and all it started",
                spawned.session
            ));
        if *supervise {
            output = output
                .line(format!("  systemctl --user status forge-spawn@{}   its supervisor", spawned.session));
        }
        Ok(output)
    }
}

/// A line for the user about the arguments that forge has added to a command line of the user.
fn added(context: &Context, spec: &Spec, given: &[String]) -> Result<Option<String>> {
    let Some(agent) = spec.agent.as_deref().filter(|_| !given.is_empty()) else { return Ok(None) };
    let profile = agents::named(&context.config.agents, agent)?;
    let added: Vec<&str> =
        profile.arguments.iter().filter(|argument| !given.contains(argument)).map(String::as_str).collect();
    let why = if profile.why.is_empty() { String::new() } else { format!(": {}", profile.why) };
    Ok((!added.is_empty()).then(|| format!("forge added {} for {}{why}", added.join(" "), profile.title)))
}
