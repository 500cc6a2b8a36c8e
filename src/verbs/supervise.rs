//! `forge supervise`

use std::path::Path;

use super::asked;
use crate::acts::World;
use crate::acts::supervise::{supervise, watch};
use crate::words::error::{Error, Result};
use crate::words::shown::Shown;

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The session
    name: String,
    /// What a supervisor executes itself with once its session is up
    #[arg(long, hide = true)]
    pub watch: bool,
}

/// Supervises a session until its run ends. `configuration` is why the configuration could not be
/// read, where it could not: then a session that is known otherwise is supervised all the same.
///
/// # Errors
/// When it is not started by systemd, or the session does not start.
pub fn run(
    world: &World,
    arguments: &Args,
    config_file: Option<&Path>,
    configuration: Option<Error>,
) -> Result<Shown> {
    let id = asked::session(&arguments.name)?;
    let config_file = config_file.map(Path::to_owned);
    Ok(Shown::default().exit(match configuration {
        _ if arguments.watch => watch(world, config_file, &id)?,
        Some(error) if world.store.spec(&id)?.is_none() => return Err(error),
        _ => supervise(world, config_file, &id)?,
    }))
}
