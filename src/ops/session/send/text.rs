//! One text on its way into a program: what is typed, and how.

use std::time::Duration;

use super::appears::{REST, REST_AFTER_KEYS};
use super::{ROWS, Typist, UNSTEADY, mode};
use crate::model::error::{Error, Kind, Result};
use crate::model::screen::typing::{LONGEST_CANONICAL, Sent, TextFate, only_line, pieces};
use crate::model::screen::{Screen, TypedText};
use crate::sys::clock::Deadline;
use crate::sys::terminal::Mode;
use crate::sys::tmux::input::Pasted;

/// A longer text than this, or one of several lines, has programs put up a sign in its place.
const SHORT: usize = 256;

/// The least rest behind such a text. (Measured: Gemini CLI 0.61.0 takes an Enter up to 100 ms behind a paste of
/// 20,000 bytes for a line break; Qwen Code 0.24.4 then submits the sign in place of the text.)
const REST_AFTER_LONG: Duration = Duration::from_millis(300);

/// The least rest behind a short paste into an input box. (Gemini CLI 0.61.0 takes an Enter within 30 ms for a line
/// break.)
const REST_IN_BOX: Duration = Duration::from_millis(150);

/// The most keys that are typed at once, in bytes. A prime: a whole row of one character more looks as before.
const PIECE: usize = 997;

/// How often a program is asked whether it wants brackets, while somebody who is attached confuses the answer.
const BRACKETS_TRIES: usize = 3;

/// How long a key that empties the input line may take to show.
pub(super) const EMPTIED: Duration = Duration::from_millis(500);

