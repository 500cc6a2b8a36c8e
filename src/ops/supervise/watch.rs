//! A supervisor that watches its session. It sleeps until the kernel reports an event, a check is due, or the
//! watchdog expects a keep-alive.

use std::os::fd::AsFd;
use std::time::Duration;

use super::session_watch::{CHECK_EVERY, QuestionWatch, SessionWatch};
use super::{Supervisor, log_failure, rules};
use crate::config::{self, Config};
use crate::model::error::Result;
use crate::model::event::Event;
use crate::model::screen::prompts::Prompts;
use crate::model::session::condition::{Action, Condition};
use crate::model::session::spec::Spec;
use crate::model::session::{EndCause, Mark};
use crate::model::supervision::{Watched, status};
use crate::model::usage;
use crate::ops::session::specify::with_agent;
use crate::ops::session::{observe, resume};
use crate::ops::{Context, heal};
use crate::sys::clock::{Deadline, boot_us, local, micros, now_us};
use crate::sys::inotify::FileWatch;
use crate::sys::poll::{Interest, ready};
use crate::sys::process::Process;
use crate::sys::signals::{Signal, Signals};
use crate::sys::{journal, sd_notify};

/// How long a run must last before forge forgives earlier failures, where the unit has no
/// `StartLimitIntervalSec=`.
const SETTLED: Duration = Duration::from_secs(600);

/// An agent has opened a new conversation this long after it created a file for it.
const OPENS_WITHIN: Duration = Duration::from_secs(1);

/// An out-of-memory kill explains a program's death if the program ended within this time after the kill.
const OOM_WINDOW: Duration = Duration::from_secs(2);

/// The state of a run in one line, for `STATUS=`.
pub(super) fn status_line(watched: &Watched, condition: Condition) -> String {
    let Watched { mark: Mark { pane_pid, since_us, .. }, program, .. } = watched;
    let (state, since) = (condition.state().word(), local(*since_us));
    let age = usage::duration(now_us().saturating_sub(*since_us) / 1_000_000);
    format!("{state}: {program} is process {pane_pid}, up since {since}, {age}")
}

impl Supervisor {
    /// Watches a run to its end. Returns the supervisor's exit status, by which systemd decides what comes
    /// next.
    pub(super) fn watch(&mut self, context: &Context, mut watch: SessionWatch) -> Result<u8> {
        // From here on the supervisor must end with a status of its own. Before, a kill by the signal was as
        // good.
        let stops = Signals::block(&[Signal::SIGTERM, Signal::SIGINT])?;
        let mark = &watch.watched.mark;
        let (Some(program), Some(server)) =
            (Process::open_that(mark.program())?, Process::open_that(mark.server())?)
        else {
            stops.unblock();
            return self.ended(&mut watch, None, false);
        };
        let period = micros(sd_notify::watchdog().map_or(CHECK_EVERY, |period| period / 2));
        let mut next_check = 0;
        let mut last_oom = None;
        loop {
            let now = boot_us();
            if now >= next_check || self.wedged_deadline(&watch).is_some_and(|at| now >= at) {
                next_check = now + period;
                sd_notify::feed_watchdog();
                let condition = self.check_and_heal(&mut watch);
                if condition == Condition::Wedged && self.wedged_deadline(&watch).is_some_and(|at| now >= at)
                {
                    stops.unblock();
                    self.record_stuck("server", self.terms.rules.patience().unwrap_or_default(), true);
                    return self.ended(&mut watch, Some(EndCause::ServerWedged), false);
                }
                // A check of a server that does not answer takes up to its deadline.
                sd_notify::feed_watchdog();
                sd_notify::status(&status_line(&watch.watched, condition));
                // The agent may have begun another conversation. No event reports that for all agents.
                self.remember_current(context, &watch);
            }
            if self.settles_at(&watch).is_some_and(|at| now >= at) {
                self.forgive_failures(&mut watch);
                return self.execute_watch(context, watch.watched);
            }
            if self.silence_check_due(&watch).is_some_and(|at| now >= at)
                && self.is_silent_too_long(context, &mut watch)
            {
                stops.unblock();
                return self.ended(&mut watch, Some(EndCause::Stuck), false);
            }
            self.check_for_question(context, &mut watch);
            if watch.watched.notice_due_boot_us().is_some_and(|at| now >= at)
                && self.send_notice(context, &mut watch)
            {
                return self.execute_watch(context, watch.watched);
            }

            let timers = [
                self.settles_at(&watch),
                self.wedged_deadline(&watch),
                self.silence_check_due(&watch),
                watch.questions.as_ref().and_then(QuestionWatch::due),
                watch.watched.notice_due_boot_us(),
            ];
            let next = timers.into_iter().flatten().fold(next_check, u64::min);
            let mut fds = vec![
                (program.as_fd(), Interest::Read),
                (server.as_fd(), Interest::Read),
                (self.signals.as_fd(), Interest::Read),
                (stops.as_fd(), Interest::Read),
            ];
            let (first, more) = (fds.len(), watch.more_fds());
            fds.extend(more.iter().flatten());
            let came = ready(&fds, Deadline::at_boot_us(next));
            let mut came_of_more = came[first..].iter();
            let [oom, terminal, reports, conversation] =
                more.map(|fd| fd.is_some() && came_of_more.next() == Some(&true));
            if came[3] {
                sd_notify::stopping("ends on request");
                // systemd does not restart a unit that it stops. If the signal came from a process, this
                // status makes systemd start another supervisor, so that the session does not stay unwatched.
                return Ok(status::AGAIN);
            }
            if oom && watch.record_oom_kills(&self.id) {
                last_oom = Some(boot_us());
            }
            if came[0] || came[1] {
                stops.unblock();
                let oom = last_oom.is_some_and(|at| boot_us() - at < micros(OOM_WINDOW));
                return self.ended(&mut watch, None, oom);
            }
            if reports {
                Self::report_came(&mut watch);
            }
            if conversation {
                watch.conversations.iter().for_each(FileWatch::drain);
                self.remember_current(context, &watch);
                // The agent may open the conversation only after it has created its file.
                next_check = next_check.min(boot_us() + micros(OPENS_WITHIN));
            }
            if terminal {
                watch.questions.iter_mut().for_each(QuestionWatch::terminal_changed);
            }
            if came[2] && self.signals.next().is_some() {
                return self.reload(context, watch);
            }
        }
    }

