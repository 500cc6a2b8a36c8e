//! One text on its way into a program: typed, seen, entered, gone.

use std::time::{Duration, Instant};

use super::{AGAIN, ROWS, Typist, mode};
use crate::hands::clock::{Deadline, pause};
use crate::hands::terminal::Mode;
use crate::hands::tmux::input::Pasted;
use crate::words::error::{Error, Kind, Result};
use crate::words::screen::{After, Look, Typed};
use crate::words::typing::{Fate, LONGEST_CANONICAL, Sent, only_line};

/// How long a text may take to appear while nothing changes, and altogether. A long one into a busy program
/// takes its time.
const APPEARS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// The screen is at rest when nothing was printed for twice the time that the text took to appear, within
/// these bounds: a program that draws slowly reads slowly.
const REST: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// A longer text than this, or one of several lines, has programs put up a sign in its place.
const SHORT: usize = 256;

/// The least rest behind such a text. (Measured: Gemini CLI 0.61.0 takes an Enter up to 100 ms behind a paste of
/// 20,000 bytes for a line break; Qwen Code 0.24.4 then submits the sign in place of the text.)
const REST_AFTER_LONG: Duration = Duration::from_millis(300);

/// The least rest behind a short paste into an input box. (Gemini CLI 0.61.0 takes an Enter within 30 ms for a line
/// break.)
const REST_IN_BOX: Duration = Duration::from_millis(150);

/// The rest before Enter is pressed once more: the first one counts as a key of the fast run, too.
const REST_BEFORE_AGAIN: Duration = Duration::from_secs(1);

/// The same behind a fast run of keys. Programs without bracketed paste tell a paste from a person by its
/// speed, and take an Enter right behind it for a line break (120 ms were seen).
const REST_AFTER_KEYS: Duration = Duration::from_millis(250);

/// A screen that does not come to rest, as one with a spinner, is waited for no longer than that.
const RESTLESS: Duration = Duration::from_millis(1500);

/// How often a program is asked whether it wants brackets, while somebody who is attached confuses the answer.
const BRACKETS_TRIES: usize = 3;

/// How long the screen may differ from the last look whenever Enter is about to be pressed.
const UNSTEADY: Duration = Duration::from_secs(3);

/// How long the text may stand in the input line after Enter: when the program has read it, and when it has
/// not.
const LEAVES: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(15));

/// How long an input box may be covered, as while a program draws its screen anew.
const COVERED: Duration = Duration::from_millis(700);

/// How long a key that empties the input line may take to show.
const EMPTIED: Duration = Duration::from_millis(500);

/// How long a text that has gone must be gone. A screen is not always drawn in one go.
const GONE: Duration = Duration::from_millis(10);

