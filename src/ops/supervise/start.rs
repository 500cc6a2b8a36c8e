//! The start of a supervisor: it adopts the running session, or starts the session.

use std::os::fd::AsFd;
use std::time::Duration;

use super::silence::last_output_us;
use super::{SupervisedRun, Supervisor, end_of_run};
use crate::model::error::{Error, Kind, Result};
use crate::model::event::Event;
use crate::model::session::activity::EventLimit;
use crate::model::session::condition::{Action, Condition};
use crate::model::session::name::SessionId;
use crate::model::session::spec::{Keeper, Spec};
use crate::model::session::{End, EndCause, Mark, State};
use crate::model::supervision::{DELAYS, Delays, StartOutcome, Watched, status};
use crate::ops::Context;
use crate::ops::session::observe::{self, ObservedSession};
use crate::ops::session::spawn::Spawned;
use crate::ops::session::spawn::request::SpawnMode;
use crate::ops::session::start::start_again;
use crate::ops::session::{exited, specify, stop};
use crate::sys::cgroup::Cgroup;
use crate::sys::clock::{Deadline, boot_us, now_us};
use crate::sys::poll::readable;
use crate::sys::store::Claim;
use crate::sys::tmux::Server;
use crate::sys::{env, journal, sd_notify};

/// How long another forge may take to start or end the session. A prompt may appear slowly.
const OTHER_FORGE: Duration = Duration::from_secs(3600);

/// How long another process may take to clear the session.
const CLEARING: Duration = Duration::from_secs(60);

/// The time between two checks of states that no event reports.
const POLL: Duration = Duration::from_millis(100);

/// The time that a start may take in addition to the time for its prompt.
const BESIDE_THE_PROMPT: Duration = Duration::from_secs(120);

impl Supervisor {
    /// Adopts the session, or starts it after clearing the remains of the last run.
    ///
    /// # Errors
    /// [`Kind::Deadline`] when another forge starts or ends the session for an hour, or clears it for a
    /// minute; [`Kind::Usage`] when the session belongs to `forge run`, or a person uses other panes of it;
    /// otherwise the reason why the session did not start.
    pub(super) fn start_or_adopt(&mut self, context: &Context) -> Result<SupervisedRun> {
        let service = context.manager()?.service(&self.unit)?;
        (self.terms.breaker, self.terms.restarts) = (service.breaker, service.restarts);
        self.is_poked = std::mem::take(&mut self.record.poked);
        if self.terms.restarts == 0 {
            // systemd did not restart the supervisor by itself: a user or the boot started it. forge clears the
            // earlier failures, except after a poke. It resets systemd's count, too, because systemd counts such
            // starts towards StartLimitBurst=.
            if !self.is_poked {
                self.record.failures_boot_us.clear();
                self.record.failure = None;
            }
            context.manager()?.reset_failed(&self.unit)?;
        }
        // NRestarts= shows the same, until a user clears it with `systemctl reset-failed`.
        let by_itself = self.record.by_itself || self.terms.restarts > 0;
        let remains = match self.wait_for_others(context)? {
            Some(found) if !is_ended(&found) => return self.adopt(context, &found),
            remains => remains,
        };
        if !by_itself {
            refuse_if_panes_are_open(&self.id, remains.as_ref())?;
        }
        let turn = match remains {
            Some(_) => Some(context.store.clearing_turn(&self.id, Deadline::after(CLEARING))?),
            None => None,
        };
        if by_itself && let Some(since_us) = self.record.running_wall_us {
            // The last supervisor was killed before it recorded the end.
            if let Some(status) = self.conclude_unseen_end(context, remains.as_ref(), since_us)? {
                return Ok(SupervisedRun::Ended(status));
            }
        } else if let Some(found) = remains {
            stop::clear(context, &[found], stop::TIMEOUT)?;
        }
        drop(turn);
        self.start(context, (!service.pause_grows).then_some(service.restart_pause))
    }

    /// Waits until no other forge starts or ends the session. Returns the session as it is then.
    fn wait_for_others(&mut self, context: &Context) -> Result<Option<ObservedSession>> {
        let deadline = Deadline::after(OTHER_FORGE);
        loop {
            let found = observe::one(context, &self.id)?.filter(|found| found.has_body);
            let state = match &found {
                Some(found) if found.condition.action() == Action::Wait => found.state(),
                // The forge that starts the session claims its name until systemd has the job.
                None if context.store.is_claimed(&self.id) => State::Starting,
                _ => return Ok(found),
            };
            let state = state.word();
            if deadline.passed() {
                return Err(Error::new(Kind::Deadline, format!("{} is still {state}", self.id)));
            }
            self.wait(&format!("waiting: {} is {state}", self.id));
        }
    }

