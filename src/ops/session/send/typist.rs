//! The typist: reads the screen, presses keys, and checks whether the program takes keys now.

use std::cell::{Cell, OnceCell};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::error::{Error, Kind, Result};
use crate::model::screen::prompts::{Prompts, yes_or_no};
use crate::model::screen::typing::{Part, Request, declines};
use crate::model::screen::{Screen, quoted};
use crate::model::session::name::SessionId;
use crate::sys::clock::{Deadline, now_us, pause};
use crate::sys::inotify::FileWatch;
use crate::sys::tmux::input::Input;
use crate::sys::{journal, terminal};

/// An attached person who typed within this time counts as typing.
const STILL_TYPES: Duration = Duration::from_secs(3);

/// How long to wait for an attached person who types.
const LETS_TYPE: Duration = Duration::from_secs(10);

/// How long the ready pattern may be missing, for instance while a program redraws its screen.
const READY: Duration = Duration::from_secs(1);

/// How long to wait for a key to change the screen before pressing the next one.
const KEY_SHOWS: Duration = Duration::from_millis(200);

/// How long a key that empties the input line may take to change the screen.
pub(super) const EMPTIED: Duration = Duration::from_millis(500);

/// How long tmux usually takes to read a program's output.
const TMUX_READS: Duration = Duration::from_millis(1);

/// How long an echo usually takes.
const ECHO: Duration = Duration::from_millis(30);

/// The first and the longest pause between two reads of the screen while the program prints nothing: tmux may
/// not yet have read the earlier output. Each read starts a process.
pub(super) const FIRST_POLL: Duration = Duration::from_millis(10);
const LONGEST_POLL: Duration = Duration::from_millis(250);

/// How long forge tries to press Enter, or to paste, while the screen keeps changing.
pub(super) const UNSTEADY: Duration = Duration::from_secs(3);

/// How many rows of the screen an error message quotes.
pub(super) const ROWS: usize = 12;

/// Types into one session, and reads its screen.
pub(super) struct Typist<'a> {
    pub(super) id: &'a SessionId,
    pub(super) input: Input<'a>,
    pub(super) prompts: Prompts,
    pub(super) request: &'a Request,
    /// The device of the program's terminal.
    pub(super) terminal: PathBuf,
    /// The server's count of bytes read, when forge last asked for it.
    printed: Cell<Option<u64>>,
    /// A watch for the program's output, set up at the first wait. `None`: the kernel cannot watch the
    /// terminal, and forge only polls.
    output: OnceCell<Option<FileWatch>>,
}

impl<'a> Typist<'a> {
    pub(super) fn new(id: &'a SessionId, input: Input<'a>, prompts: Prompts, request: &'a Request) -> Self {
        let (terminal, printed, output) = (PathBuf::new(), Cell::new(None), OnceCell::new());
        Self { id, input, prompts, request, terminal, printed, output }
    }

    /// Waits until the pane takes keys: its program runs, no person types, and tmux is not in a mode that
    /// takes the keys itself. Returns the screen.
    ///
    /// # Errors
    /// [`Kind::Ended`] if the program has ended; [`Kind::Attached`] if an attached person reads in copy mode,
    /// or types for 10 seconds.
    pub(super) fn wait_until_typable(&self) -> Result<Screen> {
        let deadline = Deadline::after(LETS_TYPE);
        loop {
            // Without patterns, only bracketed paste can show that the program reads a text: ask for it at
            // once.
            let has_text = self.request.parts.iter().any(|part| matches!(part, Part::Text(_)));
            let screen = if has_text && self.prompts == Prompts::default() {
                self.input.read_screen_and_brackets()?
            } else {
                self.input.read_screen()?
            };
            if screen.dead {
                return Err(self.ended_error());
            }
            let now_s = now_us() / 1_000_000;
            // tmux uses the wall clock, which people can set back: a key from the future counts as new.
            let types = |at: u64| now_s.saturating_sub(at) < STILL_TYPES.as_secs();
            if let Some(client) = screen.clients.iter().find(|client| types(client.typed_at_s)) {
                if deadline.passed() {
                    return Err(self.attached_error(&client.terminal, "types", "nothing was typed"));
                }
                // tmux keeps the time of a key in seconds, and no event reports a key.
                pause(Duration::from_millis(250));
            } else if screen.in_mode {
                if let Some(client) = screen.clients.first() {
                    return Err(self.attached_error(
                        &client.terminal,
                        "reads in copy mode",
                        "nothing was typed",
                    ));
                }
                self.input.leave_mode()?;
                journal::inform!(
                    "{} was in copy mode, in which tmux takes the keys: forge left copy mode",
                    self.id
                );
            } else {
                return Ok(screen);
            }
        }
    }

    pub(super) fn attached_error(&self, terminal: &str, does: &str, what: &str) -> Error {
        Error::new(
            Kind::Attached,
            format!("a person attached to {} on {terminal} {does}, so {what}", self.id),
        )
        .hint("try again later; if forge typed now, the two texts would mix")
    }

    pub(super) fn ended_error(&self) -> Error {
        Error::new(Kind::Ended, format!("the program of {} has ended, so nothing reads the text", self.id))
            .hint(format!("'forge restart {}' starts it again", self.id))
    }

    /// Presses a key, and waits up to 200 ms for the screen to change. Returns the screen.
    pub(super) fn press_key(&self, key: &str, screen: Screen) -> Result<Screen> {
        if !declines(key) {
            self.check_question(&screen, "the key was not pressed")?;
        }
        self.discard_output();
        self.input.press(key)?;
        let pressed = self.changed_since(&screen, KEY_SHOWS);
        // The key may have ended the program, and thus the session.
        Ok(pressed.unwrap_or(screen))
    }

