//! Signs of life, and what is done when there are none.

use std::time::{Duration, SystemTime};

use super::Supervisor;
use super::watch::SessionWatch;
use crate::model::error::{Error, Kind, Result};
use crate::model::event::Event;
use crate::model::screen::typing::{self, Request, Sent};
use crate::model::screen::{Screen, fold};
use crate::model::session::Mark;
use crate::model::supervision::{OUTPUT_STEP, Rules, Sign, Silence, Watched};
use crate::ops::Context;
use crate::ops::session::{observe, send};
use crate::sys::clock::{Deadline, boot_us, micros, now_us};
use crate::sys::process::{self, last_output, stat};
use crate::sys::tmux::{ANSWER, Server};
use crate::sys::{env, journal, sd_notify, terminal};

/// Somebody attached who typed within this time is not to be disturbed.
const SOMEBODY_IS_THERE: Duration = Duration::from_secs(120);

/// How long what is due is put off where somebody is there.
const LATER: Duration = Duration::from_secs(30);

/// How soon after a nudge it may have helped.
const NUDGED: Duration = Duration::from_secs(1);

/// The shortest time between two looks for signs that are only seen between looks.
const LOOKS_APART: Duration = Duration::from_millis(500);

/// A program that uses less of a CPU than this, in thousandths, does nothing.
const IDLE: u64 = 10;

/// What comes next in the search for signs of life.
#[derive(Debug, Default)]
pub(super) struct Signs {
    /// When they are looked at next.
    due: Option<u64>,
    /// The screen as a nudge left it: what the text itself changed is no sign of life.
    nudge_left: Option<u64>,
}

impl SessionWatch {
    /// Looks at the signs that count; says how long there was none.
    fn silence(&mut self, rules: &Rules) -> Duration {
        let now = boot_us();
        let (output, cpu) = (last_output_us(&self.watched.mark), self.cgroup.cpu_usec().unwrap_or(0));
        let booted = now_us().saturating_sub(now);
        let Watched { mut sign, looked, cpu: used, .. } = self.watched;
        if rules.counts(Sign::Beat) {
            sign = sign.max(self.cgroup.last_beat().unwrap_or(0).min(now));
        }
        if rules.counts(Sign::Output) && self.watched.may_have_printed(output) && self.has_other_screen() {
            sign = sign.max(self.watched.time_of_output(output, now, booted));
        }
        if rules.counts(Sign::Cpu)
            && cpu.saturating_sub(used) * 1000 > now.saturating_sub(looked) * IDLE
            && !self.is_only_the_nudge()
        {
            sign = now;
        }
        self.watched = Watched { sign, looked: now, output, cpu, booted, ..self.watched.clone() };
        self.signs = Signs::default();
        Duration::from_micros(now.saturating_sub(sign))
    }

    /// Whether the screen shows something else than at the last look: what a spinner, a clock or a counter
    /// changes is nothing else, nor is the cursor's place; that lines scrolled is. Where nobody shows it,
    /// perhaps.
    fn has_other_screen(&mut self) -> bool {
        let Ok(look) = self.look() else { return true };
        let now = Some(digest(&look));
        std::mem::replace(&mut self.watched.screen, now) != now
    }

    /// Whether the screen is as the nudge left it, so that nothing came of it.
    fn is_only_the_nudge(&self) -> bool {
        let left = self.signs.nudge_left.as_ref();
        left.is_some_and(|left| self.look().is_ok_and(|now| digest(&now) == *left))
    }
}

/// When the program last wrote to its terminal, in microseconds since 1970.
pub(super) fn last_output_us(mark: &Mark) -> Option<u64> {
    let since = last_output(&stat(mark.pane_pid)?)?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(micros(since))
}

fn server(mark: &Mark) -> Option<Server> {
    Some(Server::new(&env::tmux().ok()?, &mark.socket))
}

/// What of a screen is compared with another for signs of life. Lines that scrolled off the top count only where
/// the screen is full: tmux also keeps the lines of a shorter one that its program clears to draw it again.
fn digest(look: &Screen) -> u64 {
    let last_rows = &look.rows[look.rows.len().saturating_sub(2)..];
    let is_full = last_rows.iter().any(|row| !row.trim().is_empty());
    let scrolled = if is_full { look.scrolled } else { 0 };
    fold::digest(&format!("{scrolled}\n{}", fold::folded(&look.text)))
}

/// Whether somebody is attached and typed not long ago. Where the server does not tell, perhaps.
fn somebody_types(mark: &Mark) -> bool {
    let list = ["list-clients", "-F", "#{client_activity}"];
    let told = server(mark).and_then(|server| server.tell(&list, Deadline::after(ANSWER)).ok());
    let now = now_us() / 1_000_000;
    told.is_none_or(|told| {
        // By the clock that people set: one that seems to come from the future is new, too.
        told.lines()
            .filter_map(|line| line.trim().parse::<u64>().ok())
            .any(|at| now.saturating_sub(at) < SOMEBODY_IS_THERE.as_secs())
    })
}

