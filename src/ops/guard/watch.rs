//! The guard's watch, which `forge-guard-watch.service` runs. It records each disturbance of the configured
//! units, sends notices of them, and freezes the sessions that yield while the units are under pressure.

use std::os::fd::AsFd;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use super::cleanup::thaw;
use super::snapshot::{self, is_of_this_boot};
use super::surroundings::{self, Surroundings};
use super::{pressure_on, units};
use crate::config;
use crate::model::error::{Error, Kind, Result};
use crate::model::event::{self, Event, Subject};
use crate::model::guard::pressure::{Brake, Move};
use crate::model::guard::snapshot::SnapshotUnit;
use crate::model::guard::timeline::{Changed, Known, Timeline};
use crate::model::guard::unit_state::{Guarded, UnitState};
use crate::model::session::name::SessionId;
use crate::model::unit::{self, FORGE_SLICE};
use crate::ops::Context;
use crate::ops::health::notify;
use crate::sys::cgroup::Cgroup;
use crate::sys::clock::{Deadline, boot_us, local, micros, now_us, pause};
use crate::sys::command::become_program;
use crate::sys::poll::readable;
use crate::sys::psi::{self, Gauge, Whose};
use crate::sys::signals::{Signal, Signals};
use crate::sys::systemd::Manager;
use crate::sys::systemd::unit_watch::{self, WatchEvent};
use crate::sys::{env, journal, sd_notify};

/// The time between two measurements of the pressure, where sessions yield. The kernel does not report this
/// pressure by itself.
const SAMPLE: Duration = Duration::from_secs(1);

/// One notice covers all disturbances within this time after the first.
const NOTICE_WINDOW: Duration = Duration::from_secs(3);

/// How long the watch waits at its end for notices that are being sent: less than the `TimeoutStopSec=` of
/// the service.
const SENDING: Duration = Duration::from_secs(15);

/// Watches the units until SIGTERM or SIGINT. `config_file` is the configuration file named on the command
/// line.
///
/// # Errors
/// `Kind::Bus` when a manager cannot be reached at the start; the error of a thaw when a session stays
/// frozen.
pub fn watch(context: &Context, config_file: Option<&Path>) -> Result<()> {
    // Before any thread starts: threads inherit the signals that this one blocks.
    let signals = Signals::block(&[Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP])?;
    let guarded = units(context, &[], &[])?;
    if guarded.is_empty() {
        sd_notify::ready("nothing to watch: no unit is configured in [guard]");
        return Ok(());
    }
    let (readings, unit_events) = unit_watch::watch(&guarded)?;
    let manager = context.manager()?;
    // If an earlier watch was killed, it may have left sessions frozen.
    thaw_all(context)?;
    let mut watching = Watching {
        context,
        group: Cgroup::new(&manager.control_group()?),
        timeline: last_known(
            context,
            &guarded,
            &readings.iter().map(|reading| reading.state.clone()).collect::<Vec<_>>(),
        ),
        brake: brake(context),
        gauge: Gauge::default(),
        notices: Vec::new(),
        notice_at: None,
        notice_threads: Vec::new(),
    };
    // Report the changes since the last watch.
    for (unit, reading) in guarded.iter().zip(readings) {
        watching.record_state(unit, reading.state);
    }
    watching.store_states();
    sd_notify::ready(&watching.status());
    let mut next_sample = 0;
    // systemd ends a watch that hangs, and ExecStopPost= thaws the sessions.
    let period = sd_notify::watchdog().map(|period| micros(period / 2));
    let mut next_ping = 0;
    loop {
        let timers = [
            watching.brake.is_some().then_some(next_sample),
            watching.notice_at,
            period.is_some().then_some(next_ping),
        ];
        let next = timers.into_iter().flatten().min().unwrap_or(u64::MAX);
        let came = readable(&[signals.as_fd(), unit_events.as_fd()], Deadline::at_boot_us(next));
        if came[1] {
            watching.record_events(unit_events.drain());
        }
        if came[0]
            && let Some(signal) = signals.next()
        {
            if signal == Signal::SIGHUP
                && let Err(error) = config::load(&context.paths.config, config_file)
            {
                sd_notify::status(&format!(
                    "continuing with the old configuration, because the new one is not valid: {error}"
                ));
                continue;
            }
            thaw_all(context)?;
            watching.send_notice();
            watching.wait_for_notices();
            if signal == Signal::SIGHUP {
                return execute_again(config_file);
            }
            sd_notify::stopping("stopping");
            // A user who stops the watch does not want reports of the time until its next start.
            return context.store.write_watched(None);
        }
        let now = boot_us();
        if let Some(period) = period.filter(|_| now >= next_ping) {
            sd_notify::feed_watchdog();
            next_ping = now + period;
        }
        if watching.brake.is_some() && now >= next_sample {
            next_sample = now + micros(SAMPLE);
            watching.sample()?;
        }
        if watching.notice_at.is_some_and(|at| now >= at) {
            watching.send_notice();
        }
    }
}

