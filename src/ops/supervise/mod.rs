//! The supervisor of one session: the main process of `forge-spawn@.service`.
//!
//! The supervisor starts the session, or adopts a running one. Then it waits for events from the kernel: the
//! end of a process, an out-of-memory kill, a signal. When the run ends, the supervisor exits, and its exit
//! status decides whether systemd starts another supervisor after a pause. A supervisor therefore lives as
//! long as one run of its session, and a killed supervisor loses nothing.

mod activity;
pub mod client;
pub mod missed_stop;
mod question;
mod session_watch;
mod silence;
mod start;
pub mod supervisor_exited;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use super::Context;
use crate::agents::conversations::AgentHome;
use crate::config::Config;
use crate::model::error::{Error, Kind, Result};
use crate::model::event::Event;
use crate::model::internal_command::InternalCommand;
use crate::model::session::condition::{Action, Condition};
use crate::model::session::name::SessionId;
use crate::model::session::{End, EndCause, Mark};
use crate::model::supervision::{
    Breaker, Next, Record, Restart, Rules, StartOutcome, Terms, Watched, status,
};
use crate::model::unit;
use crate::model::usage::duration;
use crate::ops::session::observe::{self, ObservedSession};
use crate::ops::session::{exited as session_exited, resume, stop};
use crate::sys::clock::{Deadline, boot_us, now_us, pause};
use crate::sys::command::become_program;
use crate::sys::env::{self, Paths};
use crate::sys::process::is_alive;
use crate::sys::signals::{Signal, Signals};
use crate::sys::systemd::PendingJob;
use crate::sys::tmux::Server;
use crate::sys::{journal, sd_notify};
use session_watch::SessionWatch;

/// How long the bus or systemd may be unreachable, for instance while one of them restarts.
const UNREACHABLE: Duration = Duration::from_secs(30);

/// How long the supervisor waits for another process that works on the session, before it handles the
/// session's end.
const CLEARING_TURN: Duration = Duration::from_secs(120);

struct Supervisor {
    id: SessionId,
    /// The supervisor's own unit.
    unit: String,
    paths: Paths,
    terms: Terms,
    record: Record,
    /// The last `STATUS=` line about a wait, and until when there is no need to send the line again.
    wait_status: Option<(String, Deadline)>,
    /// Whether the journal has the end of the run.
    is_end_recorded: bool,
    /// Whether `forge poke` asked for this start, so that it makes no pause.
    is_poked: bool,
    /// SIGHUP: `forge poke` asks the supervisor to act at once.
    signals: Signals,
}

enum SupervisedRun {
    /// The session is up.
    Up(Box<Watched>),
    /// There is no run, and the supervisor exits with this status.
    Ended(u8),
}

/// Starts or adopts the session, and then executes forge again to watch the session: see [`watch`]. Where
/// there is nothing to watch, returns the exit status by which systemd decides what comes next.
///
/// # Errors
/// [`Kind::Usage`] when the caller is not the main process of the supervisor's unit; otherwise the reason why
/// the session did not start. systemd then tries again.
pub fn supervise(context: &Context, config_file: Option<PathBuf>, id: &SessionId) -> Result<u8> {
    let unit = unit::service(id);
    if !sd_notify::is_main_process_of(&unit) {
        return Err(Error::usage(format!("only systemd starts a supervisor, as {unit}"))
            .hint(format!("systemctl --user start {unit}")));
    }
    let (rules, breaker) = (rules(&context.config, id), Breaker { burst: 0, interval: Duration::ZERO });
    let record = context.store.record(id).ok().flatten().unwrap_or_default();
    let mut supervisor =
        Supervisor::new(context, id, Terms { config_file, rules, breaker, restarts: 0 }, record)?;
    let up = supervisor.with_manager(&context.config, Supervisor::start_or_adopt);
    match up.or_else(|error| supervisor.did_not_start(context, error))? {
        SupervisedRun::Up(watched) => {
            sd_notify::ready(&watch::status_line(&watched, Condition::Healthy));
            supervisor.execute_watch(context, *watched)
        }
        SupervisedRun::Ended(status) => {
            if status == status::OVER {
                // systemd calls the end of a unit that never reported READY=1 a failure ('protocol'), and
                // another supervisor would start the session again.
                sd_notify::ready(&format!("{id} is over"));
            }
            Ok(status)
        }
    }
}

/// Watches the run that a supervisor has started or adopted. Returns the exit status by which systemd decides
/// what comes next.
///
/// # Errors
/// [`Kind::Usage`] when the supervisor's record names no run; otherwise the reason why the supervisor could
/// not handle the end of the run. systemd then starts another supervisor, which handles the end.
pub fn watch(context: &Context, id: &SessionId) -> Result<u8> {
    let record = context.store.record(id)?.unwrap_or_default();
    let watched = record
        .watched
        .clone()
        .ok_or_else(|| Error::usage("the supervisor's record names no run to watch"))?;
    let mut supervisor = Supervisor::new(context, id, watched.terms.clone(), record)?;
    let watch = session_watch(context, id, watched);
    supervisor.watch(context, watch)
}

