//! The watch: what `forge-guard-watch.service` runs. It records each disturbance of the configured
//! units and tells people of it, and freezes the sessions that yield while the units are under
//! pressure.

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
use crate::model::guard::timeline::{Changed, Known, Ledger};
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

/// How often the pressure is looked at, where something may be frozen for it; nothing tells of it.
const SAMPLE: Duration = Duration::from_secs(1);

/// What happens within that time after a disturbance is told in one notice.
const TOGETHER: Duration = Duration::from_secs(3);

/// How long people may take to be told at the end: less than the service has to stop.
const TOLD: Duration = Duration::from_secs(15);

/// Watches until it is asked to end. `config_file` is the configuration that was named.
///
/// # Errors
/// When a manager cannot be reached at first.
pub fn watch(context: &Context, config_file: Option<&Path>) -> Result<()> {
    // Before any thread is there: they have what this one blocks.
    let signals = Signals::block(&[Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP])?;
    let guarded = units(context, &[], &[])?;
    if guarded.is_empty() {
        sd_notify::ready("nothing to watch: no unit is configured in [guard]");
        return Ok(());
    }
    let (looks, sight) = unit_watch::watch(&guarded)?;
    let manager = context.manager()?;
    // What an earlier watch left, which was killed.
    thaw_all(context)?;
    let mut watching = Watching {
        context,
        group: Cgroup::new(&manager.control_group()?),
        ledger: known(context, &guarded, &looks.iter().map(|look| look.witness.clone()).collect::<Vec<_>>()),
        brake: brake(context),
        gauge: Gauge::default(),
        notices: Vec::new(),
        notice_at: None,
        tellers: Vec::new(),
    };
    // What happened while nobody watched.
    for (unit, look) in guarded.iter().zip(looks) {
        watching.see(unit, look.witness);
    }
    watching.keep();
    sd_notify::ready(&watching.status());
    let mut next_sample = 0;
    // A watch that hangs is ended by systemd, and what comes after it thaws.
    let period = sd_notify::watchdog().map(|period| micros(period / 2));
    let mut next_sign = 0;
    loop {
        let timers = [
            watching.brake.is_some().then_some(next_sample),
            watching.notice_at,
            period.is_some().then_some(next_sign),
        ];
        let next = timers.into_iter().flatten().min().unwrap_or(u64::MAX);
        let came = readable(&[signals.as_fd(), sight.as_fd()], Deadline::at_boot_us(next));
        if came[1] {
            watching.take_in(sight.take());
        }
        if came[0]
            && let Some(signal) = signals.next()
        {
            if signal == Signal::SIGHUP
                && let Err(error) = config::load(&context.paths.config, config_file)
            {
                sd_notify::status(&format!(
                    "goes on as before, since the configuration cannot be used: {error}"
                ));
                continue;
            }
            thaw_all(context)?;
            watching.notify();
            watching.wait_for_notices();
            if signal == Signal::SIGHUP {
                return again(config_file);
            }
            sd_notify::stopping("ends");
            // Who stops it wants no news of the time in between.
            return context.store.write_watched(None);
        }
        let now = boot_us();
        if let Some(period) = period.filter(|_| now >= next_sign) {
            sd_notify::well();
            next_sign = now + period;
        }
        if watching.brake.is_some() && now >= next_sample {
            next_sample = now + micros(SAMPLE);
            watching.sample()?;
        }
        if watching.notice_at.is_some_and(|at| now >= at) {
            watching.notify();
        }
    }
}

/// Executes forge again, which reads the configuration and then goes on by what the last watch kept.
fn again(config_file: Option<&Path>) -> Result<()> {
    let forge = env::forge()?;
    let file = config_file.map(|file| file.to_str().ok_or_else(|| Error::failed("the path is no text")));
    let mut arguments = vec!["forge"];
    if let Some(file) = file.transpose()? {
        arguments.extend(["--config", file]);
    }
    arguments.extend(["guard", "watch"]);
    become_program(&forge, &arguments).map(|never| match never {})
}

/// The units as the last watch of this boot saw them, else as they are.
fn known(context: &Context, units: &[Guarded], now: &[UnitState]) -> Ledger {
    let kept = context.store.watched().ok().flatten();
    let kept =
        kept.filter(|kept| is_of_this_boot(kept).unwrap_or(false)).map(|kept| kept.units).unwrap_or_default();
    Ledger::new(units.iter().zip(now).map(|(unit, now)| {
        let earlier = kept.iter().find(|seen| seen.unit == *unit);
        (unit.clone(), earlier.map_or_else(|| now.clone(), |seen| seen.witness.clone()))
    }))
}

/// The brake, where something is configured to yield and the kernel measures pressure.
fn brake(context: &Context) -> Option<Brake> {
    let percent = context.config.guard.freeze_on_pressure?;
    let yields = context.config.sessions.values().any(|session| session.yields);
    (yields && psi::is_measured()).then(|| Brake::new(percent.0))
}

/// Lets run what the watch has frozen.
///
/// # Errors
/// When one stays frozen.
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
            // The others are thawed all the same.
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
    ledger: Ledger,
    brake: Option<Brake>,
    gauge: Gauge,
    /// What is to be told.
    notices: Vec<String>,
    notice_at: Option<u64>,
    /// Those who are telling it.
    tellers: Vec<JoinHandle<()>>,
}

