//! `forge logs`: what the journal has about a session.

use super::arguments;
use crate::model::error::Result;
use crate::model::output::Output;
use crate::ops::Context;
use crate::sys::journal;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge logs web
  forge logs web --follow
  forge --json logs web -n 1        one record, as journalctl -o json")]
pub struct Args {
    /// The session [default: all]
    name: Option<String>,
    /// Go on showing what comes
    #[arg(short, long)]
    follow: bool,
    /// Only the newest records
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    lines: u32,
}

/// Becomes journalctl; does not return where that works.
///
/// # Errors
/// When journalctl is not there.
pub fn run(context: &Context, arguments: &Args, json: bool) -> Result<Output> {
    let id = arguments.name.as_deref().map(arguments::session).transpose()?;
    match journal::show(context.paths.uid, id.as_ref(), arguments.lines, arguments.follow, json)? {}
}
