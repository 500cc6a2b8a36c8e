//! `forge spawn`

use super::asked::{Wanted, renamed};
use crate::acts::World;
use crate::acts::spawn::{How, Order, spawn};
use crate::words::error::Result;
use crate::words::shown::Shown;
use crate::words::socket::stale_sockets;

/// The arguments.
pub type Args = Wanted;

/// Starts a session and returns when it is up.
///
/// # Errors
/// When it does not start; then nothing of it is left.
pub fn run(world: &World, arguments: &Args) -> Result<Shown> {
    let spec = arguments.spec(world)?;
    let how = if arguments.replace { How::Replacing } else { How::New };
    let spawned = spawn(world, Order::new(&spec, how))?;
    let cleaned = match spawned.swept.len() {
        0 => String::new(),
        count => format!(" after cleaning {}", stale_sockets(count)),
    };
    let retried = if spawned.attempts > 1 { ", at the second attempt" } else { "" };
    let mut shown = Shown::new(&spawned);
    if let Some(note) = renamed(&arguments.name, &spec.session) {
        shown = shown.line(note);
    }
    Ok(shown
        .line(format!(
            "spawned {}{cleaned}{retried}: {} is process {} ({} ms)",
            spawned.session,
            spec.command.name(),
            spawned.pane_pid,
            spawned.elapsed_ms
        ))
        .line(format!(
            "  forge attach {0}   shows it\n  forge stop {0}     ends it and all it started",
            spawned.session
        )))
}
