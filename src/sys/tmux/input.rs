//! Typing into a pane, and reading its screen meanwhile.

use std::time::Duration;

use super::{ANSWER, Server};
use crate::model::error::{Error, Result};
use crate::model::screen::Screen;
use crate::model::session::Mark;
use crate::model::tmux::{self, CLIENT_FORMAT, SCREEN_FORMAT, SCREEN_MARK};
use crate::sys::clock::{Deadline, pause};
use crate::sys::proc::{bytes_read, bytes_written};

/// The buffer of a text on its way. One at a time types into a session, and a session has its own server.
const BUFFER: &str = "forge-typing";

/// The bytes around a bracketed paste: `ESC [ 200 ~` and `ESC [ 201 ~`.
const BRACKETS: u64 = 12;

/// A server that writes nothing for so long has drawn what there was to draw: programs draw 60 frames a second at
/// most, as a rule.
const CALM: Duration = Duration::from_millis(50);

/// A text that was typed, and what the server had written before.
#[derive(Debug, Clone, Copy)]
pub struct Pasted {
    written_before: Option<u64>,
    bytes: u64,
}

/// A pane that is typed into.
#[derive(Debug)]
pub struct Input<'a> {
    server: Server,
    mark: &'a Mark,
}

impl<'a> Input<'a> {
    /// The pane of a session's program.
    pub fn new(server: Server, mark: &'a Mark) -> Self {
        Self { server, mark }
    }

    fn run(&self, arguments: &[&str]) -> Result<String> {
        self.server.run_command(arguments, Deadline::after(ANSWER))
    }

    /// The screen of the pane and its attached clients, read in one call, so that both are of one moment.
    ///
    /// # Errors
    /// When the server does not answer within [`ANSWER`], or has no such pane.
    pub fn read_screen(&self) -> Result<Screen> {
        self.read_screen_after(&[])
    }

    fn read_screen_after(&self, commands: &[&str]) -> Result<Screen> {
        let pane = self.mark.pane.as_str();
        let look = [
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
        let printed = self.run(&[commands, &look].concat())?;
        tmux::parse_screen(pane, &printed)
            .ok_or_else(|| Error::failed(format!("tmux does not show the pane {pane}")))
    }

    /// The same with whether the program asked for bracketed paste, also where tmux has no word for it (before
    /// 3.7), as far as forge can find out.
    ///
    /// tmux writes a paste of nothing as brackets with nothing between them to a program that asked for them, and
    /// as nothing at all to any other: the kernel counts what the server writes. (Measured on 3.3a: 12 bytes to
    /// bash and Claude Code, 0 to cat, less and Python 3.11. The line break is the buffer's, which may not be
    /// empty, and is replaced by nothing. Claude Code, Codex, Gemini CLI and Qwen Code do nothing about such a
    /// paste.)
    ///
    /// # Errors
    /// When the server does not answer within [`ANSWER`], or has no such pane.
    pub fn read_screen_and_brackets(&self) -> Result<Screen> {
        const ASKS: &str = "#{==:#{pane_dead}#{pane_in_mode}#{bracket_paste_flag},00}";
        let paste = format!(
            "set-buffer -b {BUFFER} \"\\n\" ; paste-buffer -p -d -s '' -b {BUFFER} -t {}",
            self.mark.pane
        );
        let before = bytes_written(self.mark.server_pid);
        let ask = ["if-shell", "-F", "-t", &self.mark.pane, ASKS, &paste, ";"];
        let mut look = self.read_screen_after(&ask)?;
        if look.bracketed.is_some() || look.dead || look.in_mode {
            return Ok(look);
        }
        if self.written_since(before) == Some(0) {
            // The server may not have come to it; it does before it answers the next client.
            look = self.read_screen()?;
        }
        look.bracketed = match self.written_since(before) {
            Some(0) => Some(false),
            Some(BRACKETS) => Some(true),
            _ => self.answers_to(&ask[..ask.len() - 1])?,
        };
        Ok(look)
    }

    /// Whether the server writes when it carries out these commands, and only then. The program's response
    /// goes to the terminals of those who are attached, so that more than brackets is counted.
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

    /// The number of bytes that the server has written, once it has written nothing for a while; no event reports that.
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

    /// How much the server has read so far: what programs print, and what is typed by who is attached.
    pub fn printed(&self) -> Option<u64> {
        bytes_read(self.mark.server_pid)
    }

    /// Leaves copy mode and every other mode of the pane.
    ///
    /// # Errors
    /// When the server does not answer within [`ANSWER`].
    pub fn leave_mode(&self) -> Result<()> {
        self.run(&["copy-mode", "-q", "-t", &self.mark.pane]).map(drop)
    }

    /// Presses keys, by tmux's names for them.
    ///
    /// # Errors
    /// When the server does not answer within [`ANSWER`].
    pub fn press(&self, key: &str) -> Result<()> {
        self.run(&["send-keys", "-t", &self.mark.pane, "--", key]).map(drop)
    }

    /// Types one byte, whatever key it is.
    ///
    /// # Errors
    /// When the server does not answer within [`ANSWER`].
    pub fn byte(&self, byte: u8) -> Result<()> {
        self.run(&["send-keys", "-H", "-t", &self.mark.pane, &format!("{byte:02x}")]).map(drop)
    }

    /// Types a text from a buffer that is gone afterwards; with `bracketed` as one paste where the program asked
    /// for that, and else as if it were typed. tmux writes a line break as Enter, in brackets too, where it is
    /// part of the text. `None`: the pane is no longer as it was in that look, or its program has ended, and nothing
    /// was typed. As for Enter the server looks and types in one go: a single character may be the answer to a
    /// question that has just come up.
    ///
    /// # Errors
    /// When the server does not answer within [`ANSWER`].
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

    /// Whether the server is seen to have written brackets around a text, and nothing else since. It has written
    /// when it has answered another client.
    pub fn wrote_brackets(&self, pasted: &Pasted) -> bool {
        self.written_since(pasted.written_before) == Some(pasted.bytes + BRACKETS)
    }

    /// Presses Enter if the pane is as it was in that look, as far as the cursor, the scrolled lines and a word in
    /// it tell; says whether it was. The server looks and presses in one go: what a program printed before, and
    /// tmux has read, comes first.
    ///
    /// # Errors
    /// When the server does not answer within [`ANSWER`].
    pub fn enter_if(&self, look: &Screen, word: Option<&str>) -> Result<bool> {
        let place = is_as_in(look);
        let condition = word.map_or(place.clone(), |word| format!("#{{&&:{place},#{{C:{word}}}}}"));
        let enter = format!("send-keys -t {} Enter", self.mark.pane);
        let printed = self.run(&["if-shell", "-F", "-t", &self.mark.pane, &condition, &enter, CHANGED])?;
        Ok(printed.is_empty())
    }
}

/// Whether a pane's program lives, as tmux reads it.
const LIVES: &str = "#{==:#{pane_dead},0}";

/// The output of a command list that did nothing.
const CHANGED: &str = "display-message -p changed";

/// Whether a pane is as it was in that look, as tmux reads it.
fn is_as_in(look: &Screen) -> String {
    format!(
        "#{{==:#{{pane_dead}} #{{pane_in_mode}} #{{cursor_x}} #{{cursor_y}} #{{history_size}},0 0 {} {} {}}}",
        look.column, look.row, look.scrolled
    )
}
