//! How a supervisor comes by its session: it adopts the one that runs, or starts one.

use std::os::fd::AsFd;
use std::time::Duration;

use super::silence::last_output_us;
use super::{SupervisedRun, Supervisor, how_it_ended};
use crate::model::error::{Error, Kind, Result};
use crate::model::event::Event;
use crate::model::session::condition::{Action, Condition};
use crate::model::session::name::SessionId;
use crate::model::session::spec::{Keeper, Spec};
use crate::model::session::{End, EndCause, Mark, State};
use crate::model::supervision::{DELAYS, Delays, StartOutcome, Watched, status};
use crate::ops::Context;
use crate::ops::session::observe::{self, ObservedSession};
use crate::ops::session::resume::resumption;
use crate::ops::session::spawn::order::{SpawnMode, SpawnOrder};
use crate::ops::session::spawn::{Spawned, spawn};
use crate::ops::session::{exited, specify, stop};
use crate::sys::cgroup::Cgroup;
use crate::sys::clock::{Deadline, boot_us, now_us};
use crate::sys::poll::readable;
use crate::sys::store::Claim;
use crate::sys::tmux::Server;
use crate::sys::{env, journal, sd_notify};

/// How long another forge may be starting or ending the session: a prompt may come up slowly.
const OTHERS: Duration = Duration::from_secs(3600);

/// How long somebody else may take to clear the session.
const CLEARING: Duration = Duration::from_secs(60);

/// How often what has no event is looked at.
const STEP: Duration = Duration::from_millis(100);

/// How much longer than its prompt a start may take.
const BESIDE_THE_PROMPT: Duration = Duration::from_secs(120);

impl Supervisor {
    /// Comes by the session, whatever there is of it.
    pub(super) fn come_up(&mut self, context: &Context) -> Result<SupervisedRun> {
        let service = context.manager()?.service(&self.unit)?;
        (self.terms.breaker, self.terms.restarts) = (service.breaker, service.restarts);
        if self.terms.restarts == 0 {
            // Somebody started it: what was before is forgiven, also by the manager, which counts the
            // starts that people ask for as well.
            if !std::mem::take(&mut self.record.poked) {
                self.record.failures_boot_us.clear();
            }
            context.manager()?.reset_failed(&self.unit)?;
        }
        // The manager's count says so too, until somebody has it forget failures.
        let by_itself = self.record.by_itself || self.terms.restarts > 0;
        let remains = match self.look_for_it(context)? {
            Some(found) if !is_ended(&found) => return self.adopt(context, &found),
            remains => remains,
        };
        if !by_itself {
            keep_what_people_opened(&self.id, remains.as_ref())?;
        }
        let turn = match remains {
            Some(_) => Some(context.store.clearing_turn(&self.id, Deadline::after(CLEARING))?),
            None => None,
        };
        if by_itself && let Some(since_us) = self.record.running_wall_us {
            // The last supervisor did not live to see the end.
            if let Some(status) = self.conclude_for_another(context, remains.as_ref(), since_us)? {
                return Ok(SupervisedRun::Ended(status));
            }
        } else if let Some(found) = remains {
            stop::clear(context, &[found], stop::TIMEOUT)?;
        }
        drop(turn);
        self.start(context, (!service.pause_grows).then_some(service.restart_pause))
    }

    /// What there is of the session, once nobody else is starting or ending it.
    fn look_for_it(&mut self, context: &Context) -> Result<Option<ObservedSession>> {
        let deadline = Deadline::after(OTHERS);
        loop {
            let found = observe::one(context, &self.id)?.filter(|found| found.has_body);
            let state = match &found {
                Some(found) if found.condition.action() == Action::Wait => found.state(),
                // Whoever asked for it has the name until the manager has the job.
                None if context.store.is_claimed(&self.id) => State::Starting,
                _ => return Ok(found),
            };
            let state = state.word();
            if deadline.passed() {
                return Err(Error::new(Kind::Deadline, format!("{} is still {state}", self.id)));
            }
            self.wait(&format!("waits: {} is {state}", self.id));
        }
    }

    /// Waits a moment for what has no event; says for what, and that it takes longer. Not each time:
    /// a hundred that wait would keep the manager busy with nothing else.
    fn wait(&mut self, status: &str) {
        if !self.told.as_ref().is_some_and(|(told, until)| told == status && !until.passed()) {
            sd_notify::extend_start(BESIDE_THE_PROMPT);
            sd_notify::status(status);
            self.told = Some((status.to_owned(), Deadline::after(BESIDE_THE_PROMPT / 4)));
        }
        self.wait_or_poke(Deadline::after(STEP));
    }

    /// Waits, at most until somebody wants it to act now.
    fn wait_or_poke(&self, deadline: Deadline) {
        if readable(&[self.signals.as_fd()], deadline)[0] {
            self.signals.next();
        }
    }

    /// Takes over a session that is alive.
    fn adopt(&mut self, context: &Context, found: &ObservedSession) -> Result<SupervisedRun> {
        // One that cannot be read is no reason to leave the session alone.
        let spec = context.store.spec(&self.id).ok().flatten();
        if spec.as_ref().is_some_and(|spec| spec.keeper == Keeper::Caller) {
            return Err(Error::usage(format!(
                "{} runs under 'forge run', and whoever called that keeps it",
                self.id
            ))
            .hint(format!("'forge stop {}' ends it first", self.id)));
        }
        if let Some(spec) = &spec {
            context.store.change_spec(spec, |spec| spec.keeper = Keeper::Supervisor)?;
        }
        let mark = found.mark()?.clone();
        let (server_pid, pane_pid) = (mark.server_pid, mark.pane_pid);
        journal::record(&Event::Adopted { session: self.id.clone(), server_pid, pane_pid });
        if self.terms.restarts > 0 {
            // Only supervisors ended, and that is no failure of the session.
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
            // It was watched before: how long it was silent, and what was told, still counts.
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
        }
    }

