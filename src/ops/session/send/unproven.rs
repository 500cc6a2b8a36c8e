//! Types without the proof that the text appears: an answer to a question, Enter alone, or a secret.

use std::time::{Duration, Instant};

use super::appears::{APPEARS_WITHIN, REST_AFTER_KEYS, Shown};
use super::typist::{Typist, check_no_tab};
use crate::model::error::Result;
use crate::model::screen::typing::{Sent, TextFate, only_line};
use crate::model::screen::{Screen, TypedText};
use crate::sys::clock::{Deadline, pause};
use crate::sys::terminal::Mode;

impl Typist<'_> {
    /// Answers a question of a program that reads single keys. forge types the text without bracketed paste,
    /// because Claude Code and Codex ignore a bracketed paste in a question. If the text alone ends the question,
    /// forge does not press Enter; if the text appears on the screen, forge presses Enter after it.
    ///
    /// # Errors
    /// [`Kind::NotShown`](crate::model::error::Kind::NotShown) if the screen changed before forge typed the text, or
    /// if the question is still on the screen after 5 seconds. [`Kind::Usage`](crate::model::error::Kind::Usage) if
    /// the text has a line break or a tab.
    pub(super) fn type_answer(&self, text: &str, before: &Screen, sent: &mut Sent) -> Result<Screen> {
        only_line(text, "the program asks a question: each line break would be an Enter")?;
        check_no_tab(text)?;
        self.discard_output();
        if self.input.paste(text, false, Some(before))?.is_none() {
            return Err(self.not_shown_error("the screen changed, so nothing was typed"));
        }
        let (typed, asked) = (TypedText::new(text), self.question(before));
        let (begun, deadline) = (Instant::now(), Deadline::after(APPEARS_WITHIN));
        let mut last = before.clone();
        loop {
            let screen = self.changed_since(&last, deadline.left())?;
            if let Some(typed) = typed.as_ref().filter(|typed| typed.shows(before, &screen)) {
                let took = begun.elapsed();
                let screen = self.wait_until_at_rest(typed, REST_AFTER_KEYS, before, screen)?;
                let now = self.input.read_screen()?;
                if !self.request.enter || typed.stands_still(&screen, &now) {
                    let shown = Shown { screen, took };
                    return if self.request.enter { self.press_enter(typed, shown, sent) } else { Ok(now) };
                }
                // The key alone was the answer.
                sent.fate = TextFate::Submitted;
                return Ok(now);
            }
            // The program may ask the next question at once.
            if self.question(&screen) != asked {
                sent.fate = TextFate::Submitted;
                return Ok(screen);
            }
            if deadline.passed() {
                return Err(
                    self.not_shown_error("the text was typed, and the question is still on the screen")
                );
            }
            last = screen;
        }
    }

    /// Presses Enter alone, as for "press Enter to continue". Returns the screen.
    pub(super) fn press_bare_enter(&self, screen: Screen, sent: &mut Sent) -> Result<Screen> {
        if !self.request.enter {
            return Ok(screen);
        }
        self.discard_output();
        self.input.press("Enter")?;
        sent.attempts += 1;
        sent.fate = TextFate::Unconfirmed;
        let now = self.changed_since(&screen, Duration::from_millis(500));
        if now.as_ref().map_or(true, |now| *now != screen) {
            sent.fate = TextFate::Submitted;
        }
        Ok(now.unwrap_or(screen))
    }

    /// Types a text that the program does not show, such as a secret, or that the user wants to type without
    /// a check.
    pub(super) fn type_unseen(
        &self,
        text: &str,
        mode: Mode,
        screen: Screen,
        sent: &mut Sent,
    ) -> Result<Screen> {
        let (bracketed, screen) = self.choose_way(text, mode, screen)?;
        if !self.request.blind {
            self.paste(text, bracketed, &screen)?;
        } else if self.input.paste(text, bracketed, None)?.is_none() {
            return Err(self.ended_error());
        }
        if self.request.enter {
            if !mode.canonical {
                // No event reports that such a program has read the text.
                pause(REST_AFTER_KEYS);
            }
            self.input.press("Enter")?;
            sent.attempts += 1;
        }
        sent.fate = TextFate::Unconfirmed;
        let now = self.changed_since(&screen, Duration::from_millis(500));
        Ok(now.unwrap_or(screen))
    }
}
