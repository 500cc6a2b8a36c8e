//! A supervisor at rest: it sleeps until the kernel tells of something, or the watchdog wants to
//! hear of it.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::poll::PollFlags;
use nix::sys::signal::Signal;

use super::question::Questions;
use super::silence::Signs;
use super::{Supervisor, rules};
use crate::config::{self, Config};
use crate::model::error::Result;
use crate::model::event::Event;
use crate::model::screen::prompts::Prompts;
use crate::model::session::condition::{Action, Condition};
use crate::model::session::name::SessionId;
use crate::model::session::{EndCause, Mark};
use crate::model::supervision::{Watched, status};
use crate::model::usage;
use crate::ops::Context;
use crate::ops::session::{heal, observe};
use crate::sys::cgroup::{Cgroup, OomKills};
use crate::sys::clock::{Deadline, boot_us, local, micros, now_us};
use crate::sys::process::{Process, ready};
use crate::sys::signals::Signals;
use crate::sys::{journal, sd_notify};

/// How often the session is looked at where the manager has no watchdog.
pub(super) const LOOK: Duration = Duration::from_secs(90);

/// How long a run is to last for its failures to be forgiven where the unit has no window.
const SETTLED: Duration = Duration::from_secs(600);

/// How soon after an out-of-memory kill the end of a killed program is that kill's.
const KILLED: Duration = Duration::from_secs(2);

/// A run that is watched.
#[derive(Debug)]
pub(super) struct SessionWatch {
    pub(super) watched: Watched,
    pub(super) cgroup: Cgroup,
    oom: Option<OomKills>,
    pub(super) signs: Signs,
    pub(super) prompts: Prompts,
    pub(super) questions: Option<Questions>,
}

impl SessionWatch {
    pub(super) fn new(watched: Watched, prompts: Prompts) -> Self {
        let cgroup = Cgroup::new(&watched.cgroup);
        Self {
            oom: cgroup.watch_oom_kills(),
            signs: Signs::default(),
            questions: Questions::of(&prompts, &watched.mark),
            prompts,
            watched,
            cgroup,
        }
    }

    /// What the kernel is asked to tell of the session beside ends and signals: kills for want of memory,
    /// and changes of the terminal.
    fn more_fds(&self) -> [Option<(BorrowedFd<'_>, PollFlags)>; 2] {
        let questions = self.questions.as_ref().filter(|questions| questions.waits());
        let terminal = questions.and_then(|questions| questions.terminal.as_ref());
        [
            self.oom.as_ref().map(|oom| (oom.as_fd(), PollFlags::POLLPRI)),
            terminal.map(|terminal| (terminal.as_fd(), PollFlags::POLLIN)),
        ]
    }

    /// Tells of out-of-memory kills; says whether there were any.
    pub(super) fn note_oom(&mut self, session: &SessionId) -> bool {
        let kills = self.oom.as_mut().map_or(0, OomKills::take);
        if kills > 0 {
            let limit = self.cgroup.memory_max();
            journal::record(&Event::Oom { session: session.clone(), kills, limit });
        }
        kills > 0
    }
}

/// How a run is, in one line.
pub(super) fn told(watched: &Watched, condition: Condition) -> String {
    let Watched { mark: Mark { pane_pid, since_us, .. }, program, .. } = watched;
    let (state, since) = (condition.state().word(), local(*since_us));
    let age = usage::duration(now_us().saturating_sub(*since_us) / 1_000_000);
    format!("{state}: {program} is process {pane_pid}, up since {since}, {age}")
}

impl Supervisor {
    /// Watches a run to its end; returns the exit status for the manager.
    pub(super) fn watch(&mut self, context: &Context, mut watch: SessionWatch) -> Result<u8> {
        // From here on an end has to be told; before, to be killed is the same.
        let stops = Signals::take_over(&[Signal::SIGTERM, Signal::SIGINT])?;
        let mark = &watch.watched.mark;
        let (Some(program), Some(server)) = (
            Process::open_that(mark.pane_pid, mark.pane_start)?,
            Process::open_that(mark.server_pid, mark.server_start)?,
        ) else {
            stops.give_back();
            return self.ended(&mut watch, None, false);
        };
        let period = micros(sd_notify::watchdog().map_or(LOOK, |period| period / 2));
        let mut next_look = 0;
        let mut last_oom = None;
        loop {
            let now = boot_us();
            if now >= next_look || self.patience_ends(&watch).is_some_and(|at| now >= at) {
                next_look = now + period;
                sd_notify::well();
                let condition = self.look(&mut watch);
                if condition == Condition::Wedged && self.patience_ends(&watch).is_some_and(|at| now >= at) {
                    stops.give_back();
                    self.tell_stuck("server", self.terms.rules.patience().unwrap_or_default(), true);
                    return self.ended(&mut watch, Some(EndCause::ServerWedged), false);
                }
                // A look at a server that does not answer takes its time.
                sd_notify::well();
                sd_notify::status(&told(&watch.watched, condition));
            }
            if self.settled_at(&watch).is_some_and(|at| now >= at) {
                self.settle(&mut watch);
                return self.rest(context, watch.watched);
            }
            if self.silence_ends(&watch).is_some_and(|at| now >= at)
                && self.is_silent_too_long(context, &mut watch)
            {
                stops.give_back();
                return self.ended(&mut watch, Some(EndCause::Stuck), false);
            }
            self.look_for_question(context, &mut watch);
            if watch.watched.notice_due().is_some_and(|at| now >= at) && self.send_notice(context, &mut watch)
            {
                return self.rest(context, watch.watched);
            }

            let timers = [
                self.settled_at(&watch),
                self.patience_ends(&watch),
                self.silence_ends(&watch),
                watch.questions.as_ref().and_then(Questions::due),
                watch.watched.notice_due(),
            ];
            let next = timers.into_iter().flatten().fold(next_look, u64::min);
            let mut fds = vec![
                (program.as_fd(), PollFlags::POLLIN),
                (server.as_fd(), PollFlags::POLLIN),
                (self.signals.as_fd(), PollFlags::POLLIN),
                (stops.as_fd(), PollFlags::POLLIN),
            ];
            let more = watch.more_fds();
            let more_at = [fds.len(), fds.len() + usize::from(more[0].is_some())];
            let more_at = [0, 1].map(|n| more[n].is_some().then_some(more_at[n]));
            fds.extend(more.into_iter().flatten());
            let came = ready(&fds, Deadline::at_boot_us(next));
            let [oom, terminal] = more_at.map(|at| at.is_some_and(|at| came[at]));
            if came[3] {
                sd_notify::stopping("ends on request");
                // Nobody who did not ask systemd to stop it wants the session unwatched.
                return Ok(status::AGAIN);
            }
            if oom && watch.note_oom(&self.id) {
                last_oom = Some(boot_us());
            }
            if came[0] || came[1] {
                stops.give_back();
                let oom = last_oom.is_some_and(|at| boot_us() - at < micros(KILLED));
                return self.ended(&mut watch, None, oom);
            }
            if terminal {
                watch.questions.iter_mut().for_each(Questions::terminal_changed);
            }
            if came[2] && self.signals.next().is_some() {
                return self.reload(context, watch);
            }
        }
    }