impl Typist<'_> {
    /// Types each line as an entry of its own; stops at the first that is not submitted.
    pub(super) fn lines(&self, text: &str, mut look: Look, sent: &mut Sent) -> Result<Look> {
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
    pub(super) fn entry(&self, text: &str, look: Look, sent: &mut Sent) -> Result<Look> {
        sent.bytes += text.len();
        self.check_question(&look, "nothing was typed")?;
        let is_answer = self.prompts.is_asking(&look.text);
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
        let Some(typed) = Typed::new(text) else {
            return Err(Error::usage("the text has nothing in it that a screen shows")
                .hint("'--key Space' presses a key; '--blind' types without proof"));
        };
        let (bracketed, look) = self.way(text, mode, look)?;
        let shown = self.typed(text, &typed, bracketed, mode, &look)?;
        if !self.request.enter {
            sent.fate = Fate::Typed;
            return Ok(shown);
        }
        self.entered(&typed, shown, sent)
    }

    /// The input line is empty, and the program reads.
    fn prepared(&self, mut look: Look) -> Result<Look> {
        if self.request.replace_input {
            look = self.emptied(look)?;
        } else if let Some(standing) = look.input().filter(|text| !text.is_empty() && !self.request.blind) {
            return Err(Error::new(
                Kind::Input,
                format!("'{standing}' stands in the input line of {} already; nothing was typed", self.id),
            )
            .hint("'--replace-input' empties the line first; '--blind' types all the same"));
        }
        self.ready(look)
    }

    /// Empties the input line with the keys that line editors have for it, and the kernel: Ctrl-U, and behind an
    /// empty line of several Backspace, which joins it to the line before.
    fn emptied(&self, mut look: Look) -> Result<Look> {
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
    fn way(&self, text: &str, mode: Mode, look: Look) -> Result<(bool, Look)> {
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
        // Of one line it is seen when it is typed, unless a first character is to go alone.
        let mut look = look;
        let is_asked = text.contains(['\n', '\t']) || self.prompts.ready.is_none();
        for _ in 0..BRACKETS_TRIES {
            if look.bracketed.is_none() && is_asked {
                look = self.input.look_for_brackets()?;
            }
        }
        if is_asked && look.bracketed != Some(true) {
            only_line(
                text,
                "the program has not asked for bracketed paste: each line break would be an Enter",
            )?;
            no_tab(text)?;
        }
        // One who did not ask for brackets gets none from tmux, too.
        Ok((look.bracketed != Some(false), look))
    }

    /// Types the text, and waits until it stands at rest where the program reads.
    fn typed(&self, text: &str, typed: &Typed, bracketed: bool, mode: Mode, look: &Look) -> Result<Look> {
        let (before, pasted) = if !mode.canonical && !bracketed && self.prompts.ready.is_none() {
            // The program reads single keys, and nothing says that it reads a text.
            let (before, shown, others) = self.first_alone(text, look)?;
            if others.is_empty() {
                return Ok(shown);
            }
            (before, self.paste(others, false, &shown, "only its first character was typed")?.1)
        } else {
            self.paste(text, bracketed, look, "nothing was typed")?
        };
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

    /// Types at a moment at which the pane is as it was looked at; returns that look. Where the pane changes in
    /// between, the new look must satisfy what the first one did.
    fn paste(&self, text: &str, bracketed: bool, look: &Look, what: &str) -> Result<(Look, Pasted)> {
        let deadline = Deadline::after(UNSTEADY);
        let mut look = look.clone();
        loop {
            self.take_output();
            if let Some(pasted) = self.input.paste(text, bracketed, Some(&look))? {
                return Ok((look, pasted));
            }
            look = self.input.look()?;
            self.check_takes_keys(&look, what)?;
            look = self.ready(look)?;
            if deadline.passed() {
                return Err(self.not_shown(&format!("the screen does not come to rest, so {what}")));
            }
        }
    }

    /// Types the first character alone, and waits for its echo; returns the look before it, and what follows it.
    fn first_alone<'t>(&self, text: &'t str, look: &Look) -> Result<(Look, Look, &'t str)> {
        let (first, others) = text.split_at(text.chars().next().map_or(0, char::len_utf8));
        let Some(typed) = Typed::new(first) else {
            return Err(Error::usage(
                "the text begins with a character that a screen does not show, and the program reads single keys",
            )
            .hint("leave it out; '--blind' types without proof"));
        };
        let (before, _) = self.paste(first, false, look, "nothing was typed")?;
        let rest = || if others.is_empty() { REST_AFTER_KEYS } else { REST.0 };
        let shown = self.appears(&typed, rest, &before)?.ok_or_else(|| {
            self.not_shown(&format!(
                "the first character of the text, '{first}', was typed and did not appear, so the program may have \
                 taken it for a key; the others were not typed"
            ))
        })?;
        Ok((before, shown, others))
    }

    /// Waits until the text is on the screen, and the screen at rest. `None`: it does not appear.
    fn appears(
        &self,
        typed: &Typed,
        least_rest: impl Fn() -> Duration,
        before: &Look,
    ) -> Result<Option<Look>> {
        let (start, limit) = (Instant::now(), Deadline::after(APPEARS.1));
        let (mut patience, mut again) = (Deadline::after(APPEARS.0), AGAIN.0);
        let mut last: Option<Look> = None;
        loop {
            let wrote = self.output_within(Deadline::after(again).min(patience));
            let elapsed = start.elapsed();
            let look = self.input.look()?;
            self.check_takes_keys(&look, "Enter was not pressed behind the text")?;
            if typed.shows(before, &look) {
                let rest = least_rest().max(rest_for(elapsed));
                return self.at_rest(typed, rest, before, look).map(Some);
            }
            if last.as_ref() != Some(&look) || mode(&look).unread > 0 {
                patience = Deadline::after(APPEARS.0).min(limit);
            } else if patience.passed() {
                return Ok(None);
            }
            if limit.passed() {
                return Ok(None);
            }
            last = Some(look);
            again = if wrote { AGAIN.0 } else { AGAIN.1.min(again * 2) };
        }
    }

    /// Waits until nothing is printed any more.
    fn at_rest(&self, typed: &Typed, rest: Duration, before: &Look, mut look: Look) -> Result<Look> {
        let deadline = Deadline::after(RESTLESS.max(rest));
        while self.output_within(Deadline::after(rest)) && !deadline.passed() {
            let now = self.input.look()?;
            self.check_takes_keys(&now, "Enter was not pressed behind the text")?;
            if typed.shows(before, &now) {
                look = now;
            }
        }
        Ok(look)
    }

    /// Waits before Enter is pressed once more, and until the line break is drawn.
    fn at_rest_below(&self, pressed: &Look, typed: &Typed, mut look: Look) -> Result<Look> {
        let deadline = Deadline::after(RESTLESS.max(REST_BEFORE_AGAIN));
        while self.output_within(Deadline::after(REST_BEFORE_AGAIN)) && !deadline.passed() {
            let now = self.input.look()?;
            self.check_takes_keys(&now, "Enter was not pressed once more")?;
            if typed.after(pressed, &now) == After::Broken {
                look = now;
            }
        }
        Ok(look)
    }

    /// Takes back what was typed where that is safe, and says what was done. The kernel's own line editor is safe;
    /// a program that reads single keys may take any key for something else.
    fn taken_back(&self, before: &Look, what: &str) -> Error {
        let Ok(look) = self.input.look() else { return self.ended() };
        let mode = mode(&look);
        if mode.unread > 0 {
            return Error::new(
                Kind::Deadline,
                format!(
                    "the program of {} has not read the text yet; Enter was not pressed{}",
                    self.id,
                    look.last_rows(ROWS)
                ),
            )
            .hint(format!("it may still read it: 'forge capture {}' shows the screen", self.id));
        }
        let is_back = mode.canonical && self.input.byte(mode.kill).is_ok() && {
            let now = self.changed_since(&look, EMPTIED);
            now.is_ok_and(|now| now.before_cursor() == before.before_cursor())
        };
        self.not_shown(&if is_back { format!("{what}, and was taken back") } else { what.to_owned() })
    }

    fn not_shown(&self, what: &str) -> Error {
        let rows = self.input.look().map(|look| look.last_rows(ROWS)).unwrap_or_default();
        Error::new(Kind::NotShown, format!("{what}; Enter was not pressed in {}{rows}", self.id))
            .hint("'--key' presses a single key; '--blind' types to a program that shows nothing")
    }

    /// Presses Enter behind a text that stands there, once more where the first was taken for a line break, and
    /// looks what becomes of the text.
    fn entered(&self, typed: &Typed, mut look: Look, sent: &mut Sent) -> Result<Look> {
        const MOST: u32 = 2;
        loop {
            let pressed = self.enter(typed, look)?;
            sent.attempts += 1;
            let (after, now) = self.left(typed, &pressed)?;
            let Some(now) = now else {
                // The text ended the session.
                sent.fate = Fate::Submitted;
                return Ok(pressed);
            };
            if after == After::Broken && sent.attempts < MOST {
                look = self.at_rest_below(&pressed, typed, now)?;
                continue;
            }
            let asks = !self.request.answer && self.prompts.is_asking(&now.text);
            sent.fate = match after {
                After::Left if !asks => Fate::Submitted,
                After::Left | After::Covered => Fate::Unconfirmed,
                After::Stands | After::Broken => Fate::Typed,
            };
            sent.stands_still = sent.fate == Fate::Typed;
            return Ok(now);
        }
    }

    /// Presses Enter while the text stands where it was seen; returns the look that it was pressed at.
    fn enter(&self, typed: &Typed, mut look: Look) -> Result<Look> {
        let (deadline, first) = (Deadline::after(UNSTEADY), look.clone());
        loop {
            self.check_takes_keys(&look, "Enter was not pressed behind the text")?;
            self.take_output();
            if self.input.enter_if(&look, typed.token(&look))? {
                return Ok(look);
            }
            let now = self.input.look()?;
            match typed.after(&first, &now) {
                After::Stands | After::Broken => look = now,
                // It may be drawn in a moment.
                After::Left | After::Covered => pause(AGAIN.0),
            }
            if deadline.passed() {
                return Err(
                    self.taken_back(&first, "the text was typed, and then left the place where it stood")
                );
            }
        }
    }

    /// What became of the text since Enter was pressed; without a look where the session has ended.
    fn left(&self, typed: &Typed, pressed: &Look) -> Result<(After, Option<Look>)> {
        let (soon, late) = (Deadline::after(LEAVES.0), Deadline::after(LEAVES.1));
        let mut covered = None;
        let was_canonical = mode(pressed).canonical;
        let (mut again, mut last) = (AGAIN.0, None);
        loop {
            let wrote = self.output_within(Deadline::after(again));
            let look = match self.input.look() {
                Ok(look) if !look.dead => look,
                Err(error) if error.kind == Kind::Deadline => return Err(error),
                _ => return Ok((After::Left, None)),
            };
            let after = match typed.after(pressed, &look) {
                // The kernel has passed the line on.
                After::Stands | After::Broken if was_canonical && look != *pressed => After::Left,
                after => after,
            };
            let is_sure = last == Some(after) || look.is_below(pressed);
            if [After::Left, After::Broken].contains(&after)
                && (is_sure || !self.output_within(Deadline::after(GONE)))
            {
                return Ok((after, Some(look)));
            }
            let deadline = match after {
                _ if mode(&look).unread > 0 => late,
                After::Covered => *covered.get_or_insert_with(|| Deadline::after(COVERED)),
                _ => soon,
            };
            if deadline.passed() {
                return Ok((after, Some(look)));
            }
            last = Some(after);
            again = if wrote { AGAIN.0 } else { AGAIN.1.min(again * 2) };
        }
    }

    /// Answers a question of a program that reads single keys: with the text alone where that ends the question,
    /// and with Enter behind it where it is shown. Not as a paste: Claude Code and Codex ignore one in a question.
    fn answer(&self, text: &str, before: &Look, sent: &mut Sent) -> Result<Look> {
        only_line(text, "the program asks a question: each line break would be an Enter")?;
        no_tab(text)?;
        self.take_output();
        if self.input.paste(text, false, Some(before))?.is_none() {
            return Err(self.not_shown("the screen changed, so nothing was typed"));
        }
        let typed = Typed::new(text);
        let deadline = Deadline::after(APPEARS.0);
        let mut last = before.clone();
        loop {
            let look = self.changed_since(&last, deadline.left())?;
            if !self.prompts.is_asking(&look.text) {
                sent.fate = Fate::Submitted;
                return Ok(look);
            }
            if let Some(typed) = typed.as_ref().filter(|typed| typed.shows(before, &look)) {
                let look = self.at_rest(typed, REST_AFTER_KEYS, before, look)?;
                return if self.request.enter { self.entered(typed, look, sent) } else { Ok(look) };
            }
            if deadline.passed() {
                return Err(self.not_shown("the text was typed, and the question is still there"));
            }
            last = look;
        }
    }

    /// Enter alone, as for 'press Enter to continue'.
    fn bare_enter(&self, look: Look, sent: &mut Sent) -> Result<Look> {
        if !self.request.enter {
            return Ok(look);
        }
        self.take_output();
        self.input.press("Enter")?;
        sent.attempts += 1;
        sent.fate = Fate::Unconfirmed;
        let now = self.changed_since(&look, Duration::from_millis(500));
        if now.as_ref().map_or(true, |now| *now != look) {
            sent.fate = Fate::Submitted;
        }
        Ok(now.unwrap_or(look))
    }

    /// Types what the program shows nothing of: a secret, or what is not to be proven.
    fn unseen(&self, text: &str, mode: Mode, look: Look, sent: &mut Sent) -> Result<Look> {
        let (bracketed, look) = self.way(text, mode, look)?;
        if !self.request.blind {
            self.paste(text, bracketed, &look, "nothing was typed")?;
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
        sent.fate = Fate::Unconfirmed;
        let now = self.changed_since(&look, Duration::from_millis(500));
        Ok(now.unwrap_or(look))
    }
}

/// How long nothing may be printed before the screen is at rest, where the text took that long to appear.
fn rest_for(appeared: Duration) -> Duration {
    (appeared * 2).clamp(REST.0, REST.1)
}

fn no_tab(text: &str) -> Result<()> {
    if text.contains('\t') {
        return Err(Error::usage("the text has a tab, which the program would take for a key")
            .hint("put spaces in its place; '--key Tab' presses the key"));
    }
    Ok(())
}
