//! Typing into a session's program, as a careful person would: look whether it reads, type, look whether the
//! text stands where it reads, press Enter, look whether the text has gone.
//!
//! Nobody but the program knows what a key means to it. So forge presses Enter only behind a text that it has
//! seen, and not while a question is shown. One race is left: a question that the program draws after tmux has
//! passed on the Enter. Somebody at the keyboard has the same race, with slower hands.

mod appears;
mod enter;
mod text;
pub mod turn;
mod unproven;

use std::cell::{Cell, OnceCell};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::model::error::{Error, Kind, Result};
use crate::model::screen::prompts::Prompts;
use crate::model::screen::typing::{Part, Request, Sent, TextFate, declines};
use crate::model::screen::{Screen, quoted};
use crate::model::session::Mark;
use crate::model::session::name::SessionId;
use crate::ops::Context;
use crate::sys::clock::{Deadline, millis_since, now_us, pause};
use crate::sys::inotify::FileWatch;
use crate::sys::tmux::Server;
use crate::sys::tmux::input::Input;
use crate::sys::{env, journal, terminal};

/// How long forge waits for another forge that types into the session.
const TURN: Duration = Duration::from_secs(30);

/// Somebody who is attached and typed within this time is still at it.
const STILL_TYPES: Duration = Duration::from_secs(3);

/// How long forge waits for somebody who is attached and types.
const LETS_TYPE: Duration = Duration::from_secs(10);

/// How long the ready pattern may be missing, as while a program draws its screen anew.
const READY: Duration = Duration::from_secs(1);

/// How long a key may take to show before the next one is pressed.
const KEY_SHOWS: Duration = Duration::from_millis(200);

/// tmux reads what a program writes this much later, as a rule.
const TMUX_READS: Duration = Duration::from_millis(1);

/// How long an echo takes, as a rule.
const SOON: Duration = Duration::from_millis(30);

/// How soon the screen is looked at again when nothing was written to the terminal: what is there may have been
/// written before, and read by tmux only now. Each look is a process.
const AGAIN: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));

/// How long the screen may differ from the last look whenever Enter is about to be pressed.
const UNSTEADY: Duration = Duration::from_secs(3);

/// How many rows of the screen an error shows.
const ROWS: usize = 12;

/// Types what is asked for. One at a time per session.
///
/// # Errors
/// [`Kind::Ended`] when there is no program to type into; [`Kind::Asking`], [`Kind::NotReady`],
/// [`Kind::Input`], [`Kind::Attached`] when it is not the moment for it; [`Kind::NotShown`] when the text does
/// not appear, so that Enter was not pressed; [`Kind::Usage`] when the program cannot take such a text;
/// [`Kind::Deadline`] when the server does not answer, or another forge types for over 30 s.
pub fn send(context: &Context, id: &SessionId, mark: &Mark, request: &Request) -> Result<Sent> {
    let start = Instant::now();
    let _turn = context.store.typing_turn(id, Deadline::after(TURN))?;
    let prompts = context.store.spec(id)?.map(|spec| spec.prompts()).unwrap_or_default();
    let input = Input::new(Server::new(&env::tmux()?, &mark.socket), mark);
    let mut typist = Typist {
        id,
        input,
        prompts,
        request,
        terminal: PathBuf::new(),
        printed: Cell::new(None),
        output: OnceCell::new(),
    };
    let first = typist.may_type()?;
    typist.terminal = first.terminal.clone().into();
    let mut sent = Sent {
        fate: TextFate::Typed,
        attempts: 0,
        bytes: 0,
        changed: false,
        stands_still: false,
        elapsed_ms: 0,
    };
    let mut look = first.clone();
    for part in &request.parts {
        look = match part {
            Part::Key(key) => typist.key(key, look)?,
            Part::Text(text) if request.lines => typist.lines(text, look, &mut sent)?,
            Part::Text(text) => typist.entry(text, look, &mut sent)?,
        };
    }
    sent.changed = sent.fate == TextFate::Submitted || !look.shows_the_same_as(&first);
    sent.elapsed_ms = millis_since(start);
    Ok(sent)
}

