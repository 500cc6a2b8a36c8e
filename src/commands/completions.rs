//! `forge completions`

use clap_complete::{Shell, generate};

use super::{Command, CommandContext, ConfigPolicy};
use crate::model::error::{Error, Result};
use crate::model::output::Output;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge completions bash > ~/.local/share/bash-completion/completions/forge
  forge completions fish > ~/.config/fish/completions/forge.fish")]
pub struct Args {
    /// Shell to complete in
    shell: Shell,
}

impl Command for Args {
    fn config(&self) -> ConfigPolicy {
        ConfigPolicy::Ignored
    }

    fn run(&self, call: &CommandContext<'_>) -> Result<Output> {
        let mut command = call.definition();
        let mut script = Vec::new();
        generate(self.shell, &mut command, "forge", &mut script);
        let script = String::from_utf8(script).map_err(|error| Error::failed(error.to_string()))?;
        Ok(Output::new(&serde_json::json!({ "shell": self.shell.to_string(), "script": script }))
            .raw(script.trim_end()))
    }
}
