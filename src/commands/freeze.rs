//! `forge freeze` and `forge thaw`

use serde_json::json;

use super::arguments::Which;
use super::{Command, CommandContext, ConfigPolicy};
use crate::model::error::Result;
use crate::model::output::Output;
use crate::model::session::name::SessionId;
use crate::ops::session::freeze::{freeze, thaw};
use crate::ops::session::observe::{self, ObservedSession};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge freeze agent        it keeps its memory and uses no CPU
  forge thaw agent")]
pub struct FreezeArgs {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge thaw agent
  forge thaw --all")]
pub struct ThawArgs {
    #[command(flatten)]
    which: Which,
}

impl Command for FreezeArgs {
    fn config(&self) -> ConfigPolicy {
        ConfigPolicy::Tolerated
    }

    fn run(&self, call: &CommandContext<'_>) -> Result<Output> {
        let context = call.context()?;
        let found = observe::matching(context, &self.which.patterns()?)?;
        freeze(context, &found)?;
        let names = names(&found);
        Ok(lines(Output::new(&json!({ "frozen": names })), "froze", &names))
    }
}

impl Command for ThawArgs {
    fn config(&self) -> ConfigPolicy {
        ConfigPolicy::Tolerated
    }

    fn run(&self, call: &CommandContext<'_>) -> Result<Output> {
        let context = call.context()?;
        let found = observe::matching(context, &self.which.patterns()?)?;
        thaw(context, &found)?;
        let names = names(&found);
        Ok(lines(Output::new(&json!({ "thawed": names })), "thawed", &names))
    }
}

fn names(found: &[ObservedSession]) -> Vec<&SessionId> {
    found.iter().map(|found| &found.id).collect()
}

fn lines(output: Output, done: &str, names: &[&SessionId]) -> Output {
    names.iter().fold(output, |output, id| output.line(format!("{done} {id}")))
}
