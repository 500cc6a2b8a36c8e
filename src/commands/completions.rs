//! `forge completions`

use clap_complete::{Shell, generate};

use crate::model::error::{Error, Result};
use crate::model::output::Output;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge completions bash > ~/.local/share/bash-completion/completions/forge
  forge completions fish > ~/.config/fish/completions/forge.fish")]
pub struct Args {
    /// The shell
    shell: Shell,
}

/// Prints the completions for a shell.
///
/// # Errors
/// None in practice.
pub fn run(arguments: &Args, command: &clap::Command) -> Result<Output> {
    // Completions of clap have the hidden verbs too.
    let visible = command.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned().collect::<Vec<_>>();
    let mut command = clap::Command::new("forge").args(command.get_arguments().cloned()).subcommands(visible);
    let mut script = Vec::new();
    generate(arguments.shell, &mut command, "forge", &mut script);
    let script = String::from_utf8(script).map_err(|error| Error::failed(error.to_string()))?;
    Ok(Output::new(&serde_json::json!({ "shell": arguments.shell.to_string(), "script": script }))
        .raw(script.trim_end()))
}
