//! Types one text: chooses between a bracketed paste and keys, and checks the input line first.

use std::time::Duration;

use super::appears::{LEAST_REST, REST_AFTER_KEYS, SHOW_PROGRESS, Shown};
use super::typist::{EMPTIED, ROWS, Typist, UNSTEADY, check_no_tab, mode};
use crate::model::error::{Error, Kind, Result};
use crate::model::screen::typing::{LONGEST_CANONICAL, Sent, TextFate, only_line, pieces};
use crate::model::screen::{Screen, TypedText};
use crate::sys::clock::Deadline;
use crate::sys::journal;
use crate::sys::terminal::Mode;
use crate::sys::tmux::input::Pasted;

/// The longest text, in bytes, that programs show as it is. For a longer one, or one of several lines, they
/// show a placeholder.
const SHORT: usize = 256;

/// The least rest after such a text. (Measured: Gemini CLI 0.61.0 treats an Enter up to 100 ms after a paste
/// of 20,000 bytes as a line break; Qwen Code 0.24.4 then submits the placeholder instead of the text.)
const REST_AFTER_LONG: Duration = Duration::from_millis(300);

/// The least rest after a short paste into an input box. (Gemini CLI 0.61.0 treats an Enter within 30 ms as a
/// line break.)
const REST_IN_BOX: Duration = Duration::from_millis(150);

/// The longest run of keys that forge types at once, in bytes. It is a prime: otherwise a text of one
/// repeated character could add exactly one full row, and the cursor's row would look unchanged.
const PIECE: usize = 997;

/// Print the next progress line about a text of many pieces after this time. (A program that is busy now and then
/// takes 90 s for 100,000 bytes.)
const PROGRESS_AGAIN: Duration = Duration::from_secs(10);

/// How often forge asks tmux whether the program has requested bracketed paste, while an attached person
/// disturbs the answer.
const BRACKETS_TRIES: usize = 3;

