//! `forge save`

use crate::acts::World;
use crate::acts::save::{Saved, save};
use crate::hands::systemd::Login;
use crate::words::error::Result;
use crate::words::shown::Shown;

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Wait for a shutdown and save then, where logind grants a delay of it; else do nothing
    #[arg(long, hide = true)]
    at_shutdown: bool,
}

/// Saves the resume ids of the sessions.
///
/// # Errors
/// When the manager does not answer.
pub fn run(world: &World, arguments: &Args) -> Result<Shown> {
    if arguments.at_shutdown {
        at_shutdown(world)?;
        return Ok(Shown::default());
    }
    Ok(show(&save(world)?))
}

fn show(saved: &Saved) -> Shown {
    let mut shown = Shown::new(saved);
    for one in &saved.saved {
        shown = shown.line(match &one.resume_id {
            Some(id) => format!("saved {}: resumes with {id}", one.session),
            None => format!("saved {}", one.session),
        });
    }
    for one in &saved.failed {
        shown = shown.line(format!("no resume id for {}: {}", one.session, one.error));
    }
    if saved.saved.is_empty() && saved.failed.is_empty() {
        shown = shown.line("there is no session to save");
    }
    shown
}

/// What forge-session-save.service does while the machine is up. Without a delay granted there is
/// nothing to wait for: the service saves when it is stopped.
fn at_shutdown(world: &World) -> Result<()> {
    const WHY: &str = "the sessions of forge are being saved";
    let Ok(login) = Login::connect() else { return Ok(()) };
    let mut shutdowns = login.shutdowns()?;
    let mut delay = login.delay_shutdown(WHY);
    while let Some(held) = delay {
        while !shutdowns.wait()? {}
        if let Err(error) = save(world) {
            // The service's own stop will try again.
            tracing::debug!("{error}");
        }
        // The shutdown goes on now. It may still be called off.
        drop(held);
        while shutdowns.wait()? {}
        delay = login.delay_shutdown(WHY);
    }
    Ok(())
}