    /// Reads the configuration again, and checks the session. An invalid configuration changes nothing.
    fn reload(&mut self, context: &Context, mut watch: SessionWatch) -> Result<u8> {
        sd_notify::reloading();
        if let Ok(config) = config::load(&self.paths.config, self.terms.config_file.as_deref()) {
            self.terms.rules = rules(&config, &self.id);
            watch.watched = watch.watched.with_terms(&self.terms, boot_us());
            self.update_patterns(context, &config);
        }
        let condition = self.check_and_heal(&mut watch);
        sd_notify::ready(&status_line(&watch.watched, condition));
        self.execute_watch(context, watch.watched)
    }

    /// Copies the configured patterns into the specification, if the session was started as configured.
    fn update_patterns(&self, context: &Context, config: &Config) {
        let spec = context.store.spec(&self.id).ok().flatten().filter(|spec| spec.as_configured);
        let (Some(spec), Some(session)) = (spec, config.sessions.get(&self.id)) else { return };
        let Prompts { ready, not_ready, asking, working } = session.prompts();
        let agent = session.agent.clone();
        let configured = Spec { agent, ready, not_ready, asking, working, ..spec.clone() };
        let Ok(configured) = with_agent(&config.agents, configured) else { return };
        let Prompts { ready, not_ready, asking, working } = configured.prompts();
        let changed = context.store.change_spec(&spec, |spec| {
            (spec.ready, spec.not_ready) = (ready, not_ready);
            (spec.asking, spec.working) = (asking, working);
        });
        if let Err(error) = changed {
            tracing::debug!("{error}");
        }
    }

    /// Checks the session without asking systemd, and repairs what can be repaired.
    fn check_and_heal(&mut self, watch: &mut SessionWatch) -> Condition {
        let mark = &watch.watched.mark;
        heal::reap_program(mark);
        let condition = observe::current_condition(mark, &watch.cgroup);
        if condition.action() == Action::Heal {
            heal::restore_socket(&self.id, mark);
        }
        if condition.action() != Action::RestartLate {
            watch.watched.wedged_boot_us = None;
        } else if watch.watched.wedged_boot_us.is_none() {
            watch.watched.wedged_boot_us = Some(boot_us());
            self.record_stuck("server", Duration::ZERO, false);
        }
        condition
    }

    /// Records the conversation that the agent has open now.
    fn remember_current(&self, context: &Context, watch: &SessionWatch) {
        log_failure(resume::remember(context, &self.id, &watch.cgroup.processes()));
    }

    pub(super) fn record_stuck(&self, missing: &str, silent: Duration, restarted: bool) {
        journal::record(&Event::Stuck {
            session: self.id.clone(),
            missing: missing.to_owned(),
            silent_s: silent.as_secs(),
            restarted,
        });
    }

    /// When the supervisor gives up on a tmux server that does not answer, in microseconds since the boot.
    fn wedged_deadline(&self, watch: &SessionWatch) -> Option<u64> {
        Some(watch.watched.wedged_boot_us?.saturating_add(micros(self.terms.rules.patience()?)))
    }

    /// When the run has lasted long enough for forge to forgive earlier failures, in microseconds since the
    /// boot.
    fn settles_at(&self, watch: &SessionWatch) -> Option<u64> {
        let has_history = self.terms.restarts > 0 || !self.record.failures_boot_us.is_empty();
        // Without StartLimitIntervalSec=, the pauses before restarts must still become short again.
        let interval = Some(self.terms.breaker.interval).filter(|interval| !interval.is_zero());
        has_history.then(|| watch.watched.since_boot_us.saturating_add(micros(interval.unwrap_or(SETTLED))))
    }

    /// Clears the earlier failures, here and in systemd.
    fn forgive_failures(&mut self, watch: &mut SessionWatch) {
        let done = self.with_manager(&Config::default(), |this, context| {
            context.manager()?.reset_failed(&this.unit)?;
            this.record.failures_boot_us.clear();
            this.record.failure = None;
            Ok(())
        });
        match done {
            Ok(()) => self.terms.restarts = 0,
            // Try again after the same time.
            Err(_) => watch.watched.since_boot_us = boot_us(),
        }
    }
}