impl Typist<'_> {
    /// Types each line as a separate entry, and stops at the first line that is not submitted.
    pub(super) fn type_lines(&self, text: &str, mut screen: Screen, sent: &mut Sent) -> Result<Screen> {
        let lines: Vec<&str> = text.split('\n').collect();
        for (at, line) in lines.iter().enumerate() {
            let entry = self.type_entry(line, screen, sent);
            screen = entry.map_err(|error| match at {
                0 => error,
                _ => error.while_(format!("line {} of {}; those before were submitted", at + 1, lines.len())),
            })?;
            if sent.stands_still {
                break;
            }
        }
        Ok(screen)
    }

    /// Types one text, and presses Enter if the request says so.
    pub(super) fn type_entry(&self, text: &str, screen: Screen, sent: &mut Sent) -> Result<Screen> {
        sent.bytes += text.len();
        self.check_question(&screen, "nothing was typed")?;
        let is_answer = self.question(&screen).is_some();
        let screen = if is_answer { screen } else { self.prepare_input(screen)? };
        let mode = mode(&screen);
        if text.is_empty() {
            return self.press_bare_enter(screen, sent);
        }
        if is_answer && !mode.canonical && !self.request.blind {
            return self.type_answer(text, &screen, sent);
        }
        if self.request.blind || mode.is_secret() {
            return self.type_unseen(text, mode, screen, sent);
        }
        let Some(typed) = TypedText::new(text) else {
            return Err(Error::usage("the text has no character that a screen shows")
                .hint("'--key Space' presses a key; '--blind' types without a check"));
        };
        let (bracketed, screen) = self.choose_way(text, mode, screen)?;
        // choose_way may have read the screen again.
        self.check_takes_keys(&screen, "nothing was typed")?;
        let screen = if is_answer { screen } else { self.wait_until_ready(screen)? };
        self.check_input(&screen)?;
        let shown = self.type_text(text, &typed, bracketed, mode, &screen)?;
        if !self.request.enter {
            sent.fate = TextFate::Typed;
            return Ok(shown.screen);
        }
        self.press_enter(&typed, shown, sent)
    }

    /// Makes sure that the input line is empty and that the program reads. Returns the screen.
    ///
    /// # Errors
    /// [`Kind::Input`] if a text is in the input line; otherwise as for `wait_until_ready`.
    pub(super) fn prepare_input(&self, mut screen: Screen) -> Result<Screen> {
        if self.request.replace_input {
            screen = self.empty_input(screen)?;
        }
        // Check the input first: a text in it may be the reason why the ready pattern does not match.
        self.check_input(&screen)?;
        let screen = self.wait_until_ready(screen)?;
        self.check_input(&screen)?;
        Ok(screen)
    }

    /// Checks that no text is in the input line.
    ///
    /// # Errors
    /// [`Kind::Input`].
    fn check_input(&self, screen: &Screen) -> Result<()> {
        match screen.input() {
            Some(standing) if !standing.is_empty() && !self.request.blind && !self.request.answer => {
                Err(Error::new(
                    Kind::Input,
                    format!("the input line of {} already has '{standing}'; nothing was typed", self.id),
                )
                .hint("'--replace-input' empties the line first; '--blind' types without this check"))
            }
            _ => Ok(()),
        }
    }

    /// Empties the input line with the keys that line editors and the kernel use for it: Ctrl-U, and in an
    /// empty line of several Backspace, which joins the line to the previous one. Returns the screen.
    ///
    /// # Errors
    /// [`Kind::Input`] if the line is not empty afterwards; [`Kind::Asking`] if the program asks a question.
    fn empty_input(&self, mut screen: Screen) -> Result<Screen> {
        // A text of several lines takes two keys for each line.
        const MOST: usize = 200;
        for _ in 0..MOST {
            if screen.input().as_deref() == Some("") {
                return Ok(screen);
            }
            let mode = mode(&screen);
            if mode.canonical {
                self.input.byte(mode.kill)?;
                return self.changed_since(&screen, EMPTIED);
            }
            self.discard_output();
            self.input.press(if screen.is_on_blank_line() { "BSpace" } else { "C-u" })?;
            let now = self.changed_since(&screen, EMPTIED)?;
            self.check_question(&now, "nothing was typed")?;
            if now == screen {
                break;
            }
            screen = now;
        }
        match screen.input().as_deref() {
            None | Some("") if !screen.is_on_blank_line() => Ok(screen),
            _ => Err(Error::new(
                Kind::Input,
                format!("the input line of {} is not empty after Ctrl-U{}", self.id, screen.last_rows(ROWS)),
            )
            .hint(format!("'forge attach {}' to empty it by hand", self.id))),
        }
    }

    /// Chooses how to type the text: as a bracketed paste (true) or as keys. Also returns the screen.
    ///
    /// # Errors
    /// [`Kind::Usage`] if the program would split the text, or take a part of it for a key.
    pub(super) fn choose_way(&self, text: &str, mode: Mode, screen: Screen) -> Result<(bool, Screen)> {
        if mode.canonical {
            let line = only_line(text, "the program reads one line at a time")?;
            if line.len() > LONGEST_CANONICAL {
                return Err(Error::usage(format!(
                    "the text has {} bytes, and the kernel passes no line of more than {LONGEST_CANONICAL} to a \
                     program that reads whole lines",
                    line.len()
                ))
                .hint("write the text to a file, and send the program the file's name"));
            }
            check_no_tab(line)?;
            return Ok((false, screen));
        }
        // For a short line, typing it shows whether the program wants brackets, unless the first character is
        // typed alone.
        let mut screen = screen;
        let is_asked = text.contains(['\n', '\t']) || text.len() > PIECE || self.prompts.ready.is_none();
        for _ in 0..BRACKETS_TRIES {
            if screen.bracketed.is_none() && is_asked {
                screen = self.input.read_screen_and_brackets()?;
            }
        }
        if is_asked && screen.bracketed != Some(true) {
            let why = match screen.bracketed {
                Some(_) => "the program has not requested bracketed paste: each line break would be an Enter",
                None => {
                    "tmux does not report whether the program has requested bracketed paste while its screen changes"
                }
            };
            only_line(text, why)?;
            check_no_tab(text)?;
        }
        // tmux adds brackets only if the program has requested them.
        Ok((screen.bracketed != Some(false), screen))
    }

    /// Types the text, and waits until it is where the program reads and the screen is at rest.
    ///
    /// # Errors
    /// [`Kind::NotShown`] if the text does not appear.
    fn type_text(
        &self,
        text: &str,
        typed: &TypedText,
        bracketed: bool,
        mode: Mode,
        screen: &Screen,
    ) -> Result<Shown> {
        if !mode.canonical && !bracketed {
            return self.type_keys(text, screen);
        }
        let (before, pasted) = self.paste(text, bracketed, screen)?;
        let least_rest = || {
            let is_paste = before.bracketed == Some(true) || self.input.wrote_brackets(&pasted);
            match is_paste {
                true if text.len() > SHORT || text.contains('\n') => REST_AFTER_LONG,
                true if before.is_in_box() => REST_IN_BOX,
                false if !mode.canonical => REST_AFTER_KEYS,
                _ => LEAST_REST,
            }
        };
        match self.wait_until_shown(typed, least_rest, &before)? {
            Some(shown) => Ok(shown),
            None => Err(self.take_back(&before, "the text did not appear where the program reads")),
        }
    }

    /// Types the text as keys, for a program that reads single keys, in pieces: each piece must appear before
    /// forge types the next, so that a dialog that appears in between cannot take a part of the text
    /// unnoticed. The first piece is one character, which does the least harm to a program that reads no
    /// text.
    ///
    /// # Errors
    /// [`Kind::NotShown`] if a piece does not appear; [`Kind::Usage`] if the text cannot be typed as keys.
    fn type_keys(&self, text: &str, screen: &Screen) -> Result<Shown> {
        if text.starts_with(char::is_whitespace) {
            return Err(Error::usage(
                "the text begins with white space, and the program may take that for a key",
            )
            .hint("remove it; '--key Space' presses the key; '--blind' types without a check"));
        }
        let mut shown: Option<Shown> = None;
        let (mut typed_bytes, mut progress) = (0, Deadline::after(SHOW_PROGRESS));
        for (piece, is_last) in pieces(text, PIECE) {
            if progress.passed() {
                journal::progress!("typed {typed_bytes} of {} bytes into {}", text.len(), self.id);
                progress = Deadline::after(PROGRESS_AGAIN);
            }
            let Some(typed) = TypedText::new(piece) else {
                return Err(Error::usage(
                    "the text has characters that a screen does not show, and the program reads single keys",
                )
                .hint("remove them; '--blind' types without a check"));
            };
            let (before, _) = match &shown {
                None => self.paste(piece, false, screen)?,
                Some(shown) => self.paste_after(piece, &shown.screen)?,
            };
            let rest = || if is_last { REST_AFTER_KEYS } else { Duration::ZERO };
            shown = Some(self.wait_until_shown(&typed, rest, &before)?.ok_or_else(|| {
                self.not_shown_error(&if shown.is_none() {
                    format!(
                        "the first character of the text, '{piece}', was typed and did not appear, so the program may \
                         have taken it for a key; the rest was not typed"
                    )
                } else {
                    "a part of the text was typed and did not appear where the program reads".to_owned()
                })
            })?);
            typed_bytes += piece.len();
        }
        Ok(shown.unwrap_or_else(|| Shown { screen: screen.clone(), took: Duration::ZERO }))
    }

    /// Pastes the text while the pane still shows `screen`, and returns the screen at that moment. If the
    /// pane has changed, the new screen must pass the same checks as the first one.
    ///
    /// # Errors
    /// [`Kind::NotShown`] if the screen keeps changing for 3 seconds; otherwise as for the checks.
    pub(super) fn paste(&self, text: &str, bracketed: bool, screen: &Screen) -> Result<(Screen, Pasted)> {
        self.paste_when(text, bracketed, screen, "nothing was typed", |now| {
            let now = self.wait_until_ready(now)?;
            self.check_input(&now)?;
            Ok(now)
        })
    }

    /// Pastes a further piece of a text, while the earlier pieces are still before the cursor.
    fn paste_after(&self, text: &str, shown: &Screen) -> Result<(Screen, Pasted)> {
        const WHAT: &str = "only a part of the text was typed";
        self.paste_when(text, false, shown, WHAT, |now| {
            if now.before_cursor() == shown.before_cursor() {
                Ok(now)
            } else {
                Err(self.not_shown_error(WHAT))
            }
        })
    }

    fn paste_when(
        &self,
        text: &str,
        bracketed: bool,
        screen: &Screen,
        what: &str,
        may_type: impl Fn(Screen) -> Result<Screen>,
    ) -> Result<(Screen, Pasted)> {
        let deadline = Deadline::after(UNSTEADY);
        let mut screen = screen.clone();
        loop {
            self.discard_output();
            if let Some(pasted) = self.input.paste(text, bracketed, Some(&screen))? {
                return Ok((screen, pasted));
            }
            let now = self.input.read_screen()?;
            self.check_takes_keys(&now, what)?;
            screen = may_type(now)?;
            if deadline.passed() {
                return Err(self.not_shown_error(&format!("the screen keeps changing, so {what}")));
            }
        }
    }
}