/// One who types.
struct Typist<'a> {
    id: &'a SessionId,
    input: Input<'a>,
    prompts: Prompts,
    request: &'a Request,
    /// The terminal that the program prints to.
    terminal: PathBuf,
    /// How much the server had read when that was last looked at.
    printed: Cell<Option<u64>>,
    /// What the program prints, as the kernel tells it, once that is waited for. Where it cannot be watched the
    /// looks alone must do.
    output: OnceCell<Option<FileWatch>>,
}

impl Typist<'_> {
    /// A look at a pane that takes what is typed: its program is there, nobody else types, and no mode of tmux
    /// takes the keys.
    fn may_type(&self) -> Result<Screen> {
        let deadline = Deadline::after(LETS_TYPE);
        loop {
            // Where no pattern can say that the program reads a text, it is asked for the brackets at once.
            let has_text = self.request.parts.iter().any(|part| matches!(part, Part::Text(_)));
            let look = if has_text && self.prompts == Prompts::default() {
                self.input.look_for_brackets()?
            } else {
                self.input.look()?
            };
            if look.dead {
                return Err(self.ended());
            }
            let now_s = now_us() / 1_000_000;
            // By the clock that people set: a key that seems to come from the future is new, too.
            let types = |at: u64| now_s.saturating_sub(at) < STILL_TYPES.as_secs();
            if let Some(client) = look.clients.iter().find(|client| types(client.typed_at_s)) {
                if deadline.passed() {
                    return Err(self.attached(&client.terminal, "types", "nothing was typed"));
                }
                // tmux keeps the time of a key in seconds, and tells nobody.
                pause(Duration::from_millis(250));
            } else if look.in_mode {
                if let Some(client) = look.clients.first() {
                    return Err(self.attached(&client.terminal, "reads in copy mode", "nothing was typed"));
                }
                self.input.leave_mode()?;
                journal::told!("{} was in copy mode, where keys go to tmux: forge left it", self.id);
            } else {
                return Ok(look);
            }
        }
    }

    fn attached(&self, terminal: &str, does: &str, what: &str) -> Error {
        Error::new(
            Kind::Attached,
            format!("somebody is attached to {} by {terminal} and {does}, so {what}", self.id),
        )
        .hint("try again later; two who type would mix their texts")
    }

    fn ended(&self) -> Error {
        Error::new(Kind::Ended, format!("the program of {} ended: nobody reads what is typed", self.id))
            .hint(format!("'forge restart {}' starts it again", self.id))
    }

    /// Presses a key, and gives it the time to show.
    fn key(&self, key: &str, look: Screen) -> Result<Screen> {
        if !declines(key) {
            self.check_question(&look, "the key was not pressed")?;
        }
        self.take_output();
        self.input.press(key)?;
        let pressed = self.changed_since(&look, KEY_SHOWS);
        // It may have ended the program, and the session with it.
        Ok(pressed.unwrap_or(look))
    }

    /// The first look that differs, or the last one before the time is up.
    fn changed_since(&self, before: &Screen, limit: Duration) -> Result<Screen> {
        let deadline = Deadline::after(limit);
        let mut again = AGAIN.0;
        loop {
            let wrote = self.output_within(deadline.min(Deadline::after(again)));
            let look = self.input.look()?;
            if look != *before || deadline.passed() {
                return Ok(look);
            }
            again = if wrote { AGAIN.0 } else { AGAIN.1.min(again * 2) };
        }
    }

    /// Refuses where the pane does not take what is typed any more: its program has ended, or asks a question, or
    /// somebody who came meanwhile has put it into copy mode.
    fn check_takes_keys(&self, look: &Screen, what: &str) -> Result<()> {
        if look.dead {
            return Err(self.ended());
        }
        if look.in_mode {
            let terminal = look.clients.first().map_or("a terminal that has left", |client| &client.terminal);
            return Err(self.attached(terminal, "reads in copy mode", what));
        }
        self.check_question(look, what)
    }

    /// The question that the program asks: as the session's pattern knows it, or in the form that everybody knows.
    fn question(&self, look: &Screen) -> Option<String> {
        self.prompts.question(&look.text).or_else(|| look.yes_or_no().map(ToOwned::to_owned))
    }

    /// Refuses while the program asks a question.
    fn check_question(&self, look: &Screen, what: &str) -> Result<()> {
        let Some(question) = self.question(look).filter(|_| !self.request.answer) else { return Ok(()) };
        let message = quoted(&format!("{} asks a question, so {what}:", self.id), question.lines());
        Err(Error::new(Kind::Asking, message).hint(format!(
            "'forge attach {0}' to answer; '--answer' types all the same; 'forge send {0} --key Escape' declines",
            self.id
        )))
    }

    /// Waits a moment for the ready pattern, where the session has one.
    fn ready(&self, mut look: Screen) -> Result<Screen> {
        let Some(pattern) = self.prompts.ready.as_ref().filter(|_| !self.request.blind) else {
            return Ok(look);
        };
        let deadline = Deadline::after(READY);
        loop {
            self.check_question(&look, "nothing was typed")?;
            if self.prompts.is_ready(&look.text) {
                return Ok(look);
            }
            if deadline.passed() {
                let why = match self.prompts.blocking(&look.text) {
                    Some(blocking) => {
                        format!("'{}' ({}) is on its screen", blocking.as_str(), blocking.key().word())
                    }
                    None => format!("'{}' is not on its screen", pattern.as_str()),
                };
                return Err(Error::new(
                    Kind::NotReady,
                    format!("{} is not ready, so nothing was typed: {why}{}", self.id, look.last_rows(ROWS)),
                )
                .hint(format!(
                    "'forge wait {} --ready' waits for it; '--blind' types all the same",
                    self.id
                )));
            }
            look = self.changed_since(&look, deadline.left())?;
        }
    }

    /// Forgets what the program printed so far.
    fn take_output(&self) {
        self.printed.set(self.input.printed());
        self.output.get().into_iter().flatten().for_each(FileWatch::take);
    }

    /// Waits until the program prints something; then tmux has read it, too, as a rule.
    ///
    /// At first by the count of what the server has read. The kernel's own watch (inotify) is no help where an echo
    /// takes a millisecond: to close it takes the kernel 17 ms (measured on 6.18), which is most of a `send`.
    fn output_within(&self, deadline: Deadline) -> bool {
        let soon = Deadline::after(SOON).min(deadline);
        loop {
            if self.has_printed() {
                return true;
            }
            if soon.passed() {
                break;
            }
            pause(TMUX_READS);
        }
        if deadline.passed() {
            return false;
        }
        let watch = || FileWatch::of_file(&self.terminal).ok();
        let Some(output) = self.output.get_or_init(watch) else {
            pause(deadline.left());
            return self.has_printed();
        };
        // What came before there was a watch is counted.
        if !self.has_printed() && !output.wait(deadline) {
            return false;
        }
        pause(TMUX_READS);
        self.take_output();
        true
    }

    /// Whether the server has read something since that was last asked.
    fn has_printed(&self) -> bool {
        let now = self.input.printed();
        self.printed.replace(now) != now
    }
}

/// How the program's terminal treats what is typed. Where that cannot be told it is as for most programs:
/// single keys.
fn mode(look: &Screen) -> terminal::Mode {
    terminal::mode(Path::new(&look.terminal)).unwrap_or(terminal::Mode {
        canonical: false,
        echo: false,
        kill: 0,
        unread: 0,
    })
}
