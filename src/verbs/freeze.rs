//! `forge freeze`

use serde_json::json;

use super::asked::Which;
use crate::acts::{World, freeze, observe};
use crate::words::error::Result;
use crate::words::name::SessionId;
use crate::words::shown::Shown;

/// The arguments.
pub type Args = Which;

/// Makes all processes of sessions stand still.
///
/// # Errors
/// When there is no such session, or the manager cannot.
pub fn run(world: &World, arguments: &Args) -> Result<Shown> {
    let found = observe::matching(world, &arguments.patterns()?)?;
    freeze::freeze(world, &found)?;
    let sessions: Vec<&SessionId> = found.iter().map(|found| &found.id).collect();
    Ok(sessions
        .iter()
        .fold(Shown::new(&json!({ "frozen": sessions })), |shown, id| shown.line(format!("froze {id}"))))
}