    /// Records the end of a run that no supervisor saw.
    fn conclude_for_another(
        &mut self,
        context: &Context,
        remains: Option<&ObservedSession>,
        since_us: u64,
    ) -> Result<Option<u8>> {
        let mark = remains.and_then(|found| found.mark.as_ref()).filter(|mark| mark.up);
        let end = match mark {
            Some(mark) => how_it_ended(&self.id, mark, None, false),
            None if since_us == 0 => return self.conclude_start(context, remains),
            None => End::unknown(since_us, now_us(), Some(EndCause::ServerEnded)),
        };
        self.conclude(context, remains, mark, &end)
    }

    /// Clears up after a start whose supervisor was killed.
    fn conclude_start(&mut self, context: &Context, remains: Option<&ObservedSession>) -> Result<Option<u8>> {
        if let Some(found) = remains {
            stop::clear(context, std::slice::from_ref(found), stop::TIMEOUT)?;
        }
        self.record.running_wall_us = None;
        let again = self.is_tried_again("a start that was cut short".to_owned());
        self.write_record(context);
        Ok((!again).then_some(status::FOR_GOOD))
    }

    /// Starts the session, when it is its turn. The manager has made that pause.
    fn start(&mut self, context: &Context, paused: Option<Duration>) -> Result<SupervisedRun> {
        self.is_end_told = false;
        if let Some(paused) = paused {
            self.pause_before_restart(paused);
        }
        let turn = self.turn(context)?;
        let spec = self.spec(context)?;
        let resumption = resumption(&context.paths.home, &context.store, &spec);
        let (spec, argv) = (resumption.recorded_in(spec), &resumption.argv);
        sd_notify::extend_start(Duration::from_secs(spec.ready_timeout_s).saturating_add(BESIDE_THE_PROMPT));
        sd_notify::status(&format!("starts {}", argv.name()));
        self.record.running_wall_us = Some(0);
        self.write_record(context);
        let spawned = spawn(context, SpawnOrder { spec: &spec, argv, mode: SpawnMode::Supervised })?;
        drop(turn);
        if self.terms.restarts > 0 {
            let why = self.record.failure.clone().unwrap_or_else(|| "an end that nobody saw".to_owned());
            journal::record(&Event::Restarted { session: self.id.clone(), why });
        }
        (self.record.running_wall_us, self.record.by_itself) = (Some(spawned.since_us), false);
        self.record.started = Some(StartOutcome::Up(value(&spawned)));
        self.write_record(context);
        let found = observe::one(context, &self.id)?;
        let Some(ObservedSession { mark: Some(mark), cgroup, .. }) = found else {
            return Err(Error::new(Kind::Ended, format!("{} ended as soon as it was up", self.id)));
        };
        Ok(SupervisedRun::Up(Box::new(self.watched(mark, &cgroup, argv.name().to_owned()))))
    }

    /// The rest of the pause before a restart: the manager's is as long as the first each time.
    fn pause_before_restart(&mut self, paused: Duration) {
        if self.terms.restarts == 0 {
            return;
        }
        let whole = Delays { first: paused, ..DELAYS }.before(self.terms.restarts);
        let deadline = Deadline::after(whole.saturating_sub(paused));
        if deadline.passed() {
            return;
        }
        sd_notify::extend_start(whole.saturating_add(BESIDE_THE_PROMPT));
        sd_notify::status(&format!("waits {} s before restart {}", whole.as_secs(), self.terms.restarts));
        self.wait_or_poke(deadline);
    }

    /// Waits for one of the turns in which sessions are started.
    fn turn(&mut self, context: &Context) -> Result<Claim> {
        let turns = context.config.restore.concurrency;
        loop {
            if let Some(turn) = context.store.starting_turn(turns)? {
                return Ok(turn);
            }
            // Each that has a turn has a deadline for its start.
            self.wait(&format!("waits for its turn: {turns} are started at a time"));
        }
    }

    /// What is to be started: as it is configured, where it is; else as it was asked for; else what
    /// `forge spawn` starts by that name.
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

/// Refuses to end a session that stays, although its program ended, for the sake of what a person
/// opened in it.
fn keep_what_people_opened(id: &SessionId, remains: Option<&ObservedSession>) -> Result<()> {
    let Some(found) = remains.filter(|found| found.condition == Condition::ProgramEnded) else {
        return Ok(());
    };
    let mark = found.mark()?;
    if exited::has_other_panes(&Server::new(&env::tmux()?, &mark.socket)).unwrap_or(false) {
        return Err(Error::usage(format!("the program of {id} ended, and other panes are open in it")).hint(
            format!("'forge attach {id}' shows them; 'forge restart {id}' ends them and starts it again"),
        ));
    }
    Ok(())
}

/// Whether nothing of it is worth keeping.
fn is_ended(found: &ObservedSession) -> bool {
    matches!(found.condition.action(), Action::Restart | Action::Clear)
}

fn value(spawned: &Spawned) -> serde_json::Value {
    serde_json::to_value(spawned).unwrap_or_default()
}