    /// Waits until the screen differs from `before`, or the time is up. Returns the screen.
    pub(super) fn changed_since(&self, before: &Screen, limit: Duration) -> Result<Screen> {
        let deadline = Deadline::after(limit);
        let mut again = FIRST_POLL;
        loop {
            let wrote = self.output_within(deadline.min(Deadline::after(again)));
            let screen = self.input.read_screen()?;
            if screen != *before || deadline.passed() {
                return Ok(screen);
            }
            again = next_poll(again, wrote);
        }
    }

    /// Checks that the pane still takes keys. `what` completes the message: "Enter was not pressed".
    ///
    /// # Errors
    /// [`Kind::Ended`] if the program has ended; [`Kind::Attached`] if a person has put the pane into copy
    /// mode; [`Kind::Asking`] if the program asks a question.
    pub(super) fn check_takes_keys(&self, screen: &Screen, what: &str) -> Result<()> {
        if screen.dead {
            return Err(self.ended_error());
        }
        if screen.in_mode {
            let terminal =
                screen.clients.first().map_or("a terminal that has left", |client| &client.terminal);
            return Err(self.attached_error(terminal, "reads in copy mode", what));
        }
        self.check_question(screen, what)
    }

    /// The question on the screen: one that the session's pattern matches, or a common form such as `[y/N]`. Only
    /// typing counts the common form: elsewhere a wrong guess would send a notice.
    pub(super) fn question(&self, screen: &Screen) -> Option<String> {
        self.prompts
            .question(&screen.text)
            .or_else(|| yes_or_no(screen.before_cursor()).map(ToOwned::to_owned))
    }

    /// Checks that the program asks no question, unless the request is to answer it.
    ///
    /// # Errors
    /// [`Kind::Asking`].
    pub(super) fn check_question(&self, screen: &Screen, what: &str) -> Result<()> {
        let Some(question) = self.question(screen).filter(|_| !self.request.answer) else { return Ok(()) };
        let message = quoted(&format!("{} asks a question, so {what}:", self.id), question.lines());
        Err(Error::new(Kind::Asking, message).hint(format!(
            "'forge attach {0}' to answer; '--answer' types the text as the answer; \
             'forge send {0} --key Escape' declines",
            self.id
        )))
    }

    /// Waits up to 1 second for the session's ready pattern, if it has one.
    ///
    /// # Errors
    /// [`Kind::NotReady`] if the pattern does not match; [`Kind::Asking`] if the program asks a question.
    pub(super) fn wait_until_ready(&self, mut screen: Screen) -> Result<Screen> {
        let Some(pattern) = self.prompts.ready.as_ref().filter(|_| !self.request.blind) else {
            return Ok(screen);
        };
        let deadline = Deadline::after(READY);
        loop {
            self.check_question(&screen, "nothing was typed")?;
            if self.prompts.is_ready(&screen.text) {
                return Ok(screen);
            }
            if deadline.passed() {
                let why = match self.prompts.blocking(&screen.text) {
                    Some(blocking) => {
                        format!("'{}' ({}) is on its screen", blocking.as_str(), blocking.key().word())
                    }
                    None => format!("'{}' is not on its screen", pattern.as_str()),
                };
                return Err(Error::new(
                    Kind::NotReady,
                    format!(
                        "{} is not ready, so nothing was typed: {why}{}",
                        self.id,
                        screen.last_rows(ROWS)
                    ),
                )
                .hint(format!(
                    "'forge wait {} --ready' waits for it; '--blind' types without this check",
                    self.id
                )));
            }
            screen = self.changed_since(&screen, deadline.left())?;
        }
    }

    /// Forgets the output so far, so that [`Self::output_within`] waits for new output.
    pub(super) fn discard_output(&self) {
        self.printed.set(self.input.printed());
        self.output.get().into_iter().flatten().for_each(FileWatch::drain);
    }

    /// Waits until the program prints something, and usually until tmux has read it. Returns whether it did.
    ///
    /// For the first 30 ms this polls the server's count of bytes read. An inotify watch is too slow while an
    /// echo takes 1 ms: closing it takes the kernel 17 ms (measured on 6.18), which is most of the time of a
    /// `send`.
    pub(super) fn output_within(&self, deadline: Deadline) -> bool {
        let soon = Deadline::after(ECHO).min(deadline);
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
            // Without inotify no event reports output.
            pause(deadline.left());
            return self.has_printed();
        };
        // The count covers output from before the watch existed.
        if !self.has_printed() && !output.wait(deadline) {
            return false;
        }
        pause(TMUX_READS);
        self.discard_output();
        true
    }

    /// Whether the server has read output since the last call.
    fn has_printed(&self) -> bool {
        let now = self.input.printed();
        self.printed.replace(now) != now
    }
}

/// The mode of the program's terminal. If forge cannot read the mode, it assumes the mode of most programs:
/// single keys without echo.
pub(super) fn mode(screen: &Screen) -> terminal::Mode {
    terminal::mode(Path::new(&screen.terminal)).unwrap_or(terminal::Mode {
        canonical: false,
        echo: false,
        kill: 0,
        unread: 0,
    })
}

/// The pause after the pause `last`: it starts again from the first one after the program wrote, and doubles
/// otherwise.
pub(super) fn next_poll(last: Duration, wrote: bool) -> Duration {
    if wrote { FIRST_POLL } else { LONGEST_POLL.min(last * 2) }
}

/// Checks that the text has no tab.
///
/// # Errors
/// [`Kind::Usage`].
pub(super) fn check_no_tab(text: &str) -> Result<()> {
    if text.contains('\t') {
        return Err(Error::usage("the text has a tab, which the program would take for a key")
            .hint("use spaces instead; '--key Tab' presses the key"));
    }
    Ok(())
}
