//! Types into a session's program as a careful person does: checks that the program reads, types the text,
//! checks that the text is in the input line, presses Enter, and checks that the text has left the line.
//!
//! Only the program knows the meaning of a key. So forge presses Enter only after a text that it has seen on
//! the screen, and not while the program shows a question. One race remains: the program may draw a question
//! after tmux has passed on the Enter. A person at the keyboard has the same race, with slower hands.

mod appears;
mod enter;
mod text;
pub mod turn;
mod typist;
mod unproven;

use std::time::{Duration, Instant};

#[cfg(doc)]
use crate::model::error::Kind;
use crate::model::error::Result;
use crate::model::screen::typing::{Part, Request, Sent, TextFate};
use crate::model::session::Mark;
use crate::model::session::name::SessionId;
use crate::ops::Context;
use crate::sys::clock::{Deadline, millis_since};
use crate::sys::env;
use crate::sys::tmux::Server;
use crate::sys::tmux::input::Input;
use typist::Typist;

/// How long to wait for another forge that types into the session.
const OTHER_FORGE: Duration = Duration::from_secs(30);

/// Types the texts and keys of a request. Only one forge at a time types into a session.
///
/// # Errors
/// - [`Kind::Ended`] if the program has ended.
/// - [`Kind::Asking`], [`Kind::NotReady`], [`Kind::Input`] or [`Kind::Attached`] if forge must not type now.
/// - [`Kind::NotShown`] if the text does not appear; forge has not pressed Enter then.
/// - [`Kind::Usage`] if the program cannot take such a text.
/// - [`Kind::Deadline`] if the server does not answer, or another forge types for more than 30 seconds.
pub fn send(context: &Context, id: &SessionId, mark: &Mark, request: &Request) -> Result<Sent> {
    let start = Instant::now();
    let _lock = context.store.typing_turn(id, Deadline::after(OTHER_FORGE))?;
    let prompts = context.store.spec(id)?.map(|spec| spec.prompts()).unwrap_or_default();
    let input = Input::new(Server::new(&env::tmux()?, &mark.socket), mark);
    let mut typist = Typist::new(id, input, prompts, request);
    let first = typist.wait_until_typable()?;
    typist.terminal = first.terminal.clone().into();
    let mut sent = Sent {
        fate: TextFate::Typed,
        attempts: 0,
        bytes: 0,
        changed: false,
        stands_still: false,
        elapsed_ms: 0,
    };
    let mut screen = first.clone();
    for part in &request.parts {
        screen = match part {
            Part::Key(key) => typist.press_key(key, screen)?,
            Part::Text(text) if request.lines => typist.type_lines(text, screen, &mut sent)?,
            Part::Text(text) => typist.type_entry(text, screen, &mut sent)?,
        };
    }
    sent.changed = sent.fate == TextFate::Submitted || !screen.shows_the_same_as(&first);
    sent.elapsed_ms = millis_since(start);
    Ok(sent)
}