impl Typist<'_> {
    /// Types each line as an entry of its own; stops at the first that is not submitted.
    pub(super) fn lines(&self, text: &str, mut look: Screen, sent: &mut Sent) -> Result<Screen> {
        let lines: Vec<&str> = text.split('\n').collect();
        for (at, line) in lines.iter().enumerate() {
            let entry = self.entry(line, look, sent);
            look = entry.map_err(|error| match at {
                0 => error,
                _ => error.while_(format!("line {} of {}; those before were submitted", at + 1, lines.len())),
            })?;
            if sent.stands_still {
                break;
            }
        }
        Ok(look)
    }

    /// Types one text, and Enter behind it where that is asked for.
    pub(super) fn entry(&self, text: &str, look: Screen, sent: &mut Sent) -> Result<Screen> {
        sent.bytes += text.len();
        self.check_question(&look, "nothing was typed")?;
        let is_answer = self.question(&look).is_some();
        let look = if is_answer { look } else { self.prepared(look)? };
        let mode = mode(&look);
        if text.is_empty() {
            return self.bare_enter(look, sent);
        }
        if is_answer && !mode.canonical && !self.request.blind {
            return self.answer(text, &look, sent);
        }
        if self.request.blind || mode.is_secret() {
            return self.unseen(text, mode, look, sent);
        }
        let Some(typed) = TypedText::new(text) else {
            return Err(Error::usage("the text has nothing in it that a screen shows")
                .hint("'--key Space' presses a key; '--blind' types without proof"));
        };
        let (bracketed, look) = self.way(text, mode, look)?;
        // The look may be a new one.
        self.check_takes_keys(&look, "nothing was typed")?;
        let look = if is_answer { look } else { self.ready(look)? };
        self.check_input(&look)?;
        let shown = self.typed(text, &typed, bracketed, mode, &look)?;
        if !self.request.enter {
            sent.fate = TextFate::Typed;
            return Ok(shown);
        }
        self.entered(&typed, shown, sent)
    }

    /// The input line is empty, and the program reads.
    pub(super) fn prepared(&self, mut look: Screen) -> Result<Screen> {
        if self.request.replace_input {
            look = self.emptied(look)?;
        }
        // First: a text that stands there may be what keeps the ready pattern from matching.
        self.check_input(&look)?;
        let look = self.ready(look)?;
        self.check_input(&look)?;
        Ok(look)
    }

    /// Refuses where a text stands in the input line.
    fn check_input(&self, look: &Screen) -> Result<()> {
        match look.input() {
            Some(standing) if !standing.is_empty() && !self.request.blind && !self.request.answer => {
                Err(Error::new(
                    Kind::Input,
                    format!(
                        "'{standing}' stands in the input line of {} already; nothing was typed",
                        self.id
                    ),
                )
                .hint("'--replace-input' empties the line first; '--blind' types all the same"))
            }
            _ => Ok(()),
        }
    }

    /// Empties the input line with the keys that line editors have for it, and the kernel: Ctrl-U, and behind an
    /// empty line of several Backspace, which joins it to the line before.
    fn emptied(&self, mut look: Screen) -> Result<Screen> {
        // A text of several lines takes two for each.
        const MOST: usize = 200;
        for _ in 0..MOST {
            if look.input().as_deref() == Some("") {
                return Ok(look);
            }
            let mode = mode(&look);
            if mode.canonical {
                self.input.byte(mode.kill)?;
                return self.changed_since(&look, EMPTIED);
            }
            self.take_output();
            self.input.press(if look.is_on_blank_line() { "BSpace" } else { "C-u" })?;
            let now = self.changed_since(&look, EMPTIED)?;
            self.check_question(&now, "nothing was typed")?;
            if now == look {
                break;
            }
            look = now;
        }
        match look.input().as_deref() {
            None | Some("") if !look.is_on_blank_line() => Ok(look),
            _ => Err(Error::new(
                Kind::Input,
                format!("the input line of {} is not empty after Ctrl-U{}", self.id, look.last_rows(ROWS)),
            )
            .hint(format!("'forge attach {}' to empty it by hand", self.id))),
        }
    }

    /// How the text goes: as a bracketed paste, or as keys; refused where the program would take it apart.
    pub(super) fn way(&self, text: &str, mode: Mode, look: Screen) -> Result<(bool, Screen)> {
        if mode.canonical {
            let line = only_line(text, "the program reads one line at a time")?;
            if line.len() > LONGEST_CANONICAL {
                return Err(Error::usage(format!(
                    "the text has {} bytes, and the kernel passes on no line of more than {LONGEST_CANONICAL} to a \
                     program that reads whole lines",
                    line.len()
                ))
                .hint("put it into a file, and send the program the file's name"));
            }
            no_tab(line)?;
            return Ok((false, look));
        }
        // Of a short line it is seen when it is typed, unless a first character is to go alone.
        let mut look = look;
        let is_asked = text.contains(['\n', '\t']) || text.len() > PIECE || self.prompts.ready.is_none();
        for _ in 0..BRACKETS_TRIES {
            if look.bracketed.is_none() && is_asked {
                look = self.input.look_for_brackets()?;
            }
        }
        if is_asked && look.bracketed != Some(true) {
            let why = match look.bracketed {
                Some(_) => "the program has not asked for bracketed paste: each line break would be an Enter",
                None => {
                    "tmux does not tell whether the program asked for bracketed paste while its screen moves"
                }
            };
            only_line(text, why)?;
            no_tab(text)?;
        }
        // One who did not ask for brackets gets none from tmux, too.
        Ok((look.bracketed != Some(false), look))
    }

    /// Types the text, and waits until it stands at rest where the program reads.
    fn typed(
        &self,
        text: &str,
        typed: &TypedText,
        bracketed: bool,
        mode: Mode,
        look: &Screen,
    ) -> Result<Screen> {
        if !mode.canonical && !bracketed {
            return self.keys(text, look);
        }
        let (before, pasted) = self.paste(text, bracketed, look)?;
        let least_rest = || {
            let is_paste = before.bracketed == Some(true) || self.input.wrote_brackets(&pasted);
            match is_paste {
                true if text.len() > SHORT || text.contains('\n') => REST_AFTER_LONG,
                true if before.is_in_box() => REST_IN_BOX,
                false if !mode.canonical => REST_AFTER_KEYS,
                _ => REST.0,
            }
        };
        match self.appears(typed, least_rest, &before)? {
            Some(shown) => Ok(shown),
            None => Err(self.taken_back(&before, "the text did not appear where the program reads")),
        }
    }

    /// Types keys to a program that reads single ones: in pieces, each of which must appear before the next, so
    /// that nothing that comes in between takes a part of the text unseen. The first piece is one character: what
    /// it may do to a program that reads no text is the least.
    fn keys(&self, text: &str, look: &Screen) -> Result<Screen> {
        if text.starts_with(char::is_whitespace) {
            return Err(Error::usage(
                "the text begins with a blank, and the program may take that for a key",
            )
            .hint("leave it out; '--key Space' presses the key; '--blind' types without proof"));
        }
        let mut shown: Option<Screen> = None;
        for (piece, is_last) in pieces(text, PIECE) {
            let Some(typed) = TypedText::new(piece) else {
                return Err(Error::usage(
                    "the text has characters that a screen does not show, and the program reads single keys",
                )
                .hint("leave them out; '--blind' types without proof"));
            };
            let (before, _) = match &shown {
                None => self.paste(piece, false, look)?,
                Some(shown) => self.paste_behind(piece, shown)?,
            };
            let rest = || if is_last { REST_AFTER_KEYS } else { Duration::ZERO };
            shown = Some(self.appears(&typed, rest, &before)?.ok_or_else(|| {
                self.not_shown(&if shown.is_none() {
                    format!(
                        "the first character of the text, '{piece}', was typed and did not appear, so the program may \
                         have taken it for a key; the others were not typed"
                    )
                } else {
                    "a part of the text was typed and did not appear where the program reads".to_owned()
                })
            })?);
        }
        Ok(shown.unwrap_or_else(|| look.clone()))
    }

    /// Types at a moment at which the pane is as it was looked at; returns that look. Where the pane changes in
    /// between, the new look must satisfy what the first one did.
    pub(super) fn paste(&self, text: &str, bracketed: bool, look: &Screen) -> Result<(Screen, Pasted)> {
        self.paste_when(text, bracketed, look, "nothing was typed", |now| {
            let now = self.ready(now)?;
            self.check_input(&now)?;
            Ok(now)
        })
    }

    /// The same for what follows a first piece, which must stand there still.
    fn paste_behind(&self, text: &str, shown: &Screen) -> Result<(Screen, Pasted)> {
        const WHAT: &str = "only a part of the text was typed";
        self.paste_when(text, false, shown, WHAT, |now| {
            if now.before_cursor() == shown.before_cursor() { Ok(now) } else { Err(self.not_shown(WHAT)) }
        })
    }

    fn paste_when(
        &self,
        text: &str,
        bracketed: bool,
        look: &Screen,
        what: &str,
        may_type: impl Fn(Screen) -> Result<Screen>,
    ) -> Result<(Screen, Pasted)> {
        let deadline = Deadline::after(UNSTEADY);
        let mut look = look.clone();
        loop {
            self.take_output();
            if let Some(pasted) = self.input.paste(text, bracketed, Some(&look))? {
                return Ok((look, pasted));
            }
            let now = self.input.look()?;
            self.check_takes_keys(&now, what)?;
            look = may_type(now)?;
            if deadline.passed() {
                return Err(self.not_shown(&format!("the screen does not come to rest, so {what}")));
            }
        }
    }
}

pub(super) fn no_tab(text: &str) -> Result<()> {
    if text.contains('\t') {
        return Err(Error::usage("the text has a tab, which the program would take for a key")
            .hint("put spaces in its place; '--key Tab' presses the key"));
    }
    Ok(())
}