    /// Waits for [`POLL`]. Sends `STATUS=` and a longer start timeout to systemd, but not at each call: a
    /// hundred waiting supervisors would keep systemd busy with nothing else.
    fn wait(&mut self, status: &str) {
        if !self.wait_status.as_ref().is_some_and(|(sent, until)| sent == status && !until.passed()) {
            sd_notify::extend_start(BESIDE_THE_PROMPT);
            sd_notify::status(status);
            self.wait_status = Some((status.to_owned(), Deadline::after(BESIDE_THE_PROMPT / 4)));
        }
        self.wait_or_poke(Deadline::after(POLL));
    }

    /// Waits until the deadline, or until `forge poke` asks the supervisor to act.
    fn wait_or_poke(&self, deadline: Deadline) {
        if readable(&[self.signals.as_fd()], deadline)[0] {
            self.signals.next();
        }
    }

    /// Takes over a running session.
    fn adopt(&mut self, context: &Context, found: &ObservedSession) -> Result<SupervisedRun> {
        // Adopt the session even if its specification cannot be read.
        let spec = context.store.spec(&self.id).ok().flatten();
        if spec.as_ref().is_some_and(|spec| spec.keeper == Keeper::Caller) {
            return Err(Error::usage(format!("{} belongs to the 'forge run' that started it", self.id))
                .hint(format!("'forge stop {}' ends it first", self.id)));
        }
        if let Some(spec) = &spec {
            context.store.change_spec(spec, |spec| spec.keeper = Keeper::Supervisor)?;
        }
        let mark = found.mark()?.clone();
        let (server_pid, pane_pid) = (mark.server_pid, mark.pane_pid);
        journal::record(&Event::Adopted { session: self.id.clone(), server_pid, pane_pid });
        if self.terms.restarts > 0 {
            // Supervisors ended, but the session did not: clear the failures.
            context.manager()?.reset_failed(&self.unit)?;
        }
        (self.record.running_wall_us, self.record.by_itself) = (Some(mark.since_us), false);
        self.record.started = Some(StartOutcome::Up(value(&Spawned::of(&self.id, &mark))));
        self.write_record(context);
        let program = spec.map(|spec| spec.command.name().to_owned()).unwrap_or_default();
        Ok(SupervisedRun::Up(Box::new(self.watched(mark, &found.cgroup, program))))
    }

    fn watched(&self, mark: Mark, cgroup: &Cgroup, program: String) -> Watched {
        let now = boot_us();
        if let Some(known) = self.record.watched.as_ref().filter(|known| known.mark == mark) {
            // An earlier supervisor watched this run: its silence and its reports still count.
            return known.with_terms(&self.terms, now);
        }
        Watched {
            checked_boot_us: now,
            booted_wall_us: now_us().saturating_sub(now),
            output_wall_us: last_output_us(&mark),
            cpu_usec: cgroup.cpu_usec().unwrap_or(0),
            mark,
            cgroup: cgroup.control_group(),
            program,
            terms: self.terms.clone(),
            since_boot_us: now,
            wedged_boot_us: None,
            sign_boot_us: now,
            reported: false,
            nudged: false,
            screen: None,
            asked: None,
            notice_boot_us: None,
            matched_report: None,
            seen: None,
            events: EventLimit::default(),
        }
    }

    /// Records the end of a run whose supervisor was killed.
    fn conclude_unseen_end(
        &mut self,
        context: &Context,
        remains: Option<&ObservedSession>,
        since_us: u64,
    ) -> Result<Option<u8>> {
        let mark = remains.and_then(|found| found.mark.as_ref()).filter(|mark| mark.up);
        let end = match mark {
            Some(mark) => end_of_run(&self.id, mark, None, false),
            None if since_us == 0 => return self.conclude_cut_start(context, remains),
            None => End::unknown(since_us, now_us(), Some(EndCause::ServerEnded)),
        };
        self.conclude(context, remains, mark, &end)
    }

    /// Clears the remains of a start whose supervisor was killed.
    fn conclude_cut_start(
        &mut self,
        context: &Context,
        remains: Option<&ObservedSession>,
    ) -> Result<Option<u8>> {
        if let Some(found) = remains {
            stop::clear(context, std::slice::from_ref(found), stop::TIMEOUT)?;
        }
        self.record.running_wall_us = None;
        let again = self.count_failure("its supervisor was killed during the start".to_owned());
        self.write_record(context);
        Ok((!again).then_some(status::FOR_GOOD))
    }

