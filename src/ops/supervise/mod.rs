//! The supervisor of one session: the main process of `forge-spawn@.service`.
//!
//! It starts the session, or adopts the one that runs; then it waits for what the kernel tells: the
//! end of a process, an out-of-memory kill, a signal. What comes of an end it decides and says by
//! its exit status: the manager starts it again, after a pause, or not. So a supervisor lives as
//! long as one run of its session, and one that is killed has lost nothing.

pub mod client;
pub mod exited;
mod question;
mod silence;
mod start;
mod watch;
mod watched;

use std::path::PathBuf;
use std::time::Duration;

use super::Context;
use crate::config::Config;
use crate::model::error::{Error, Kind, Result};
use crate::model::event::Event;
use crate::model::internal_command::InternalCommand;
use crate::model::screen::prompts::Prompts;
use crate::model::session::condition::{Action, Condition};
use crate::model::session::name::SessionId;
use crate::model::session::{End, EndCause, Mark};
use crate::model::supervision::{
    Breaker, Next, Record, Restart, Rules, StartOutcome, Terms, Watched, status,
};
use crate::model::unit;
use crate::model::usage::duration;
use crate::ops::session::observe::{self, ObservedSession};
use crate::ops::session::{exited as session_exited, stop};
use crate::sys::clock::{Deadline, boot_us, now_us, pause};
use crate::sys::command::become_program;
use crate::sys::env::{self, Paths};
use crate::sys::process::is_alive;
use crate::sys::signals::{Signal, Signals};
use crate::sys::systemd::PendingJob;
use crate::sys::tmux::Server;
use crate::sys::{journal, sd_notify};
use watched::SessionWatch;

/// How long the bus or the manager may be away, as while one of them is started anew.
const AWAY: Duration = Duration::from_secs(30);

/// How long somebody else may be at work on the session before its end is looked at.
const OTHERS: Duration = Duration::from_secs(120);

/// A supervisor at work.
struct Supervisor {
    id: SessionId,
    /// Its own unit.
    unit: String,
    paths: Paths,
    terms: Terms,
    record: Record,
    /// What it waits for, as the manager was told, and until when that is enough.
    told: Option<(String, Deadline)>,
    /// Whether the journal has the end of the run.
    is_end_told: bool,
    /// SIGHUP: it is to look at once.
    signals: Signals,
}

/// Whether there is a run.
enum SupervisedRun {
    /// There is, and this is what to watch.
    Up(Box<Watched>),
    /// There is none; with that exit status the supervisor ends.
    Ended(u8),
}

/// Comes by the session, and then executes itself anew to watch it: see [`watch`]. Returns the exit
/// status that tells the manager what comes next, where there is nothing to watch.
///
/// # Errors
/// When the session does not start: the manager tries again.
pub fn supervise(context: &Context, config_file: Option<PathBuf>, id: &SessionId) -> Result<u8> {
    let unit = unit::service(id);
    if !sd_notify::is_main_process_of(&unit) {
        return Err(Error::usage(format!("a supervisor is started by systemd, as {unit}"))
            .hint(format!("systemctl --user start {unit}")));
    }
    let (rules, breaker) = (rules(&context.config, id), Breaker { burst: 0, interval: Duration::ZERO });
    let record = context.store.record(id).ok().flatten().unwrap_or_default();
    let mut supervisor =
        Supervisor::new(context, id, Terms { config_file, rules, breaker, restarts: 0 }, record)?;
    let up = supervisor.with_manager(&context.config, Supervisor::come_up);
    match up.or_else(|error| supervisor.did_not_start(context, error))? {
        SupervisedRun::Up(watched) => {
            sd_notify::ready(&watch::status_line(&watched, Condition::Healthy));
            supervisor.rest(context, *watched)
        }
        SupervisedRun::Ended(status) => {
            if status == status::OVER {
                // To a manager that was never told of a start, whatever ended before is a failure
                // ('protocol'), and another supervisor would start the session anew.
                sd_notify::ready(&format!("{id} is over"));
            }
            Ok(status)
        }
    }
}

/// Watches the run that a supervisor came by; returns the exit status that tells the manager what
/// comes next.
///
/// # Errors
/// When the end of the run cannot be dealt with: the manager starts another supervisor, which does.
pub fn watch(context: &Context, id: &SessionId) -> Result<u8> {
    let record = context.store.record(id)?.unwrap_or_default();
    let watched = record.watched.clone().ok_or_else(|| Error::usage("there is nothing to watch"))?;
    let mut supervisor = Supervisor::new(context, id, watched.terms.clone(), record)?;
    let prompts = prompts(context, id);
    supervisor.watch(context, SessionWatch::new(watched, prompts))
}

/// The patterns of the session, as `forge send` and `forge list` have them. Without a specification that
/// can be read there are none.
fn prompts(context: &Context, id: &SessionId) -> Prompts {
    context.store.spec(id).ok().flatten().map(|spec| spec.prompts()).unwrap_or_default()
}

