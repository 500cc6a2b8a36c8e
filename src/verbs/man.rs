//! `forge man`

use clap_mangen::Man;

use crate::words::error::{Error, Kind, Result, Trying};
use crate::words::shown::Shown;

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The page of one verb [default: the page of forge]
    verb: Option<String>,
}

/// Prints a manual page; `forge man | man -l -` reads it.
///
/// # Errors
/// When there is no such verb.
pub fn run(arguments: &Args, mut command: clap::Command) -> Result<Shown> {
    command.build();
    let command = match &arguments.verb {
        None => command,
        Some(verb) => command
            .find_subcommand(verb)
            .filter(|found| !found.is_hide_set())
            .cloned()
            .map(|found| found.display_name(format!("forge-{verb}")))
            .ok_or_else(|| {
                Error::new(Kind::Usage, format!("forge has no verb '{verb}'")).hint("'forge help' lists them")
            })?,
    };
    let mut page = Vec::new();
    Man::new(command).render(&mut page).trying("cannot make the page")?;
    let page = String::from_utf8(page).trying("cannot make the page")?;
    Ok(Shown::new(&serde_json::json!({ "page": page })).raw(page.trim_end()))
}