    /// Reads the configuration again, and looks. One that cannot be used changes nothing.
    fn reload(&mut self, context: &Context, mut watch: SessionWatch) -> Result<u8> {
        sd_notify::reloading();
        if let Ok(config) = config::load(&self.paths.config, self.terms.config_file.as_deref()) {
            self.terms.rules = rules(&config, &self.id);
            watch.watched = watch.watched.under(&self.terms, boot_us());
            self.take_over_patterns(context, &config);
        }
        let condition = self.look(&mut watch);
        sd_notify::ready(&told(&watch.watched, condition));
        self.rest(context, watch.watched)
    }

    /// Has the patterns count from now on that are configured now, for a session that is as configured.
    fn take_over_patterns(&self, context: &Context, config: &Config) {
        let spec = context.store.spec(&self.id).ok().flatten().filter(|spec| spec.as_configured);
        let (Some(spec), Some(session)) = (spec, config.sessions.get(&self.id)) else { return };
        let Prompts { ready, not_ready, asking } = session.prompts();
        let changed = context.store.change_spec(&spec, |spec| {
            (spec.ready, spec.not_ready, spec.asking) = (ready, not_ready, asking);
        });
        if let Err(error) = changed {
            tracing::debug!("{error}");
        }
    }

    /// Looks at the session, without the manager, and heals what can be.
    fn look(&mut self, watch: &mut SessionWatch) -> Condition {
        let mark = &watch.watched.mark;
        heal::unnoticed_end(mark);
        let condition = observe::glance(mark, &watch.cgroup);
        if condition.action() == Action::Heal {
            heal::heal(&self.id, mark);
        }
        if condition.action() != Action::RestartLate {
            watch.watched.wedged = None;
        } else if watch.watched.wedged.is_none() {
            watch.watched.wedged = Some(boot_us());
            self.tell_stuck("server", Duration::ZERO, false);
        }
        condition
    }

    pub(super) fn tell_stuck(&self, missing: &str, silent: Duration, restarted: bool) {
        journal::record(&Event::Stuck {
            session: self.id.clone(),
            missing: missing.to_owned(),
            silent_s: silent.as_secs(),
            restarted,
        });
    }

    /// When a server that does not answer has had its time.
    fn patience_ends(&self, watch: &SessionWatch) -> Option<u64> {
        Some(watch.watched.wedged?.saturating_add(micros(self.terms.rules.patience()?)))
    }

    /// When a run has lasted long enough for its failures to be forgiven.
    fn settled_at(&self, watch: &SessionWatch) -> Option<u64> {
        let has_history = self.terms.restarts > 0 || !self.record.failures.is_empty();
        // Where there is no window, pauses are still to become short again.
        let interval = Some(self.terms.breaker.interval).filter(|interval| !interval.is_zero());
        has_history.then(|| watch.watched.since.saturating_add(micros(interval.unwrap_or(SETTLED))))
    }

    /// Forgives what failed before.
    fn settle(&mut self, watch: &mut SessionWatch) {
        let done = self.with_manager(&Config::default(), |this, context| {
            context.manager()?.reset_failed(&this.unit)?;
            this.record.failures.clear();
            this.record.failure = None;
            Ok(())
        });
        match done {
            Ok(()) => self.terms.restarts = 0,
            // In a while, then.
            Err(_) => watch.watched.since = boot_us(),
        }
    }
}
