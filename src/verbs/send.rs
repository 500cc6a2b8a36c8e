//! `forge send`

use serde_json::json;

use super::asked;
use crate::acts::{World, observe, send::send};
use crate::words::error::Result;
use crate::words::shown::Shown;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge send agent 'go on'
  forge send agent y --no-enter")]
pub struct Args {
    /// The session
    name: String,
    /// What to type; control characters are left out
    #[arg(allow_hyphen_values = true)]
    text: String,
    /// Do not press Enter after it
    #[arg(long)]
    no_enter: bool,
}

/// Types a text into a session's program, and Enter.
///
/// # Errors
/// When there is nobody to read it.
pub fn run(world: &World, arguments: &Args) -> Result<Shown> {
    let id = asked::session(&arguments.name)?;
    let found = observe::existing(world, &id)?;
    let sent = send(world, &id, found.mark()?, &arguments.text, !arguments.no_enter)?;
    let shown = Shown::new(
        &json!({ "session": id, "bytes": sent.bytes, "enter": !arguments.no_enter, "changed": sent.changed }),
    );
    Ok(if sent.changed {
        shown.line(format!("typed {} bytes into {id}", sent.bytes))
    } else {
        shown.line(format!(
            "typed {} bytes into {id}; its screen did not change: does its program read?",
            sent.bytes
        ))
    })
}