    /// Starts the session in its turn. `paused` is the pause that systemd has made already.
    ///
    /// # Errors
    /// Those of [`spawn`]; [`Kind::Ended`] when the session ended right after its start.
    fn start(&mut self, context: &Context, paused: Option<Duration>) -> Result<SupervisedRun> {
        self.is_end_recorded = false;
        if let Some(paused) = paused {
            self.pause_before_restart(paused);
        }
        let turn = self.wait_for_turn(context)?;
        let spec = self.spec(context)?;
        sd_notify::extend_start(Duration::from_secs(spec.ready_timeout_s).saturating_add(BESIDE_THE_PROMPT));
        sd_notify::status(&format!("starting {}", spec.command.name()));
        self.record.running_wall_us = Some(0);
        self.write_record(context);
        let spawned = start_again(context, &spec, SpawnMode::Supervised)?;
        drop(turn);
        if self.terms.restarts > 0 {
            let why =
                self.record.failure.clone().unwrap_or_else(|| "an end while it had no supervisor".to_owned());
            journal::record(&Event::Restarted {
                session: self.id.clone(),
                why,
                resume_id: spawned.resumed.clone(),
                fresh: spawned.fresh.clone(),
            });
        }
        (self.record.running_wall_us, self.record.by_itself) = (Some(spawned.since_us), false);
        self.record.started = Some(StartOutcome::Up(value(&spawned)));
        self.write_record(context);
        let found = observe::one(context, &self.id)?;
        let Some(ObservedSession { mark: Some(mark), cgroup, .. }) = found else {
            return Err(Error::new(Kind::Ended, format!("{} ended as soon as it was up", self.id)));
        };
        Ok(SupervisedRun::Up(Box::new(self.watched(mark, &cgroup, spec.command.name().to_owned()))))
    }

    /// Waits for the rest of the pause before a restart: systemd's own pause has the same length each time.
    fn pause_before_restart(&mut self, paused: Duration) {
        if self.terms.restarts == 0 || self.is_poked {
            return;
        }
        let total = Delays { first: paused, ..DELAYS }.before(self.terms.restarts);
        let deadline = Deadline::after(total.saturating_sub(paused));
        if deadline.passed() {
            return;
        }
        sd_notify::extend_start(total.saturating_add(BESIDE_THE_PROMPT));
        sd_notify::status(&format!("waiting {} s before restart {}", total.as_secs(), self.terms.restarts));
        self.wait_or_poke(deadline);
    }

    /// Waits for one of the locks that limit how many sessions start at a time.
    fn wait_for_turn(&mut self, context: &Context) -> Result<Claim> {
        let turns = context.config.restore.concurrency;
        loop {
            if let Some(turn) = context.store.starting_turn(turns)? {
                return Ok(turn);
            }
            // No deadline: each start that holds a lock has a deadline of its own.
            self.wait(&format!("waiting for its turn: {turns} sessions start at a time"));
        }
    }

    /// The specification to start: as configured; else as stored; else as `forge spawn` would start that
    /// name.
    fn spec(&self, context: &Context) -> Result<Spec> {
        let kept = context.store.spec(&self.id)?;
        let is_configured = context.config.sessions.contains_key(&self.id);
        let spec = match kept {
            Some(kept) if !(kept.as_configured && is_configured) => kept,
            kept => Spec {
                fresh: kept.as_ref().is_none_or(|kept| kept.fresh),
                ..specify::from_config_and_last_run(context, &self.id, kept.as_ref())?
            },
        };
        Ok(Spec { keeper: Keeper::Supervisor, over: false, ..spec })
    }
}

/// Refuses to replace a session whose program ended while a person has other panes open in it.
///
/// # Errors
/// [`Kind::Usage`] when there are other panes.
fn refuse_if_panes_are_open(id: &SessionId, remains: Option<&ObservedSession>) -> Result<()> {
    let Some(found) = remains.filter(|found| found.condition == Condition::ProgramEnded) else {
        return Ok(());
    };
    let mark = found.mark()?;
    if exited::has_other_panes(&Server::new(&env::tmux()?, &mark.socket)).unwrap_or(false) {
        return Err(Error::usage(format!(
            "the program of {id} ended, but other panes are open in the session"
        ))
        .hint(format!(
            "'forge attach {id}' shows them; 'forge restart {id}' ends them and starts the session again"
        )));
    }
    Ok(())
}

/// Whether forge may end the remaining processes of the session.
fn is_ended(found: &ObservedSession) -> bool {
    matches!(found.condition.action(), Action::Restart | Action::Clear)
}

fn value(spawned: &Spawned) -> serde_json::Value {
    serde_json::to_value(spawned).unwrap_or_default()
}
