//! Types into a pane and reads its screen.

use std::time::Duration;

use super::{ANSWER, Server};
use crate::model::error::{Error, Result};
use crate::model::screen::Screen;
use crate::model::session::Mark;
use crate::model::tmux::{self, CLIENT_FORMAT, SCREEN_FORMAT, SCREEN_MARK};
use crate::sys::clock::{Deadline, pause};
use crate::sys::proc::{bytes_read, bytes_written};

/// The tmux buffer that holds the text to paste. One name is enough: each session has its own server, and only
/// one process at a time types into a session.
const BUFFER: &str = "forge-typing";

/// The bytes around a bracketed paste: `ESC [ 200 ~` and `ESC [ 201 ~`.
const BRACKETS: u64 = 12;

/// A server that has written nothing for this long has drawn everything: programs usually draw at most 60 frames
/// a second.
const CALM: Duration = Duration::from_millis(50);

/// A text that was pasted, and the number of bytes that the server had written before.
#[derive(Debug, Clone, Copy)]
pub struct Pasted {
    written_before: Option<u64>,
    bytes: u64,
}

/// Types into one pane.
#[derive(Debug)]
pub struct Input<'a> {
    server: Server,
    mark: &'a Mark,
}

impl<'a> Input<'a> {
    pub fn new(server: Server, mark: &'a Mark) -> Self {
        Self { server, mark }
    }

    fn run(&self, arguments: &[&str]) -> Result<String> {
        self.server.run_command(arguments, Deadline::after(ANSWER))
    }

    /// Reads the screen of the pane and its attached clients. One call reads both, so that they describe the same
    /// moment.
    ///
    /// # Errors
    /// `Deadline` if the server does not answer within [`ANSWER`]; `Failed` if it has no such pane.
    pub fn read_screen(&self) -> Result<Screen> {
        self.read_screen_after(&[])
    }

    fn read_screen_after(&self, commands: &[&str]) -> Result<Screen> {
        let pane = self.mark.pane.as_str();
        let read = [
            "list-panes",
            "-t",
            pane,
            "-F",
            SCREEN_FORMAT,
            ";",
            "list-clients",
            "-F",
            CLIENT_FORMAT,
            ";",
            "display-message",
            "-p",
            "-t",
            pane,
            SCREEN_MARK,
            ";",
            "capture-pane",
            "-p",
            "-t",
            pane,
            ";",
            "capture-pane",
            "-p",
            "-J",
            "-t",
            pane,
        ];
        let printed = self.run(&[commands, &read].concat())?;
        tmux::parse_screen(pane, &printed)
            .ok_or_else(|| Error::failed(format!("tmux does not show the pane {pane}")))
    }

    /// Reads the screen, and finds out whether the program asked for bracketed paste. tmux before 3.7 has no
    /// format for that, so forge measures it; `bracketed` stays `None` if the measurement is not conclusive.
    ///
    /// The measurement is an empty paste. To a program that asked for brackets, tmux writes the brackets with
    /// nothing between them; to any other program it writes nothing. The kernel counts the bytes that the server
    /// writes. (Measured on 3.3a: 12 bytes to bash and Claude Code, 0 to cat, less and Python 3.11. A buffer may
    /// not be empty: it contains a line break, which `-s ''` replaces by nothing. Claude Code, Codex, Gemini CLI
    /// and Qwen Code do not react to such a paste.)
    ///
    /// # Errors
    /// `Deadline` if the server does not answer within [`ANSWER`]; `Failed` if it has no such pane.
    pub fn read_screen_and_brackets(&self) -> Result<Screen> {
        const ASKS: &str = "#{==:#{pane_dead}#{pane_in_mode}#{bracket_paste_flag},00}";
        let paste = format!(
            "set-buffer -b {BUFFER} \"\\n\" ; paste-buffer -p -d -s '' -b {BUFFER} -t {}",
            self.mark.pane
        );
        let before = bytes_written(self.mark.server_pid);
        let ask = ["if-shell", "-F", "-t", &self.mark.pane, ASKS, &paste, ";"];
        let mut screen = self.read_screen_after(&ask)?;
        if screen.bracketed.is_some() || screen.dead || screen.in_mode {
            return Ok(screen);
        }
        if self.written_since(before) == Some(0) {
            // The server may not have written yet. It writes before it answers the next client.
            screen = self.read_screen()?;
        }
        screen.bracketed = match self.written_since(before) {
            Some(0) => Some(false),
            Some(BRACKETS) => Some(true),
            _ => self.answers_to(&ask[..ask.len() - 1])?,
        };
        Ok(screen)
    }

    /// Whether the server writes when it carries out these commands, and only then. `None` if it also writes at
    /// other times. The count may include more than the brackets, because the server also writes the program's
    /// response to the attached terminals.
    fn answers_to(&self, commands: &[&str]) -> Result<Option<bool>> {
        const ROUNDS: usize = 3;
        for _ in 0..ROUNDS {
            let before = self.calm();
            self.run(commands)?;
            self.read_screen()?;
            match self.written_since(before) {
                Some(0) => return Ok(Some(false)),
                Some(BRACKETS) => return Ok(Some(true)),
                _ => {}
            }
            let before = self.calm();
            self.read_screen()?;
            if self.written_since(before) != Some(0) {
                return Ok(None);
            }
        }
        Ok(Some(true))
    }