impl Watching<'_> {
    fn status(&self) -> String {
        let units: Vec<Guarded> = self.ledger.units().iter().map(|known| known.unit.clone()).collect();
        let down: Vec<Guarded> = self
            .ledger
            .units()
            .iter()
            .filter(|known| !known.last.is_up())
            .map(|known| known.unit.clone())
            .collect();
        match down.as_slice() {
            [] => format!("watches {}", event::names(&units)),
            down => format!("watches {}; not up: {}", event::names(&units), event::names(down)),
        }
    }

    /// Takes in what the managers told.
    fn take_in(&mut self, seen: Vec<WatchEvent>) {
        let mut is_away = None;
        for seen in seen {
            match seen {
                WatchEvent::Unit { unit, witness, .. } => self.see(&unit, *witness),
                WatchEvent::Away { manager, .. } => is_away = Some(manager),
                WatchEvent::Back { .. } => is_away = None,
            }
        }
        self.keep();
        sd_notify::status(&match is_away {
            Some(manager) => format!("the {} manager, or its bus, is away", manager.word()),
            None => self.status(),
        });
    }

    /// Notes how a unit looks, and tells of a disturbance.
    fn see(&mut self, unit: &Guarded, witness: UnitState) {
        let Some(changed) = self.ledger.see(boot_us(), unit, witness) else { return };
        if !changed.change.disturbs() {
            return;
        }
        let Surroundings { sessions, commands } = surroundings::look(&self.group);
        self.notices.push(told(&changed, &sessions, &commands));
        self.notice_at.get_or_insert(boot_us() + micros(TOGETHER));
        journal::record(&Event::GuardDisturbed {
            guard: None,
            changed: Box::new(changed),
            sessions,
            commands,
        });
    }

    /// Keeps how the units are, for the next watch. Where that does not work, it compares with nothing.
    fn keep(&self) {
        let unit = |known: &Known| SnapshotUnit { unit: known.unit.clone(), witness: known.last.clone() };
        let snapshot = snapshot::of(self.ledger.units().iter().map(unit).collect());
        if let Err(error) = snapshot.and_then(|snapshot| self.context.store.write_watched(Some(&snapshot))) {
            tracing::debug!("cannot keep what the watch saw: {error}");
        }
    }

    /// Has people told, by a thread: that may take minutes.
    fn notify(&mut self) {
        self.notice_at = None;
        let lines = std::mem::take(&mut self.notices);
        let is_wanted = self.context.config.notify.is_configured();
        if lines.is_empty() || !is_wanted {
            return;
        }
        let context = self.context.reconnected();
        let notice = notify::of_disturbance(&lines);
        let told = std::thread::Builder::new()
            .name("notify".to_owned())
            .spawn(move || drop(notify::tell(&context, &notice, true)));
        self.tellers.retain(|teller| !teller.is_finished());
        match told {
            Ok(teller) => self.tellers.push(teller),
            Err(error) => tracing::debug!("cannot start a thread: {error}"),
        }
    }

    /// Waits until people are told, before this process is another or ends. A network that does not come
    /// up is not waited for.
    fn wait_for_notices(&self) {
        let deadline = Deadline::after(TOLD);
        // Threads have no wait with a deadline.
        while self.tellers.iter().any(|teller| !teller.is_finished()) && !deadline.passed() {
            pause(Duration::from_millis(20));
        }
    }

    /// Looks at the pressure on the units, and brakes.
    fn sample(&mut self) -> Result<()> {
        let units = pressure_on(self.ledger.units(), &mut self.gauge);
        let pressure = units.or_else(|| self.gauge.look(&Whose::Host));
        let percent = pressure.unwrap_or_default().highest();
        let Some(brake) = &mut self.brake else { return Ok(()) };
        match brake.judge(boot_us(), percent) {
            Some(Move::Freeze) => self.freeze(percent),
            Some(Move::Thaw) => thaw_all(self.context),
            None => Ok(()),
        }
    }

    /// Freezes the sessions that yield. What somebody thaws meanwhile runs until the next time.
    fn freeze(&mut self, percent: u64) -> Result<()> {
        // A new connection: the bus may be another one than before.
        let manager = Manager::connect()?;
        let forge = self.group.child(FORGE_SLICE);
        let yields =
            |id: &SessionId| self.context.config.sessions.get(id).is_some_and(|session| session.yields);
        // One that is being started would be given up for standing still.
        let is_to_freeze = |group: &Cgroup| group.mark().is_some_and(|mark| mark.up) && !group.is_frozen();
        let sessions: Vec<SessionId> = surroundings::look(&self.group)
            .sessions
            .into_iter()
            .filter_map(|id| SessionId::try_from(id).ok())
            .filter(|id| yields(id) && is_to_freeze(&forge.child(&unit::slice(id))))
            .collect();
        // First the note: who comes after thaws by it. Without one nothing is frozen.
        if let Err(error) = self.context.store.write_frozen(&sessions) {
            sd_notify::status(&format!("cannot freeze what yields: {error}"));
            return Ok(());
        }
        for session in &sessions {
            match manager.freeze(&unit::slice(session)) {
                Ok(()) => {
                    let subject = Subject::Session(session.clone());
                    journal::record(&Event::Frozen { subject, pressure: Some(percent) });
                }
                // It ended, or starts: the next time.
                Err(error) if error.kind == Kind::Failed => tracing::debug!("{session}: {error}"),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A disturbance for people.
fn told(changed: &Changed, sessions: &[String], commands: &[String]) -> String {
    let mut line = format!("{} {} {}", local(now_us()), changed.unit, changed.words());
    for (what, names) in [("sessions", sessions), ("guarded commands", commands)] {
        if !names.is_empty() {
            line = format!("{line}\n  {what} that ran: {}", names.join(", "));
        }
    }
    line
}