/// How the session is configured to be supervised.
fn rules(config: &Config, id: &SessionId) -> Rules {
    config.sessions.get(id).cloned().unwrap_or_default().rules()
}

impl Supervisor {
    /// A supervisor of that session; before any other thread is started.
    fn new(context: &Context, id: &SessionId, terms: Terms, record: Record) -> Result<Self> {
        Ok(Self {
            id: id.clone(),
            unit: unit::service(id),
            paths: context.paths.clone(),
            terms,
            record,
            told: None,
            is_end_told: false,
            signals: Signals::block(&[Signal::SIGHUP])?,
        })
    }

    /// Does what needs the manager, by a connection of its own: none is kept while nothing happens.
    /// One that is lost on the way is made again, and the work done again from the start: it begins
    /// with a look at what is there.
    fn with_manager<T>(
        &mut self,
        config: &Config,
        work: impl Fn(&mut Self, &Context) -> Result<T>,
    ) -> Result<T> {
        let deadline = Deadline::after(AWAY);
        loop {
            let context = Context::new(self.paths.clone(), config.clone());
            match work(self, &context) {
                Err(error) if error.kind == Kind::Bus && !deadline.passed() => {
                    tracing::debug!("{error}; once more");
                    // Nothing tells when a bus is back.
                    pause(Duration::from_millis(100));
                }
                other => return other,
            }
        }
    }

    /// Executes itself anew, to watch: what it took to come this far (the bus, the configuration)
    /// stays behind, and a supervisor at rest is as small as can be. It is the same process, and
    /// after an upgrade the new program.
    ///
    /// Where that cannot be done, as with a full disk, it watches as it is.
    fn rest(&mut self, context: &Context, watched: Watched) -> Result<u8> {
        let watched = Watched { terms: self.terms.clone(), ..watched };
        self.record.watched = Some(watched.clone());
        let command = InternalCommand::SuperviseWatch { session: self.id.to_string() }.words();
        let arguments: Vec<&str> = ["forge"].into_iter().chain(command.iter().map(String::as_str)).collect();
        let written = context.store.write_record(&self.id, &self.record);
        let executed = written.and_then(|()| become_program(&env::forge()?, &arguments));
        tracing::debug!("it does not execute itself anew: {executed:?}");
        let prompts = prompts(context, &self.id);
        self.watch(context, SessionWatch::new(watched, prompts))
    }

    fn write_record(&self, context: &Context) {
        // Without it the next supervisor knows less, and the session is the same.
        if let Err(error) = context.store.write_record(&self.id, &self.record) {
            tracing::debug!("{error}");
        }
    }

    /// Notes that the session did not start, and decides whether that is tried again.
    fn did_not_start(&mut self, context: &Context, error: Error) -> Result<SupervisedRun> {
        let told = error.message.lines().next().unwrap_or_default().to_owned();
        sd_notify::status(&told);
        self.record.running_wall_us = None;
        self.record.started = Some(StartOutcome::Failed {
            kind: error.kind.word().to_owned(),
            message: error.message.clone(),
            hint: error.hint.clone(),
        });
        let again = self.is_tried_again(told);
        self.write_record(context);
        // What is configured wrongly has an exit status of its own, which the unit knows.
        if again || matches!(error.kind, Kind::Config | Kind::Usage) {
            return Err(error);
        }
        Ok(SupervisedRun::Ended(status::FOR_GOOD))
    }

    /// Counts a failure; says whether another start is in order.
    fn is_tried_again(&mut self, error: String) -> bool {
        if self.terms.rules.restart == Restart::Never {
            self.record.failure = Some(error);
            return false;
        }
        let (now, breaker) = (boot_us(), self.terms.breaker);
        // Those that left the window never count again.
        self.record.failures_boot_us.retain(|failure| breaker.counts(*failure, now));
        self.record.failures_boot_us.push(now);
        let is_open = breaker.is_open(&self.record.failures_boot_us, now);
        if is_open {
            let failures = self.record.failures_boot_us.len();
            let within_s = breaker.interval.as_secs();
            let session = self.id.clone();
            journal::record(&Event::BreakerOpen { session, failures, within_s, error: error.clone() });
            let within = duration(within_s);
            sd_notify::status(&format!(
                "not started again: {failures} failures within {within}; the last: {error}; 'forge restart {}' starts it",
                self.id
            ));
        }
        self.record.failure = Some(error);
        !is_open
    }

    /// Sees what comes of an end of the run that was watched.
    fn ended(&mut self, watch: &mut SessionWatch, cause: Option<EndCause>, oom: bool) -> Result<u8> {
        sd_notify::well();
        let oom = watch.record_oom_kills(&self.id) || oom;
        let mark = watch.watched.mark.clone();
        self.with_manager(&Config::default(), |this, context| this.judge(context, &mark, cause, oom))
    }