    fn written_since(&self, before: Option<u64>) -> Option<u64> {
        Some(bytes_written(self.mark.server_pid)?.saturating_sub(before?))
    }

    /// Waits until the server has written nothing for [`CALM`], at most ten times as long. Returns the number of
    /// bytes that the server has written so far. No event reports this, so forge polls.
    fn calm(&self) -> Option<u64> {
        let deadline = Deadline::after(CALM * 10);
        let mut before = bytes_written(self.mark.server_pid);
        loop {
            pause(CALM);
            let now = bytes_written(self.mark.server_pid);
            if now == before || deadline.passed() {
                return now;
            }
            before = now;
        }
    }

    /// The number of bytes that the server has read so far: the output of programs, and the input of attached
    /// users.
    pub fn printed(&self) -> Option<u64> {
        bytes_read(self.mark.server_pid)
    }

    /// Leaves copy mode and every other mode of the pane.
    ///
    /// # Errors
    /// `Deadline` if the server does not answer within [`ANSWER`].
    pub fn leave_mode(&self) -> Result<()> {
        self.run(&["copy-mode", "-q", "-t", &self.mark.pane]).map(drop)
    }

    /// Presses a key, by tmux's name for it.
    ///
    /// # Errors
    /// `Deadline` if the server does not answer within [`ANSWER`].
    pub fn press(&self, key: &str) -> Result<()> {
        self.run(&["send-keys", "-t", &self.mark.pane, "--", key]).map(drop)
    }

    /// Types one byte, without a lookup of key names.
    ///
    /// # Errors
    /// `Deadline` if the server does not answer within [`ANSWER`].
    pub fn byte(&self, byte: u8) -> Result<()> {
        self.run(&["send-keys", "-H", "-t", &self.mark.pane, &format!("{byte:02x}")]).map(drop)
    }

    /// Types a text from a buffer, which tmux deletes afterwards. With `bracketed`, tmux sends the text as one
    /// bracketed paste if the program asked for that, and otherwise as if a user typed it. tmux writes a line break
    /// as Enter; inside brackets, the program takes it as part of the text.
    ///
    /// Returns `None` if the pane has changed since `at`, or if its program has ended; nothing was typed then. The
    /// server checks and types in one step, as in [`Self::enter_if`]: a single character may answer a question that
    /// the program has just asked.
    ///
    /// # Errors
    /// `Deadline` if the server does not answer within [`ANSWER`].
    pub fn paste(&self, text: &str, bracketed: bool, at: Option<&Screen>) -> Result<Option<Pasted>> {
        let pane = &self.mark.pane;
        let condition = at.map_or_else(|| LIVES.to_owned(), is_as_in);
        let brackets = if bracketed { "-p " } else { "" };
        let paste = format!("paste-buffer -d {brackets}-b {BUFFER} -t {pane}");
        let drop_it = format!("delete-buffer -b {BUFFER} ; {CHANGED}");
        let pasted = Pasted { written_before: bytes_written(self.mark.server_pid), bytes: text.len() as u64 };
        let arguments = [
            "load-buffer",
            "-b",
            BUFFER,
            "-",
            ";",
            "if-shell",
            "-F",
            "-t",
            pane,
            &condition,
            &paste,
            &drop_it,
        ];
        let printed =
            self.server.run_command_with_input(&arguments, text.as_bytes(), Deadline::after(ANSWER))?;
        Ok(printed.is_empty().then_some(pasted))
    }

    /// Whether the server has written a text with brackets around it, and nothing else since. Call it after another
    /// client got an answer: the server has written by then.
    pub fn wrote_brackets(&self, pasted: &Pasted) -> bool {
        self.written_since(pasted.written_before) == Some(pasted.bytes + BRACKETS)
    }

    /// Presses Enter if the pane has not changed since `seen`: the cursor and the number of scrolled lines are the
    /// same, and the pane contains `word`. Returns whether it pressed Enter. The server checks and presses in one
    /// step, after it has handled all output that it has read from the program.
    ///
    /// # Errors
    /// `Deadline` if the server does not answer within [`ANSWER`].
    pub fn enter_if(&self, seen: &Screen, word: Option<&str>) -> Result<bool> {
        let place = is_as_in(seen);
        let condition = word.map_or(place.clone(), |word| format!("#{{&&:{place},#{{C:{word}}}}}"));
        let enter = format!("send-keys -t {} Enter", self.mark.pane);
        let printed = self.run(&["if-shell", "-F", "-t", &self.mark.pane, &condition, &enter, CHANGED])?;
        Ok(printed.is_empty())
    }
}

/// tmux's condition that the pane's program has not ended.
const LIVES: &str = "#{==:#{pane_dead},0}";

/// The tmux command that reports that the condition was false.
const CHANGED: &str = "display-message -p changed";

/// tmux's condition that a pane has not changed since `seen`.
fn is_as_in(seen: &Screen) -> String {
    format!(
        "#{{==:#{{pane_dead}} #{{pane_in_mode}} #{{cursor_x}} #{{cursor_y}} #{{history_size}},0 0 {} {} {}}}",
        seen.column, seen.row, seen.scrolled
    )
}
