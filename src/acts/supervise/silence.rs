//! Signs of life, and what is done when there are none.

use std::time::{Duration, SystemTime};

use super::Supervisor;
use super::watch::Watch;
use crate::acts::{World, observe, send};
use crate::hands::clock::{Deadline, boot_us, micros, now_us};
use crate::hands::process::{last_output, stat};
use crate::hands::tmux::{ANSWER, Server};
use crate::hands::{journal, paths};
use crate::words::event::Event;
use crate::words::session::Mark;
use crate::words::supervision::{OUTPUT_STEP, Rules, Sign, Silence, Watched};
use crate::words::typing::Request;

/// Somebody attached who typed within this time is not to be disturbed.
const SOMEBODY_IS_THERE: Duration = Duration::from_secs(120);

/// How long what is due is put off where somebody is there.
const LATER: Duration = Duration::from_secs(30);

/// How soon after a nudge it may have helped.
const NUDGED: Duration = Duration::from_secs(1);

/// A program that uses less of a CPU than this, in thousandths, does nothing.
const IDLE: u64 = 10;

/// What comes next in the search for signs of life.
#[derive(Debug, Default)]
pub(super) struct Signs {
    /// When they are looked at next.
    due: Option<u64>,
    /// The screen as a nudge left it: what the text itself changed is no sign of life.
    nudge_left: Option<String>,
}

impl Watch {
    /// Looks at the signs that count; says how long there was none.
    fn silence(&mut self, rules: &Rules) -> Duration {
        let now = boot_us();
        let (output, cpu) = (last_output_us(&self.watched.mark), self.cgroup.cpu_usec().unwrap_or(0));
        let booted = now_us().saturating_sub(now);
        let Watched { mut sign, looked, output: before, cpu: used, .. } = self.watched;
        if rules.counts(Sign::Beat) {
            sign = sign.max(self.cgroup.last_beat().unwrap_or(0).min(now));
        }
        if !self.is_only_the_nudge() {
            if rules.counts(Sign::Output) && output != before {
                sign = sign.max(self.watched.time_of_output(output, now, booted));
            }
            if rules.counts(Sign::Cpu) && cpu.saturating_sub(used) * 1000 > now.saturating_sub(looked) * IDLE
            {
                sign = now;
            }
        }
        self.watched = Watched { sign, looked: now, output, cpu, booted, ..self.watched.clone() };
        self.signs = Signs::default();
        Duration::from_micros(now.saturating_sub(sign))
    }

    /// Whether the screen is as the nudge left it, so that nothing came of it.
    fn is_only_the_nudge(&self) -> bool {
        let left = self.signs.nudge_left.as_ref();
        left.is_some_and(|left| screen(&self.watched.mark).is_some_and(|now| now == *left))
    }
}

/// When the program last wrote to its terminal, in microseconds since 1970.
pub(super) fn last_output_us(mark: &Mark) -> Option<u64> {
    let since = last_output(&stat(mark.pane_pid)?)?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(micros(since))
}

fn server(mark: &Mark) -> Option<Server> {
    Some(Server::new(&paths::tmux().ok()?, &mark.socket))
}

fn screen(mark: &Mark) -> Option<String> {
    server(mark)?.glance(&mark.pane, Deadline::after(ANSWER)).ok()
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

impl Supervisor {
    /// When the silence may have become too long.
    pub(super) fn silence_ends(&self, watch: &Watch) -> Option<u64> {
        let stuck_after = micros(self.terms.rules.stuck_after?);
        Some(watch.signs.due.unwrap_or_else(|| watch.watched.sign.saturating_add(stuck_after)))
    }

    /// Looks for signs of life, and does what the silence calls for; says whether it is too long for
    /// the run to go on.
    pub(super) fn is_silent_too_long(&self, world: &World, watch: &mut Watch) -> bool {
        let Some(stuck_after) = self.terms.rules.stuck_after else { return false };
        if !observe::glance(&watch.watched.mark, &watch.cgroup).can_be_stuck() {
            // What stands still on purpose is not silent.
            watch.watched.sign = boot_us();
        }
        let silence = watch.silence(&self.terms.rules);
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
                self.nudge(world, watch);
                if self.terms.rules.counts(Sign::Output) { OUTPUT_STEP * 2 } else { NUDGED }
            }
            Silence::Restart => {
                self.tell_stuck(&missing, silence, true);
                return true;
            }
        };
        if self.terms.rules.counts(Sign::Cpu) {
            // What it used is only known between two looks.
            wait = wait.min(stuck_after / 4);
        }
        watch.signs.due = Some(boot_us().saturating_add(micros(wait)));
        false
    }

    fn nudge(&self, world: &World, watch: &mut Watch) {
        let Some(text) = &self.terms.rules.nudge_text else { return };
        let mark = &watch.watched.mark;
        watch.watched.nudged = true;
        match send::send(world, &self.id, mark, &Request::entry(text)) {
            Ok(sent) => {
                journal::record(&Event::Nudged { session: self.id.clone(), arrived: sent.changed });
                watch.signs.nudge_left = screen(mark);
            }
            // Its end, or the server's silence, is seen where that belongs.
            Err(error) => tracing::debug!("{error}"),
        }
    }
}