    fn judge(&mut self, context: &Context, mark: &Mark, cause: Option<EndCause>, oom: bool) -> Result<u8> {
        // Who ends the session on purpose has this turn until that is told.
        let _turn = match session_exited::clearing_turn(context, &self.id, Deadline::after(OTHERS)) {
            // The next supervisor sees what came of it.
            Err(error) if error.kind == Kind::Deadline => return Ok(status::FAILED),
            turn => turn?,
        };
        sd_notify::well();
        let manager = context.manager()?;
        // Not its own end: this service is being stopped, or everything is.
        if manager.asked(&self.unit)? != PendingJob::Nothing || manager.is_going_down() {
            return Ok(status::OVER);
        }
        let is_forgotten = context.store.spec(&self.id).is_ok_and(|spec| spec.is_none());
        let found = observe::one(context, &self.id)?.filter(|found| found.has_body);
        if is_forgotten && found.is_none() {
            // It was stopped.
            self.record.running_wall_us = None;
            self.write_record(context);
            return Ok(status::OVER);
        }
        if found.as_ref().and_then(|found| found.mark.as_ref()).is_some_and(|other| other != mark) {
            // Somebody started it otherwise: the next supervisor adopts that.
            return Ok(status::FAILED);
        }
        let condition = found.as_ref().map(|found| found.condition);
        let has_recovered = match cause {
            Some(EndCause::ServerWedged) => condition.is_some_and(|now| now != Condition::Wedged),
            Some(EndCause::Stuck) => {
                condition.is_some_and(|now| now.action() == Action::Leave && !now.can_be_stuck())
            }
            _ => false,
        };
        if has_recovered {
            // While we waited for the turn. The next supervisor adopts it.
            return Ok(status::FAILED);
        }
        let end = how_it_ended(&self.id, mark, cause, oom);
        let status = self.conclude(context, found.as_ref(), Some(mark), &end)?.unwrap_or(status::FAILED);
        // How it was started is not known: another start would be of something else.
        Ok(if is_forgotten { status::FOR_GOOD } else { status })
    }

    /// Records an end, ends what is left of the run, and decides. `None`: it is to be started again
    /// after a failure.
    fn conclude(
        &mut self,
        context: &Context,
        found: Option<&ObservedSession>,
        mark: Option<&Mark>,
        end: &End,
    ) -> Result<Option<u8>> {
        let clean = end.is_clean();
        let next = self.terms.rules.restart.after(clean);
        let stays = match (next, mark) {
            (Next::Over, Some(mark)) if is_alive(mark.server()) => {
                session_exited::session_stays(&Server::new(&env::tmux()?, &mark.socket), mark)
                    .unwrap_or(false)
            }
            _ => false,
        };
        let end = End { over: !stays, ..end.clone() };
        if !self.is_end_told {
            // Once, also where the bus goes away below, and this is done again.
            self.is_end_told = true;
            if let Err(error) =
                session_exited::record_end(context, &self.id, found.map(|found| &found.cgroup), &end)
            {
                tracing::debug!("{error}");
            }
        }
        if let Some(found) = found.filter(|_| !stays) {
            sd_notify::status(&format!("{}; ends what is left of it", end.words()));
            stop::clear(context, std::slice::from_ref(found), stop::TIMEOUT)?;
        }
        self.record.running_wall_us = None;
        let told = format!("{} ended with {}", self.id, end.words());
        sd_notify::status(&told);
        let status = match next {
            Next::Again if !self.is_tried_again(end.words()) => Some(status::FOR_GOOD),
            Next::Again if clean => Some(status::AGAIN),
            Next::Again => None,
            Next::Over | Next::Failed => {
                stop::mark_over(context, &self.id)?;
                self.record.failure = (next == Next::Failed).then(|| end.words());
                Some(if next == Next::Over { status::OVER } else { status::FOR_GOOD })
            }
        };
        self.write_record(context);
        Ok(status)
    }
}

/// How the program ended, as far as that can be told.
fn how_it_ended(id: &SessionId, mark: &Mark, cause: Option<EndCause>, oom: bool) -> End {
    let unknown = |cause| End::unknown(mark.since_us, now_us(), cause);
    if cause.is_some() {
        return unknown(cause);
    }
    if !is_alive(mark.server()) {
        // A manager that takes no OOMPolicy= ends the whole scope for one such kill.
        return unknown(Some(if oom { EndCause::OutOfMemory } else { EndCause::ServerEnded }));
    }
    let told = session_exited::query_end(id, mark, 0);
    // Where one such kill is the end of a pane's scope, the manager asks the rest of it to end.
    let killed = [Signal::SIGKILL, Signal::SIGTERM].map(|signal| Some(signal as i32));
    match told.ok() {
        Some(end) if oom && killed.contains(&end.signal) => End { cause: Some(EndCause::OutOfMemory), ..end },
        Some(end) => end,
        // It went meanwhile, or does not tell, as one that does not answer.
        None => unknown(None),
    }
}
