//! Typing into a session's program, as a person would.

use std::time::Duration;

use super::World;
use crate::hands::clock::{Deadline, pause};
use crate::hands::paths;
use crate::hands::tmux::{ANSWER, Server, whole};
use crate::words::error::{Error, Kind, Result};
use crate::words::name::SessionId;
use crate::words::session::Mark;
use crate::words::typing;

/// How long a program may take to show that something was typed.
const SHOWN: Duration = Duration::from_secs(1);

/// How long another who types may take.
const TURN: Duration = Duration::from_secs(10);

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Bytes that were typed, without the Enter.
    pub bytes: usize,
    /// Whether the screen changed after it.
    pub changed: bool,
}

/// Types the text and, with `enter`, presses Enter. One at a time per session.
///
/// # Errors
/// When there is no program to type into, or its server does not answer.
pub fn send(world: &World, id: &SessionId, mark: &Mark, text: &str, enter: bool) -> Result<Sent> {
    let _turn = world.store.typing_turn(id, Deadline::after(TURN))?;
    let server = Server::new(&paths::tmux()?, &mark.socket);
    let tell = |arguments: &[&str]| server.tell(arguments, Deadline::after(ANSWER));
    let pane = server.pane(&mark.pane, Deadline::after(ANSWER))?;
    if pane.dead {
        return Err(Error::new(
            Kind::Ended,
            format!("the program of {id} ended: nobody reads what is typed"),
        )
        .hint(format!("'forge restart {id}' starts it again")));
    }
    if pane.in_mode {
        // In copy mode keys go to tmux and not to the program.
        tell(&["send-keys", "-t", &mark.pane, "-X", "cancel"])?;
    }
    let screen = || server.glance(&mark.pane, Deadline::after(ANSWER));
    let text = typing::clean(text);
    let before = screen()?;
    for piece in typing::pieces(&text) {
        tell(&["send-keys", "-t", &mark.pane, "-l", "--", &whole(piece)])?;
    }
    let mut changed = text.is_empty() || changes(&before, screen);
    if enter {
        let before = screen()?;
        tell(&["send-keys", "-t", &mark.pane, "Enter"])?;
        let answered = changes(&before, screen);
        if !answered {
            // Programs with an input box were seen to take an Enter that follows a long text
            // at once for a part of that text; a second one is at worst an empty line.
            tell(&["send-keys", "-t", &mark.pane, "Enter"])?;
        }
        changed = answered || changes(&before, screen);
    }
    Ok(Sent { bytes: text.len(), changed })
}

/// Whether the screen differs within the time that a program may take. The terminal's changes would
/// tell of what is printed, and not of what tmux itself changes; these few looks see both.
fn changes(before: &str, screen: impl Fn() -> Result<String>) -> bool {
    let deadline = Deadline::after(SHOWN);
    loop {
        // A server that went away is an answer too: what was typed ended the session.
        if screen().map_or(true, |now| now != before) {
            return true;
        }
        if deadline.passed() {
            return false;
        }
        pause(Duration::from_millis(25));
    }
}
