//! `forge restart`

use serde_json::json;

use super::arguments::Which;
use super::{Command, CommandContext, ConfigPolicy};
use crate::model::error::{Result, first_of};
use crate::model::output::Output;
use crate::model::session::resume::resumed_words;
use crate::ops::restart::restart;
use crate::ops::session::observe;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge restart web
  forge restart 'agent-*'")]
pub struct Args {
    #[command(flatten)]
    which: Which,
}

impl Command for Args {
    fn config(&self) -> ConfigPolicy {
        ConfigPolicy::Needed
    }

    fn run(&self, call: &CommandContext<'_>) -> Result<Output> {
        let context = call.context()?;
        let (mut restarted, mut failed) = (Vec::new(), Vec::new());
        let (found, kept) = observe::matching_or_kept(context, &self.which.patterns()?)?;
        let found = found.into_iter().map(|found| (found.id.clone(), Some(found)));
        for (id, found) in found.chain(kept.into_iter().map(|id| (id, None))) {
            match restart(context, &id, found) {
                Ok(spawned) => restarted.push(spawned),
                // The errors of the session itself name it already.
                Err(error) if error.message.starts_with(&format!("{id} ")) => failed.push(error),
                Err(error) => failed.push(error.while_(id)),
            }
        }
        let names: Vec<String> = restarted.iter().map(|spawned| spawned.session.clone()).collect();
        if let Some(error) = first_of(failed, "restarted", &names) {
            return Err(error);
        }
        let mut output = Output::new(&json!({ "restarted": restarted }));
        for one in &restarted {
            let resumed = resumed_words(one.resumed.as_deref(), one.fresh.as_deref());
            output = output.line(format!(
                "restarted {}: now process {}{resumed} ({} ms)",
                one.session, one.pane_pid, one.elapsed_ms
            ));
        }
        Ok(output)
    }
}