/// Executes forge again, which reads the configuration and compares the units with the stored states.
///
/// # Errors
/// When forge cannot be executed.
fn execute_again(config_file: Option<&Path>) -> Result<()> {
    let forge = env::forge()?;
    let file = config_file.map(|file| {
        file.to_str().ok_or_else(|| Error::failed("the path of the configuration file is not valid UTF-8"))
    });
    let mut arguments = vec!["forge"];
    if let Some(file) = file.transpose()? {
        arguments.extend(["--config", file]);
    }
    arguments.extend(["guard", "watch"]);
    become_program(&forge, &arguments).map(|never| match never {})
}

/// The units with the states that the last watch of this boot stored; otherwise with their current states.
fn last_known(context: &Context, units: &[Guarded], now: &[UnitState]) -> Timeline {
    let kept = context.store.watched().ok().flatten();
    let kept =
        kept.filter(|kept| is_of_this_boot(kept).unwrap_or(false)).map(|kept| kept.units).unwrap_or_default();
    Timeline::new(units.iter().zip(now).map(|(unit, now)| {
        let earlier = kept.iter().find(|seen| seen.unit == *unit);
        (unit.clone(), earlier.map_or_else(|| now.clone(), |seen| seen.state.clone()))
    }))
}

/// The brake, if a session is configured to yield and the kernel measures pressure.
fn brake(context: &Context) -> Option<Brake> {
    let percent = context.config.guard.freeze_on_pressure?;
    let yields = context.config.sessions.values().any(|session| session.yields);
    (yields && psi::is_measured()).then(|| Brake::new(percent.0))
}

/// Thaws all sessions that the watch has frozen.
///
/// # Errors
/// The first error of a thaw; forge thaws the other sessions all the same. `Kind::Bus` when systemd cannot be
/// reached.
pub fn thaw_all(context: &Context) -> Result<()> {
    let frozen = context.store.frozen()?;
    if frozen.is_empty() {
        return Ok(());
    }
    let forge = Cgroup::new(&Manager::connect()?.control_group()?).child(FORGE_SLICE);
    let (mut left, mut failed) = (Vec::new(), None);
    for session in frozen {
        let slice = unit::slice(&session);
        let group = forge.child(&slice);
        if group.is_freezing() {
            // After an error, thaw the others all the same.
            if let Err(error) = thaw(&slice, &group) {
                failed.get_or_insert(error);
                left.push(session);
                continue;
            }
            journal::record(&Event::Thawed { subject: Subject::Session(session) });
        }
    }
    context.store.write_frozen(&left)?;
    failed.map_or(Ok(()), Err)
}

struct Watching<'a> {
    context: &'a Context,
    /// The manager's control group.
    group: Cgroup,
    timeline: Timeline,
    brake: Option<Brake>,
    gauge: Gauge,
    /// Disturbances for the next notice, as text.
    notices: Vec<String>,
    /// When to send the next notice, in microseconds since the boot.
    notice_at: Option<u64>,
    /// The threads that are sending notices.
    notice_threads: Vec<JoinHandle<()>>,
}

