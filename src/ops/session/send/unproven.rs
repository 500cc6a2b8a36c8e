//! What is typed without proof: an answer to a question, Enter alone, a secret.

use std::time::Duration;

use super::Typist;
use super::appears::{APPEARS, REST_AFTER_KEYS};
use super::text::no_tab;
use crate::model::error::Result;
use crate::model::screen::typing::{Sent, TextFate, only_line};
use crate::model::screen::{Screen, TypedText};
use crate::sys::clock::{Deadline, pause};
use crate::sys::terminal::Mode;

impl Typist<'_> {
    /// Answers a question of a program that reads single keys: with the text alone where that ends the question,
    /// and with Enter behind it where it is shown. Not as a paste: Claude Code and Codex ignore one in a question.
    pub(super) fn answer(&self, text: &str, before: &Screen, sent: &mut Sent) -> Result<Screen> {
        only_line(text, "the program asks a question: each line break would be an Enter")?;
        no_tab(text)?;
        self.take_output();
        if self.input.paste(text, false, Some(before))?.is_none() {
            return Err(self.not_shown("the screen changed, so nothing was typed"));
        }
        let (typed, asked) = (TypedText::new(text), self.question(before));
        let deadline = Deadline::after(APPEARS.0);
        let mut last = before.clone();
        loop {
            let look = self.changed_since(&last, deadline.left())?;
            if let Some(typed) = typed.as_ref().filter(|typed| typed.shows(before, &look)) {
                let shown = self.at_rest(typed, REST_AFTER_KEYS, before, look)?;
                let now = self.input.look()?;
                if !self.request.enter || typed.stands_still(&shown, &now) {
                    return if self.request.enter { self.entered(typed, shown, sent) } else { Ok(now) };
                }
                // One key was enough.
                sent.fate = TextFate::Submitted;
                return Ok(now);
            }
            // Another one may follow at once.
            if self.question(&look) != asked {
                sent.fate = TextFate::Submitted;
                return Ok(look);
            }
            if deadline.passed() {
                return Err(self.not_shown("the text was typed, and the question is still there"));
            }
            last = look;
        }
    }

    /// Enter alone, as for 'press Enter to continue'.
    pub(super) fn bare_enter(&self, look: Screen, sent: &mut Sent) -> Result<Screen> {
        if !self.request.enter {
            return Ok(look);
        }
        self.take_output();
        self.input.press("Enter")?;
        sent.attempts += 1;
        sent.fate = TextFate::Unconfirmed;
        let now = self.changed_since(&look, Duration::from_millis(500));
        if now.as_ref().map_or(true, |now| *now != look) {
            sent.fate = TextFate::Submitted;
        }
        Ok(now.unwrap_or(look))
    }

    /// Types what the program shows nothing of: a secret, or what is not to be proven.
    pub(super) fn unseen(&self, text: &str, mode: Mode, look: Screen, sent: &mut Sent) -> Result<Screen> {
        let (bracketed, look) = self.way(text, mode, look)?;
        if !self.request.blind {
            self.paste(text, bracketed, &look)?;
        } else if self.input.paste(text, bracketed, None)?.is_none() {
            return Err(self.ended());
        }
        if self.request.enter {
            if !mode.canonical {
                // Nothing tells when a program that shows nothing has read it.
                pause(REST_AFTER_KEYS);
            }
            self.input.press("Enter")?;
            sent.attempts += 1;
        }
        sent.fate = TextFate::Unconfirmed;
        let now = self.changed_since(&look, Duration::from_millis(500));
        Ok(now.unwrap_or(look))
    }
}