/// The run with the patterns of the session, as `forge send` and `forge list` use them, and with its agent; without
/// them where the specification cannot be read.
fn session_watch(context: &Context, id: &SessionId, watched: Watched) -> SessionWatch {
    let spec = context.store.spec(id).ok().flatten();
    let agent = spec.as_ref().and_then(|spec| AgentHome::of_session(spec, &context.paths.home));
    SessionWatch::new(watched, spec.map(|spec| spec.prompts()).unwrap_or_default(), agent.as_ref())
}

/// The configured supervision rules of the session.
fn rules(config: &Config, id: &SessionId) -> Rules {
    config.sessions.get(id).cloned().unwrap_or_default().rules()
}

impl Supervisor {
    /// Blocks SIGHUP, so call this before any other thread starts.
    fn new(context: &Context, id: &SessionId, terms: Terms, record: Record) -> Result<Self> {
        Ok(Self {
            id: id.clone(),
            unit: unit::service(id),
            paths: context.paths.clone(),
            terms,
            record,
            wait_status: None,
            is_end_recorded: false,
            is_poked: false,
            signals: Signals::block(&[Signal::SIGHUP])?,
        })
    }

    /// Does work that needs systemd, over a connection of its own: a supervisor keeps no connection while
    /// nothing happens. If the connection is lost, forge makes a new one and repeats the work from the start,
    /// which is safe because the work begins by reading the current state.
    ///
    /// # Errors
    /// [`Kind::Bus`] when systemd is unreachable for 30 seconds; otherwise the error of the work.
    fn with_manager<T>(
        &mut self,
        config: &Config,
        work: impl Fn(&mut Self, &Context) -> Result<T>,
    ) -> Result<T> {
        let deadline = Deadline::after(UNREACHABLE);
        loop {
            let context = Context::new(self.paths.clone(), config.clone());
            match work(self, &context) {
                Err(error) if error.kind == Kind::Bus && !deadline.passed() => {
                    tracing::debug!("{error}; trying again");
                    // No event reports that the bus is back.
                    pause(Duration::from_millis(100));
                }
                other => return other,
            }
        }
    }

    /// Executes forge again, to watch the session. The memory for the bus and the configuration is freed that
    /// way, so that an idle supervisor is as small as possible. The process stays the same, and runs the new
    /// program after an upgrade.
    ///
    /// If that fails, for instance because the disk is full, this process watches the session.
    fn execute_watch(&mut self, context: &Context, watched: Watched) -> Result<u8> {
        let watched = Watched { terms: self.terms.clone(), ..watched };
        self.record.watched = Some(watched.clone());
        let command = InternalCommand::SuperviseWatch { session: self.id.to_string() }.words();
        let arguments: Vec<&str> = ["forge"].into_iter().chain(command.iter().map(String::as_str)).collect();
        let written = context.store.write_record(&self.id, &self.record);
        let executed = written.and_then(|()| become_program(&env::forge()?, &arguments));
        tracing::debug!("could not execute forge again: {executed:?}");
        self.watch(context, session_watch(context, &self.id, watched))
    }

    fn write_record(&self, context: &Context) {
        // Without the record the next supervisor knows less. The session is not affected.
        if let Err(error) = context.store.write_record(&self.id, &self.record) {
            tracing::debug!("{error}");
        }
    }

    /// Records that the session did not start, and decides whether systemd tries again.
    ///
    /// # Errors
    /// The error itself, where systemd is to try again or the configuration is wrong.
    fn did_not_start(&mut self, context: &Context, error: Error) -> Result<SupervisedRun> {
        let first_line = error.first_line().to_owned();
        sd_notify::status(&first_line);
        self.record.running_wall_us = None;
        self.record.started = Some(StartOutcome::Failed {
            kind: error.kind.word().to_owned(),
            message: error.message.clone(),
            hint: error.hint.clone(),
        });
        let again = self.count_failure(first_line);
        self.write_record(context);
        // Configuration errors have an exit status of their own, on which the unit does not restart.
        if again || matches!(error.kind, Kind::Config | Kind::Usage) {
            return Err(error);
        }
        Ok(SupervisedRun::Ended(status::FOR_GOOD))
    }

