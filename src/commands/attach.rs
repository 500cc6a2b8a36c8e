//! `forge attach`

use std::io::IsTerminal;

use super::arguments;
use super::{Command, CommandContext, ConfigPolicy};
use crate::model::error::{Error, Result};
use crate::model::output::Output;
use crate::model::session::State;
use crate::ops::session::observe;
use crate::sys::env;
use crate::sys::tmux::{self, Server};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge attach demo             leave with Ctrl-b d
  forge attach -r demo          watch without typing")]
pub struct Args {
    /// Name of the session
    name: String,
    /// Ignore what you type
    #[arg(short, long)]
    read_only: bool,
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
        // tmux cannot even detach a client from a server that is frozen or wedged.
        if let State::Frozen | State::Wedged | State::Stopping = found.state() {
            return Err(Error::failed(format!("cannot attach to {id}: it is {}", found.state().word()))
                .hint(format!("'forge status {id}' shows what to do")));
        }
        if !std::io::stdin().is_terminal() {
            return Err(Error::usage("attach needs a terminal")
                .hint(format!("'forge capture {id}' prints the screen")));
        }
        let server = Server::new(&env::tmux()?, &mark.socket);
        tmux::attach(&server, &id, self.read_only).map(|never| match never {})
    }
}
