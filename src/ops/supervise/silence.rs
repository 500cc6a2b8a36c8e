//! Signs of life of a session, and the supervisor's response to silence: report, nudge, restart.

use std::time::{Duration, SystemTime};

use super::Supervisor;
use super::session_watch::{SessionWatch, SilenceCheck};
use crate::model::error::{Error, Kind, Result};
use crate::model::event::Event;
use crate::model::screen::typing::{self, Request, Sent};
use crate::model::screen::{Screen, fold};
use crate::model::session::Mark;
use crate::model::supervision::{OUTPUT_STEP, Rules, Sign, Silence, Watched};
use crate::ops::Context;
use crate::ops::session::{observe, send};
use crate::sys::clock::{Deadline, boot_us, micros, now_us};
use crate::sys::proc::{self, last_output, stat};
use crate::sys::tmux::{ANSWER, Server};
use crate::sys::{env, journal, sd_notify, terminal};

/// A nudge or a restart waits while an attached user typed within this time.
const RECENTLY_TYPED: Duration = Duration::from_secs(120);

/// The delay of a nudge or a restart while an attached user types.
const USER_DELAY: Duration = Duration::from_secs(30);

/// The time after a nudge until the supervisor checks for its effect.
const AFTER_NUDGE: Duration = Duration::from_secs(1);

/// The shortest time between two checks, for signs that only a comparison of two checks shows.
const MIN_INTERVAL: Duration = Duration::from_millis(500);

/// A program that uses at most this share of a CPU, in thousandths, counts as idle.
const IDLE_PERMILLE: u64 = 10;

impl SessionWatch {
    /// Checks the signs that count. Returns the time since the last sign of life.
    fn update_silence(&mut self, rules: &Rules) -> Duration {
        let now = boot_us();
        let (output, cpu) = (last_output_us(&self.watched.mark), self.cgroup.cpu_usec().unwrap_or(0));
        let booted = now_us().saturating_sub(now);
        let Watched { sign_boot_us: mut sign, checked_boot_us: checked, cpu_usec: used, .. } = self.watched;
        if rules.counts(Sign::Beat) {
            let report = self.cgroup.report(&self.watched.mark).map_or(0, |report| report.at);
            sign = sign.max(self.cgroup.last_beat().unwrap_or(0).max(report).min(now));
        }
        if rules.counts(Sign::Output) && self.watched.may_have_printed(output) && self.screen_changed() {
            sign = sign.max(self.watched.output_boot_us(output, now, booted));
        }
        if rules.counts(Sign::Cpu)
            && cpu.saturating_sub(used) * 1000 > now.saturating_sub(checked) * IDLE_PERMILLE
            && !self.shows_only_the_nudge()
        {
            sign = now;
        }
        self.watched = Watched {
            sign_boot_us: sign,
            checked_boot_us: now,
            output_wall_us: output,
            cpu_usec: cpu,
            booted_wall_us: booted,
            ..self.watched.clone()
        };
        self.silence_check = SilenceCheck::default();
        Duration::from_micros(now.saturating_sub(sign))
    }

    /// Whether the screen differs from the screen at the last check. Changes of a spinner, a clock, a counter
    /// or the cursor's position do not count; scrolled lines do. Returns `true` where the screen cannot be
    /// read.
    fn screen_changed(&mut self) -> bool {
        let Ok(screen) = self.read_screen() else { return true };
        let now = Some(digest(&screen));
        std::mem::replace(&mut self.watched.screen, now) != now
    }