    /// Counts a failure. Returns whether systemd may start the session again.
    fn count_failure(&mut self, error: String) -> bool {
        if self.terms.rules.restart == Restart::Never {
            self.record.failure = Some(error);
            return false;
        }
        let (now, breaker) = (boot_us(), self.terms.breaker);
        // Failures that left the window never count again.
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

    /// Handles the end of the watched run. Returns the supervisor's exit status.
    fn ended(&mut self, watch: &mut SessionWatch, cause: Option<EndCause>, oom: bool) -> Result<u8> {
        sd_notify::feed_watchdog();
        let oom = watch.record_oom_kills(&self.id) || oom;
        let mark = watch.watched.mark.clone();
        self.with_manager(&Config::default(), |this, context| this.handle_end(context, &mark, cause, oom))
    }

    fn handle_end(
        &mut self,
        context: &Context,
        mark: &Mark,
        cause: Option<EndCause>,
        oom: bool,
    ) -> Result<u8> {
        // `forge stop` holds this lock until it has recorded the stop. Wait for it; otherwise a stop would
        // look like a crash.
        let _turn = match session_exited::clearing_turn_without_spawn(
            context,
            &self.id,
            Deadline::after(CLEARING_TURN),
        ) {
            // The next supervisor finds the result.
            Err(error) if error.kind == Kind::Deadline => return Ok(status::FAILED),
            turn => turn?,
        };
        sd_notify::feed_watchdog();
        let manager = context.manager()?;
        // systemd stops this service, or shuts down: the session did not end by itself.
        if manager.asked(&self.unit)? != PendingJob::Nothing || manager.is_going_down() {
            return Ok(status::OVER);
        }
        let is_forgotten = context.store.spec(&self.id).is_ok_and(|spec| spec.is_none());
        let found = observe::one(context, &self.id)?.filter(|found| found.has_body);
        if is_forgotten && found.is_none() {
            // `forge stop` ended the session and removed its specification.
            self.record.running_wall_us = None;
            self.write_record(context);
            return Ok(status::OVER);
        }
        if found.as_ref().and_then(|found| found.mark.as_ref()).is_some_and(|other| other != mark) {
            // Another process has started the session again: the next supervisor adopts that run.
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
            // The session recovered while this supervisor waited for the lock. The next supervisor adopts it.
            return Ok(status::FAILED);
        }
        let end = end_of_run(&self.id, mark, cause, oom);
        let status = self.conclude(context, found.as_ref(), Some(mark), &end)?.unwrap_or(status::FAILED);
        // Without the specification forge cannot start the same session again.
        Ok(if is_forgotten { status::FOR_GOOD } else { status })
    }

    /// Records the end of a run, ends its remaining processes, and decides what comes next. Returns the
    /// supervisor's exit status; `None` where the session failed and is started again.
    ///
    /// # Errors
    /// Those of [`stop::clear`], and of the store.
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
        if !self.is_end_recorded {
            // Record it once, even if the bus is lost below and this function runs again.
            self.is_end_recorded = true;
            let (cgroup, config_file) = (found.map(|found| &found.cgroup), self.terms.config_file.as_deref());
            if let Err(error) = session_exited::record_end(context, &self.id, cgroup, &end, config_file) {
                tracing::debug!("{error}");
            }
        }
        if let Some(mark) = mark {
            log_failure(resume::remember_last(context, &self.id, mark.program()));
        }
        if let Some(found) = found.filter(|_| !stays) {
            sd_notify::status(&format!("{}; ending the remaining processes", end.words()));
            stop::clear(context, std::slice::from_ref(found), stop::TIMEOUT)?;
        }
        self.record.running_wall_us = None;
        sd_notify::status(&format!("{} ended with {}", self.id, end.words()));
        let status = match next {
            Next::Again if !self.count_failure(end.words()) => Some(status::FOR_GOOD),
            Next::Again if clean => Some(status::AGAIN),
            Next::Again => None,
            Next::Over | Next::Failed => {
                stop::mark_over(context, &self.id)?;
                self.record.failure = (next == Next::Failed).then(|| end.words());
                Some(if next == Next::Over { status::OVER } else { status::FOR_GOOD })
            }
        };
        // A poke that came while the run was ending counts for the next supervisor.
        self.record.poked = self.signals.next().is_some();
        self.write_record(context);
        Ok(status)
    }
}

/// Logs why something could not be remembered. The session is not affected.
fn log_failure(result: Result<()>) {
    if let Err(error) = result {
        tracing::debug!("{error}");
    }
}

/// The end of the run, as far as forge can know it.
fn end_of_run(id: &SessionId, mark: &Mark, cause: Option<EndCause>, oom: bool) -> End {
    let unknown = |cause| End::unknown(mark.since_us, now_us(), cause);
    if cause.is_some() {
        return unknown(cause);
    }
    if !is_alive(mark.server()) {
        // A systemd that does not know OOMPolicy= for scopes ends the complete scope after one such kill.
        return unknown(Some(if oom { EndCause::OutOfMemory } else { EndCause::ServerEnded }));
    }
    let reported = session_exited::query_end(id, mark, 0);
    // If such a kill ends a pane's scope, systemd sends SIGTERM to the other processes of the scope.
    let killed = [Signal::SIGKILL, Signal::SIGTERM].map(|signal| Some(signal as i32));
    match reported.ok() {
        Some(end) if oom && killed.contains(&end.signal) => End { cause: Some(EndCause::OutOfMemory), ..end },
        Some(end) => end,
        // tmux ended meanwhile, or does not answer.
        None => unknown(None),
    }
}
