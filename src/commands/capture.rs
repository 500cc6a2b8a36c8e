//! `forge capture`

use serde_json::json;

use super::arguments;
use super::{Command, CommandContext, ConfigPolicy};
use crate::model::error::Result;
use crate::model::output::Output;
use crate::ops::session::observe;
use crate::sys::clock::Deadline;
use crate::sys::env;
use crate::sys::tmux::{ANSWER, Server};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge capture demo
  forge capture demo -n 100        with 100 lines above the screen")]
pub struct Args {
    /// Name of the session
    name: String,
    /// Also print this many lines of history
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<u32>,
}

impl Command for Args {
    fn config(&self) -> ConfigPolicy {
        ConfigPolicy::Tolerated
    }

    fn run(&self, call: &CommandContext<'_>) -> Result<Output> {
        let context = call.context()?;
        let id = arguments::session(&self.name)?;
        let found = observe::existing(context, &id)?;
        let mark = found.mark()?;
        let screen = Server::new(&env::tmux()?, &mark.socket).screen(
            &mark.pane,
            self.lines,
            Deadline::after(ANSWER),
        )?;
        let text: Vec<&str> = screen.lines().map(str::trim_end).collect();
        let text = text.join("\n");
        let text = text.trim_end();
        Ok(Output::new(&json!({ "session": id, "screen": text })).raw(text))
    }
}