impl Watching<'_> {
    fn status(&self) -> String {
        let units: Vec<Guarded> = self.timeline.units().iter().map(|known| known.unit.clone()).collect();
        let down: Vec<Guarded> = self
            .timeline
            .units()
            .iter()
            .filter(|known| !known.last.is_up())
            .map(|known| known.unit.clone())
            .collect();
        match down.as_slice() {
            [] => format!("watching {}", event::names(&units)),
            down => format!("watching {}; not up: {}", event::names(&units), event::names(down)),
        }
    }

    /// Records the events that the managers reported.
    fn record_events(&mut self, events: Vec<WatchEvent>) {
        let mut unreachable = None;
        for event in events {
            match event {
                WatchEvent::Unit { unit, state, .. } => self.record_state(&unit, *state),
                WatchEvent::Away { manager, .. } => unreachable = Some(manager),
                WatchEvent::Back { .. } => unreachable = None,
            }
        }
        self.store_states();
        sd_notify::status(&match unreachable {
            Some(manager) => format!("the {} manager, or its bus, is unreachable", manager.word()),
            None => self.status(),
        });
    }

    /// Records the state of a unit. Records a disturbance in the journal, and adds it to the next notice.
    fn record_state(&mut self, unit: &Guarded, state: UnitState) {
        let Some(changed) = self.timeline.update(boot_us(), unit, state) else { return };
        if !changed.change.disturbs() {
            return;
        }
        let Surroundings { sessions, commands } = surroundings::surroundings(&self.group);
        self.notices.push(notice_lines(&changed, &sessions, &commands));
        self.notice_at.get_or_insert(boot_us() + micros(NOTICE_WINDOW));
        journal::record(&Event::GuardDisturbed {
            guard: None,
            changed: Box::new(changed),
            sessions,
            commands,
        });
    }

    /// Stores the states of the units for the next watch. Without them, the next watch has nothing to compare
    /// with.
    fn store_states(&self) {
        let unit = |known: &Known| SnapshotUnit { unit: known.unit.clone(), state: known.last.clone() };
        let snapshot = snapshot::snapshot_of(self.timeline.units().iter().map(unit).collect());
        if let Err(error) = snapshot.and_then(|snapshot| self.context.store.write_watched(Some(&snapshot))) {
            tracing::debug!("could not store the states of the units: {error}");
        }
    }

    /// Sends a notice of the collected disturbances, in a thread, because sending may take minutes.
    fn send_notice(&mut self) {
        self.notice_at = None;
        let lines = std::mem::take(&mut self.notices);
        let is_wanted = self.context.config.notify.is_configured();
        if lines.is_empty() || !is_wanted {
            return;
        }
        let context = self.context.reconnected();
        let notice = notify::of_disturbance(&lines);
        let started = std::thread::Builder::new()
            .name("notify".to_owned())
            .spawn(move || drop(notify::send(&context, &notice, true)));
        self.notice_threads.retain(|thread| !thread.is_finished());
        match started {
            Ok(thread) => self.notice_threads.push(thread),
            Err(error) => tracing::debug!("cannot start a thread: {error}"),
        }
    }

    /// Waits for notices that are being sent, before this process ends or executes forge again; at most for
    /// [`SENDING`], since the network may be down.
    fn wait_for_notices(&self) {
        let deadline = Deadline::after(SENDING);
        // The standard library cannot wait for a thread with a deadline.
        while self.notice_threads.iter().any(|thread| !thread.is_finished()) && !deadline.passed() {
            pause(Duration::from_millis(20));
        }
    }

    /// Measures the pressure on the units, and freezes or thaws the sessions accordingly.
    fn sample(&mut self) -> Result<()> {
        let units = pressure_on(self.timeline.units(), &mut self.gauge);
        let pressure = units.or_else(|| self.gauge.sample(&Whose::Host));
        let percent = pressure.unwrap_or_default().highest();
        let Some(brake) = &mut self.brake else { return Ok(()) };
        match brake.judge(boot_us(), percent) {
            Some(Move::Freeze) => self.freeze(percent),
            Some(Move::Thaw) => thaw_all(self.context),
            None => Ok(()),
        }
    }

    /// Freezes the sessions that yield. A session that a user thaws runs until the next freeze.
    fn freeze(&mut self, percent: u64) -> Result<()> {
        // A new connection, because the bus may have restarted.
        let manager = Manager::connect()?;
        let forge = self.group.child(FORGE_SLICE);
        let yields =
            |id: &SessionId| self.context.config.sessions.get(id).is_some_and(|session| session.yields);
        // A start that is frozen would miss its deadline.
        let is_to_freeze = |group: &Cgroup| group.mark().is_some_and(|mark| mark.up) && !group.is_frozen();
        let sessions: Vec<SessionId> = surroundings::surroundings(&self.group)
            .sessions
            .into_iter()
            .filter_map(|id| SessionId::try_from(id).ok())
            .filter(|id| yields(id) && is_to_freeze(&forge.child(&unit::slice(id))))
            .collect();
        // Store the list first: ExecStopPost= and the next watch thaw by it. Freeze nothing without it.
        if let Err(error) = self.context.store.write_frozen(&sessions) {
            sd_notify::status(&format!("could not freeze the sessions that yield: {error}"));
            return Ok(());
        }
        for session in &sessions {
            match manager.freeze(&unit::slice(session)) {
                Ok(()) => {
                    let subject = Subject::Session(session.clone());
                    journal::record(&Event::Frozen { subject, pressure: Some(percent) });
                }
                // The session ended or starts: try again at the next freeze.
                Err(error) if error.kind == Kind::Failed => tracing::debug!("{session}: {error}"),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A disturbance as lines of a notice.
fn notice_lines(changed: &Changed, sessions: &[String], commands: &[String]) -> String {
    let mut line = format!("{} {} {}", local(now_us()), changed.unit, changed.words());
    for (what, names) in [("sessions", sessions), ("guarded commands", commands)] {
        if !names.is_empty() {
            line = format!("{line}\n  {what} that ran: {}", names.join(", "));
        }
    }
    line
}