    /// Whether the screen is as the nudge left it, so that the nudge had no effect.
    fn shows_only_the_nudge(&self) -> bool {
        let after_nudge = self.silence_check.screen_after_nudge.as_ref();
        after_nudge.is_some_and(|left| self.read_screen().is_ok_and(|now| digest(&now) == *left))
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

/// A digest of the parts of a screen that are compared for signs of life. Lines that scrolled off the top
/// count only where the screen is full: tmux also keeps the lines of a shorter screen that its program clears
/// to draw it again.
fn digest(screen: &Screen) -> u64 {
    let last_rows = &screen.rows[screen.rows.len().saturating_sub(2)..];
    let is_full = last_rows.iter().any(|row| !row.trim().is_empty());
    let scrolled = if is_full { screen.scrolled } else { 0 };
    fold::digest(&format!("{scrolled}\n{}", fold::folded(&screen.text)))
}

/// Whether an attached user typed within [`RECENTLY_TYPED`]. Returns `true` where tmux does not answer.
fn user_types(mark: &Mark) -> bool {
    let list = ["list-clients", "-F", "#{client_activity}"];
    let answer = server(mark).and_then(|server| server.run_command(&list, Deadline::after(ANSWER)).ok());
    let now = now_us() / 1_000_000;
    answer.is_none_or(|answer| {
        // By the wall clock, which the user can set: a time in the future counts as recent, too.
        answer
            .lines()
            .filter_map(|line| line.trim().parse::<u64>().ok())
            .any(|at| now.saturating_sub(at) < RECENTLY_TYPED.as_secs())
    })
}

/// The reason why a nudge was refused, for the journal: without the part of the error that quotes the screen.
fn refusal_without_screen(error: &Error) -> String {
    if error.kind == Kind::Input {
        return "its input line already holds text".to_owned();
    }
    let line = error.first_line();
    let ends = ["; its screen is empty", ":"];
    ends.into_iter().find_map(|end| line.strip_suffix(end)).unwrap_or(line).to_owned()
}

impl Supervisor {
    /// When to check for signs of life next, in microseconds since the boot; `None` where no silence is too
    /// long, and while the program waits for its user.
    pub(super) fn silence_check_due(&self, watch: &SessionWatch) -> Option<u64> {
        let stuck_after = micros(self.terms.rules.stuck_after.filter(|_| !watch.rests())?);
        let Watched { sign_boot_us, checked_boot_us, .. } = watch.watched;
        let first_check = || {
            let ends = sign_boot_us.saturating_add(stuck_after);
            let Some(interval) = self.comparison_interval() else { return ends };
            ends.min(checked_boot_us.saturating_add(micros(interval)))
        };
        Some(watch.silence_check.due.unwrap_or_else(first_check))
    }

    /// The interval between checks for the signs that only a comparison of two checks shows: the CPU time
    /// used, and the screen without its clocks and spinners.
    fn comparison_interval(&self) -> Option<Duration> {
        let rules = &self.terms.rules;
        let needs_comparison = rules.counts(Sign::Cpu) || rules.counts(Sign::Output);
        rules.stuck_after.filter(|_| needs_comparison).map(|after| (after / 4).max(MIN_INTERVAL))
    }

    /// Checks for signs of life, and reports or nudges if the silence requires it. Returns whether the
    /// silence is so long that the run must end.
    pub(super) fn is_silent_too_long(&mut self, context: &Context, watch: &mut SessionWatch) -> bool {
        let Some(stuck_after) = self.terms.rules.stuck_after else { return false };
        if !observe::current_condition(&watch.watched.mark, &watch.cgroup).can_be_stuck() {
            // A session that is frozen or stopped on purpose is not silent.
            watch.watched.sign_boot_us = boot_us();
        }
        let mut silence = watch.update_silence(&self.terms.rules);
        if silence >= stuck_after && self.waits_for_user(context, watch) {
            (watch.watched.sign_boot_us, silence) = (boot_us(), Duration::ZERO);
        }
        if silence < stuck_after {
            (watch.watched.reported, watch.watched.nudged) = (false, false);
        }
        let missing = self.terms.rules.signs.iter().map(|sign| sign.word()).collect::<Vec<_>>().join(", ");
        if self.terms.rules.after_silence(silence, watch.watched.reported, true) == Silence::Report {
            self.record_stuck(&missing, silence, false);
            watch.watched.reported = true;
        }
        let Watched { reported, nudged, .. } = watch.watched;
        let mut wait = match self.terms.rules.after_silence(silence, reported, nudged) {
            Silence::Until(total) => total.saturating_sub(silence),
            Silence::Never | Silence::Report => stuck_after,
            Silence::Nudge | Silence::Restart if user_types(&watch.watched.mark) => USER_DELAY,
            Silence::Nudge => {
                self.nudge(context, watch);
                if self.terms.rules.counts(Sign::Output) { OUTPUT_STEP * 2 } else { AFTER_NUDGE }
            }
            Silence::Restart => {
                self.record_stuck(&missing, silence, true);
                return true;
            }
        };
        if let Some(interval) = self.comparison_interval() {
            wait = wait.min(interval);
        }
        watch.silence_check.due = Some(boot_us().saturating_add(micros(wait)));
        false
    }

    /// Types the session's nudge text into its program, if the program reads. forge nudges once for each
    /// silence, whether the nudge succeeds or not, and also across supervisors: therefore it stores the
    /// record first.
    fn nudge(&mut self, context: &Context, watch: &mut SessionWatch) {
        let Some(text) = self.terms.rules.nudge_text.clone() else { return };
        watch.watched.nudged = true;
        self.store_watched(context, watch);
        // Typing waits for the program, for a user who types, and for another forge that types.
        sd_notify::feed_watchdog();
        let outcome = match self.try_nudge(context, watch, &text) {
            Ok(sent) => Ok(sent.fate),
            // The main loop handles the end of the program.
            Err(error) if error.kind == Kind::Ended => return,
            Err(error) => Err(refusal_without_screen(&error)),
        };
        sd_notify::feed_watchdog();
        journal::record(&Event::Nudged { session: self.id.clone(), outcome });
        // The text that forge typed changes the screen and is not a sign of life.
        watch.silence_check.screen_after_nudge = watch.read_screen().ok().as_ref().map(digest);
        watch.watched.screen = watch.silence_check.screen_after_nudge.or(watch.watched.screen);
    }

    /// Types the text by the rules of `forge send`, and two stricter ones: only if a ready pattern shows that
    /// the program reads, and never into a password prompt.
    fn try_nudge(&self, context: &Context, watch: &SessionWatch, text: &str) -> Result<Sent> {
        let refused = |why| Err(Error::new(Kind::NotReady, why));
        if watch.prompts.ready.is_none() {
            return refused(
                "the session has no ready pattern, so forge cannot know whether its program reads",
            );
        }
        let mark = &watch.watched.mark;
        let terminal = stat(mark.pane_pid).and_then(|stat| proc::terminal(&stat));
        if terminal.and_then(|path| terminal::mode(&path).ok()).is_some_and(terminal::Mode::is_secret) {
            return refused("its program reads a password");
        }
        send::send(context, &self.id, mark, &Request::entry(&typing::text(text)?))
    }
}
