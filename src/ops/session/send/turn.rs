//! Waits for the end of a program's turn: the program has finished its work, and reads again.

use std::path::Path;
use std::time::Duration;

use similar::{ChangeTag, TextDiff};

use crate::model::error::{Error, Kind, Result};
use crate::model::screen::prompts::Prompts;
use crate::model::screen::quoted;
use crate::model::session::Mark;
use crate::model::session::name::SessionId;
use crate::ops::Context;
use crate::sys::clock::Deadline;
use crate::sys::env;
use crate::sys::inotify::FileWatch;
use crate::sys::process::{Process, is_alive};
use crate::sys::tmux::input::Input;
use crate::sys::tmux::{ANSWER, Server};

/// A program that reads, and has printed nothing for this long, has finished its turn. While they work, Codex
/// counts seconds and Claude Code turns a spinner: both print more often than this.
const REST: Duration = Duration::from_millis(2500);

/// How many lines of scrolled-off output to search for new lines.
const HISTORY: u32 = 5000;

/// The turn of a session's program.
pub struct Turn<'a> {
    id: &'a SessionId,
    mark: &'a Mark,
    server: Server,
    prompts: Prompts,
    /// The screen and the last lines that scrolled off it, when the turn began.
    before: String,
}

impl<'a> Turn<'a> {
    /// Begins a turn: saves the screen.
    ///
    /// # Errors
    /// [`Kind::Usage`] if the session has no ready pattern: only the pattern shows that the program reads
    /// again.
    pub fn begin(context: &Context, id: &'a SessionId, mark: &'a Mark) -> Result<Self> {
        let prompts = context.store.spec(id)?.map(|spec| spec.prompts()).unwrap_or_default();
        if prompts.ready.is_none() {
            return Err(Error::usage(format!(
                "{id} has no ready pattern, so forge cannot know when it has finished"
            ))
            .hint("start it with --ready REGEX, or set ready in [sessions.NAME]"));
        }
        let server = Server::new(&env::tmux()?, &mark.socket);
        let before = server.screen(&mark.pane, Some(HISTORY), Deadline::after(ANSWER))?;
        Ok(Self { id, mark, server, prompts, before })
    }

    /// Waits until the program prints nothing more, the ready pattern matches, and the working pattern does not.
    /// Returns the lines that are new on the screen.
    ///
    /// # Errors
    /// [`Kind::Deadline`] if the turn has not ended by the deadline; [`Kind::Asking`] if the program asks a
    /// question; [`Kind::Ended`] if the program ends.
    pub fn end(&self, deadline: Deadline) -> Result<String> {
        let ended = || {
            Error::new(Kind::Ended, format!("the program of {} ended", self.id))
                .hint(format!("'forge logs {}' shows how", self.id))
        };
        let input = Input::new(self.server.clone(), self.mark);
        let screen = input.read_screen()?;
        let output = FileWatch::of_file(Path::new(&screen.terminal))?;
        let program = Process::open_that(self.mark.program())?.ok_or_else(ended)?;
        loop {
            // The next wait reports output that arrives while forge reads the screen.
            while output.wait(Deadline::after(REST).min(deadline)) && !deadline.passed() {
                if program.ended() {
                    return Err(ended());
                }
            }
            if !is_alive(self.mark.program()) {
                return Err(ended());
            }
            let screen = input.read_screen()?;
            if let Some(question) = self.prompts.question(&screen.text) {
                let message = quoted(&format!("{} asks a question:", self.id), question.lines());
                return Err(Error::new(Kind::Asking, message)
                    .hint(format!("'forge attach {}' to answer it", self.id)));
            }
            let is_idle = self.prompts.is_ready(&screen.text) && !self.prompts.is_working(&screen.text);
            if !deadline.passed() && is_idle {
                let after = self.server.screen(&self.mark.pane, Some(HISTORY), Deadline::after(ANSWER))?;
                return Ok(added(&self.before, &after));
            }
            if deadline.passed() {
                return Err(Error::new(Kind::Deadline, format!("{} has not finished its turn", self.id))
                    .hint(format!("'forge capture {}' shows the screen", self.id)));
            }
        }
    }
}

/// The lines of `after` that are not in `before`.
fn added(before: &str, after: &str) -> String {
    let trimmed = |text: &str| text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    let (before, after) = (trimmed(before), trimmed(after));
    let diff = TextDiff::from_lines(&before, &after);
    let new = diff.iter_all_changes().filter(|change| change.tag() == ChangeTag::Insert);
    let lines: Vec<String> = new.map(|change| change.value().trim_end().to_owned()).collect();
    lines.join("\n").trim_matches('\n').to_owned()
}

#[cfg(test)]
mod tests {
    use super::added;

    #[test]
    fn added_returns_only_new_lines() {
        assert_eq!(added("$ \n", "$ echo a\na\n$ \n"), "$ echo a\na");
        assert_eq!(added("a\nb\n❯", "a\nb\n❯ q\nanswer\n\n❯"), "❯ q\nanswer");
        assert_eq!(added("same", "same   "), "");
    }
}