/// Why a nudge was refused, for the journal: without anything that an error shows of the screen.
fn reason(error: &Error) -> String {
    if error.kind == Kind::Input {
        return "text stands in its input line already".to_owned();
    }
    let line = error.message.lines().next().unwrap_or_default();
    let without = |line: &str, end| line.strip_suffix(end).map(str::to_owned);
    ["; on its screen:", "; its screen is empty", ":"]
        .into_iter()
        .find_map(|end| without(line, end))
        .unwrap_or_else(|| line.to_owned())
}

impl Supervisor {
    /// When the silence may have become too long.
    pub(super) fn silence_ends(&self, watch: &SessionWatch) -> Option<u64> {
        let stuck_after = micros(self.terms.rules.stuck_after?);
        let Watched { sign, looked, .. } = watch.watched;
        let first_look = || {
            let ends = sign.saturating_add(stuck_after);
            let Some(often) = self.looks_every() else { return ends };
            ends.min(looked.saturating_add(micros(often)))
        };
        Some(watch.signs.due.unwrap_or_else(first_look))
    }

    /// How often signs are looked for that are only seen between two looks: the CPU time that was used, and
    /// what a screen shows beside what ticks on it.
    fn looks_every(&self) -> Option<Duration> {
        let rules = &self.terms.rules;
        let between_looks = rules.counts(Sign::Cpu) || rules.counts(Sign::Output);
        rules.stuck_after.filter(|_| between_looks).map(|after| (after / 4).max(LOOKS_APART))
    }

    /// Looks for signs of life, and does what the silence calls for; says whether it is too long for
    /// the run to go on.
    pub(super) fn is_silent_too_long(&mut self, context: &Context, watch: &mut SessionWatch) -> bool {
        let Some(stuck_after) = self.terms.rules.stuck_after else { return false };
        if !observe::glance(&watch.watched.mark, &watch.cgroup).can_be_stuck() {
            // What stands still on purpose is not silent.
            watch.watched.sign = boot_us();
        }
        let mut silence = watch.silence(&self.terms.rules);
        if silence >= stuck_after && self.is_asking(context, watch) {
            // It waits for its user, and not the other way round.
            (watch.watched.sign, silence) = (boot_us(), Duration::ZERO);
        }
        if silence < stuck_after {
            (watch.watched.told, watch.watched.nudged) = (false, false);
        }
        let missing = self.terms.rules.signs.iter().map(|sign| sign.word()).collect::<Vec<_>>().join(", ");
        if self.terms.rules.after_silence(silence, watch.watched.told, true) == Silence::Tell {
            self.tell_stuck(&missing, silence, false);
            watch.watched.told = true;
        }
        let Watched { told, nudged, .. } = watch.watched;
        let mut wait = match self.terms.rules.after_silence(silence, told, nudged) {
            Silence::Until(whole) => whole.saturating_sub(silence),
            Silence::Never | Silence::Tell => stuck_after,
            Silence::Nudge | Silence::Restart if somebody_types(&watch.watched.mark) => LATER,
            Silence::Nudge => {
                self.nudge(context, watch);
                if self.terms.rules.counts(Sign::Output) { OUTPUT_STEP * 2 } else { NUDGED }
            }
            Silence::Restart => {
                self.tell_stuck(&missing, silence, true);
                return true;
            }
        };
        if let Some(often) = self.looks_every() {
            wait = wait.min(often);
        }
        watch.signs.due = Some(boot_us().saturating_add(micros(wait)));
        false
    }

    /// Types the session's nudge into its program, where that reads. Once for each silence, whatever comes
    /// of it, and also where the next supervisor goes on: that is why the record is written first.
    fn nudge(&mut self, context: &Context, watch: &mut SessionWatch) {
        let Some(text) = self.terms.rules.nudge_text.clone() else { return };
        watch.watched.nudged = true;
        self.keep(context, watch);
        // Typing waits for the program, for somebody who types, and for another forge that does.
        sd_notify::well();
        let outcome = match self.try_nudge(context, watch, &text) {
            Ok(sent) => Ok(sent.fate),
            // Its end is seen where that belongs.
            Err(error) if error.kind == Kind::Ended => return,
            Err(error) => Err(reason(&error)),
        };
        sd_notify::well();
        journal::record(&Event::Nudged { session: self.id.clone(), outcome });
        // What the text itself changed on the screen is no sign of life.
        watch.signs.nudge_left = watch.look().ok().as_ref().map(digest);
        watch.watched.screen = watch.signs.nudge_left.or(watch.watched.screen);
    }

    /// Types the text by the rules of `forge send`, and stricter: only where a pattern says that the program
    /// reads, and never into a password prompt.
    fn try_nudge(&self, context: &Context, watch: &SessionWatch, text: &str) -> Result<Sent> {
        let refused = |why| Err(Error::new(Kind::NotReady, why));
        if watch.prompts.ready.is_none() {
            return refused("the session has no ready pattern, so nothing says that its program reads");
        }
        let mark = &watch.watched.mark;
        let terminal = stat(mark.pane_pid).and_then(|stat| process::terminal(&stat));
        if terminal.and_then(|path| terminal::mode(&path).ok()).is_some_and(terminal::Mode::is_secret) {
            return refused("its program reads a password");
        }
        send::send(context, &self.id, mark, &Request::entry(&typing::text(text)?))
    }
}
