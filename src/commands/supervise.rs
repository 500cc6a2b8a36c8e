//! `forge supervise`

use std::ffi::OsString;
use std::path::Path;

use super::arguments;
use crate::model::error::{Error, Result};
use crate::model::output::Output;
use crate::ops::Context;
use crate::ops::supervise::{WATCH, supervise, watch};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  systemctl --user start forge-spawn@web
  systemctl --user enable forge-spawn@web        at every boot
  systemctl --user edit forge-spawn@.service     pauses, limits, the watchdog

Exit status:
  0   its session ended as it should
  1   its session failed, and is to be started again
  2   the configuration cannot be used
  5   its session is not to be started again
  75  its session ended as it should, and is to be started again all the same")]
pub struct Args {
    /// The session
    name: String,
}

/// The session that a supervisor at rest watches, by the very arguments that it executed itself
/// with. They are read without the definition of the command line, which is most of what such a
/// process would otherwise keep in memory.
pub fn watched(arguments: &[OsString]) -> Option<String> {
    match arguments {
        [_, verb, option, name] if verb == "supervise" && option == WATCH => name.to_str().map(str::to_owned),
        _ => None,
    }
}

/// Watches a session for its supervisor.
///
/// # Errors
/// When the end of its run cannot be dealt with.
pub fn run_watching(context: &Context, name: &str) -> Result<Output> {
    Ok(Output::default().exit(watch(context, &arguments::session(name)?)?))
}

/// Supervises a session until its run ends. `configuration` is why the configuration could not be
/// read, where it could not: then a session that is known otherwise is supervised all the same.
///
/// # Errors
/// When it is not started by systemd, or the session does not start.
pub fn run(
    context: &Context,
    arguments: &Args,
    config_file: Option<&Path>,
    configuration: Option<Error>,
) -> Result<Output> {
    let id = arguments::session(&arguments.name)?;
    match configuration {
        Some(error) if context.store.spec(&id)?.is_none() => Err(error),
        _ => Ok(Output::default().exit(supervise(context, config_file.map(Path::to_owned), &id)?)),
    }
}
