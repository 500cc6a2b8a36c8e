//! A guarded command that runs, to its end and the last look at the units.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::cleanup::{end_tree, remove, thaw};
use super::freezing::Freezing;
use super::listening::Listening;
use super::meter::Meter;
use super::order::GuardOrder;
use super::settle::{Settling, settle};
use super::surroundings::{self, Surroundings};
use crate::model::error::{Error, Result, Trying};
use crate::model::event::Event;
use crate::model::guard::cause::{Cause, Clues, cause};
use crate::model::guard::report::{Denial, GuardReport, Verdict, timeline, units};
use crate::model::guard::timeline::{Changed, Happening, Ledger};
use crate::model::guard::unit_state::{Guarded, UnitState};
use crate::model::session::{End, EndCause};
use crate::model::time::rfc3339;
use crate::sys::cgroup::{self, Cgroup};
use crate::sys::clock::{Deadline, boot_us, micros, now_us};
use crate::sys::journal::{self, alarm};
use crate::sys::poll::readable;
use crate::sys::proc;
use crate::sys::process::{self, ChildEvent};
use crate::sys::psi;
use crate::sys::signals::{self, Origin, Signal, Signals};
use crate::sys::systemd::unit_watch::{UnitWatch, WatchEvent};

/// How often pressure and usage are looked at; nothing tells of them.
const SAMPLE: Duration = Duration::from_millis(500);

/// How long a program may take to put its terminal in order before it stops.
const PUT_IN_ORDER: Duration = Duration::from_secs(5);

/// So much of a unit's journal is shown before its first disturbance …
const BEFORE: Duration = Duration::from_secs(2);

/// … and after its last.
const AFTER: Duration = Duration::from_secs(5);

/// The signals that are for the command, when a process sends them to the guard. (Of a terminal's keys
/// both get one.)
pub(super) const PASSED_ON: [Signal; 6] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];

/// Where a command is.
#[derive(Debug)]
pub(super) struct Place {
    /// Its id.
    pub(super) id: String,
    /// Its slice.
    pub(super) slice: String,
    /// The slice's control group.
    pub(super) group: Cgroup,
    /// The control group of the user's manager, for looking around.
    pub(super) manager_group: Cgroup,
}

/// A command that runs.
pub(super) struct Running<'a> {
    order: &'a GuardOrder<'a>,
    place: Place,
    pid: u32,
    began_us: u64,
    began_at_us: u64,
    ledger: Ledger,
    denial: Option<Denial>,
    listening: Option<Listening>,
    listened: bool,
    /// Whether it was seen to move out of its control group.
    has_left: bool,
    freezing: Option<Freezing>,
    meter: Meter,
    next_sample: u64,
    /// When the key that stops a job was last pressed.
    stop_key: Option<u64>,
    /// How many the kernel had killed for want of memory on this machine when it began.
    oom_kills: u64,
    first: Option<(Cause, Surroundings)>,
}

impl<'a> Running<'a> {
    /// The command that the process in that place is about to become.
    pub(super) fn new(
        order: &'a GuardOrder<'a>,
        place: Place,
        pid: u32,
        mut ledger: Ledger,
        denial: Option<(Denial, Listening)>,
    ) -> Self {
        let (began_us, began_at_us) = (boot_us(), now_us());
        ledger.note(began_us, Happening::Began { program: order.program() });
        let freezing = |percent| Freezing::new(percent, place.id.clone(), &place.slice, &place.group);
        let (denial, listening) = denial.unzip();
        Self {
            order,
            pid,
            began_us,
            began_at_us,
            ledger,
            denial,
            listening,
            listened: false,
            has_left: false,
            freezing: order.freeze_on_pressure.map(freezing),
            meter: Meter::new(&place.group),
            next_sample: began_us,
            stop_key: None,
            oom_kills: psi::oom_kills(),
            first: None,
            place,
        }
    }

    /// Goes with it to its end, and looks at the units once more. Where that fails half-way nothing is
    /// known of the units any more, and the command is ended.
    pub(super) fn finish(mut self, signals: &Signals, watch: &UnitWatch) -> (GuardReport, End) {
        let ended = self.accompany(signals, watch);
        let elapsed_ms = boot_us().saturating_sub(self.began_us) / 1000;
        let mut failed = None;
        let end = ended.unwrap_or_else(|error| {
            failed = Some(error);
            End::unknown(self.began_at_us, now_us(), None)
        });
        self.ledger.note(boot_us(), Happening::Ended { result: end.words() });
        let cleared = self.clear(watch, failed.is_some()).unwrap_or_else(|error| {
            failed.get_or_insert(error);
            0
        });
        self.see(watch);
        let settled = settle(&mut self);
        if let Some(error) = failed.or(settled.err()) {
            alarm!("it cannot be told how the guarded units are: {error}");
            self.ledger.cannot_tell(error);
        }
        let is_killed = end.signal == Some(Signal::SIGKILL as i32);
        let end = match self.meter.oom_kills {
            Some(1..) if is_killed => End { cause: Some(EndCause::OutOfMemory), ..end },
            _ => end,
        };
        (self.report(&end, elapsed_ms, cleared), end)
    }

    /// Ends what it left behind; returns how many processes.
    fn clear(&mut self, watch: &UnitWatch, at_once: bool) -> Result<u64> {
        // Happening it left behind may listen, too.
        self.listen()?;
        self.measure();
        self.thaw()?;
        if at_once {
            self.place.group.kill()?;
        }
        thaw(&self.place.slice, &self.place.group)?;
        let (group, slice) = (self.place.group.clone(), self.place.slice.clone());
        let cleared =
            if self.order.leave_children { 0 } else { self.meanwhile(watch, || end_tree(&group))?? };
        if cleared > 0 {
            self.ledger.note(boot_us(), Happening::Cleared { processes: cleared });
        }
        if !self.order.leave_children {
            self.meter.use_so_far();
            self.meanwhile(watch, || remove(&slice))??;
        }
        Ok(cleared)
    }

    /// Does what takes its time, and tells of disturbances meanwhile.
    fn meanwhile<T: Send>(&mut self, watch: &UnitWatch, act: impl FnOnce() -> T + Send) -> Result<T> {
        let (done, at_work) = UnixStream::pair().trying("cannot make a pair of sockets")?;
        std::thread::scope(|scope| {
            let work = || {
                let _closed_at_the_end = at_work;
                act()
            };
            let thread =
                std::thread::Builder::new().spawn_scoped(scope, work).trying("cannot start a thread")?;
            let forever = Deadline::after(Duration::MAX);
            while !readable(&[done.as_fd(), watch.as_fd()], forever)[0] {
                self.see(watch);
            }
            thread.join().map_err(|_| Error::failed("a thread ended before its work was done"))
        })
    }

    /// Goes with it to its end.
    fn accompany(&mut self, signals: &Signals, watch: &UnitWatch) -> Result<End> {
        loop {
            let timers = [Some(self.next_sample), self.listening.as_ref().map(Listening::next)];
            let next = timers.into_iter().flatten().min().unwrap_or(u64::MAX);
            let came = readable(&[signals.as_fd(), watch.as_fd()], Deadline::at_boot_us(next));
            if came[1] {
                self.see(watch);
            }
            if came[0]
                && let Some(end) = self.hear(signals)?
            {
                return Ok(end);
            }
            let now = boot_us();
            if self.listening.as_ref().is_some_and(|listening| now >= listening.next()) {
                self.listen()?;
            }
            if now >= self.next_sample {
                self.next_sample = now + micros(SAMPLE);
                self.sample()?;
            }
        }
    }

    /// Takes in what the managers told.
    fn see(&mut self, watch: &UnitWatch) {
        for seen in watch.take() {
            match seen {
                WatchEvent::Unit { at_us, unit, witness } => self.look_at(at_us, &unit, *witness),
                WatchEvent::Away { at_us, manager } => self.ledger.note(at_us, Happening::Away(manager)),
                WatchEvent::Back { at_us, manager } => self.ledger.note(at_us, Happening::Back(manager)),
            }
        }
    }

    /// The names of what runs of the command, or is the command itself, and names the unit or its main
    /// process in its arguments.
    fn acting_on(&self, unit: &Guarded, main_pid: u32) -> Vec<String> {
        let argv: Vec<_> =
            self.order.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let mut names = surroundings::acting_on(&self.place.group, unit, main_pid);
        if surroundings::act_on(&argv, unit, main_pid) && !names.contains(&self.order.program()) {
            names.push(self.order.program());
        }
        names
    }

    /// Takes in signals; returns the command's end.
    fn hear(&mut self, signals: &Signals) -> Result<Option<End>> {
        while let Some((signal, origin)) = signals.next_with_origin() {
            match (signal, origin) {
                (Signal::SIGCHLD, _) => {
                    if let Some(end) = self.reap()? {
                        return Ok(Some(end));
                    }
                }
                (Signal::SIGTSTP, _) => {
                    self.stop_key = Some(boot_us());
                    self.thaw()?;
                }
                // Whoever continues the guard means the command.
                (Signal::SIGCONT, _) => {
                    self.stop_key = None;
                    self.signal(Signal::SIGCONT);
                }
                (signal, origin) => {
                    // It cannot hear it while it is frozen.
                    self.thaw()?;
                    if origin == Origin::Process {
                        self.signal(signal);
                    }
                }
            }
        }
        Ok(None)
    }

    fn signal(&self, signal: Signal) {
        process::signal_child(self.pid, signal);
    }

    /// Happening became of the command: its end, where it ended.
    fn reap(&mut self) -> Result<Option<End>> {
        while let Some(event) = process::child_event(self.pid)? {
            match event {
                ChildEvent::Stopped(signal) => self.stopped(signal),
                ChildEvent::Ended { status, signal } => {
                    let (since_us, at_us) = (self.began_at_us, now_us());
                    return Ok(Some(End { since_us, at_us, status, signal, over: true, cause: None }));
                }
            }
        }
        Ok(None)
    }

    /// The command was stopped: by its terminal, and then the shell wants to see its job stopped,
    /// which is the guard. A program that puts its terminal in order first then stops by SIGSTOP. (By
    /// SIGSTOP alone somebody else stopped it, and may continue it alone.)
    fn stopped(&mut self, signal: Signal) {
        let is_terminals = matches!(signal, Signal::SIGTSTP | Signal::SIGTTIN | Signal::SIGTTOU);
        let has_just_been_asked =
            self.stop_key.is_some_and(|at| boot_us().saturating_sub(at) < micros(PUT_IN_ORDER));
        if is_terminals || has_just_been_asked {
            // Returns when the shell continues it, and with it the command.
            signals::stop_self();
        }
    }

    /// Looks whether the command listens although that is denied, and ends it then.
    fn listen(&mut self) -> Result<()> {
        let Some(listening) = &mut self.listening else { return Ok(()) };
        let Some((row, holder)) = listening.look(&self.place.group)? else { return Ok(()) };
        // Once is enough.
        self.listening = None;
        self.listened = true;
        self.place.group.kill()?;
        let (address, process) = (row.address.to_string(), holder.name);
        alarm!(
            "{process} (process {}) listens on {address}, which is denied: the command is ended",
            holder.pid
        );
        self.ledger
            .note(boot_us(), Happening::Listened { address: address.clone(), process: process.clone() });
        journal::record(&Event::GuardListen {
            guard: self.place.id.clone(),
            address,
            process,
            pid: holder.pid,
        });
        self.thaw()
    }

    /// Looks at pressure and usage, and where the command is; returns the pressure in percent.
    fn measure(&mut self) -> u64 {
        self.note_if_left();
        self.meter.look(self.ledger.units())
    }

    /// Looks which units stand still: not every manager tells of that (252 does not).
    fn see_frozen(&mut self) {
        let looks: Vec<(Guarded, UnitState)> = self
            .ledger
            .units()
            .iter()
            .filter(|known| known.last.is_up())
            .map(|known| {
                let frozen = Cgroup::new(&known.last.control_group).is_frozen();
                (known.unit.clone(), UnitState { frozen, ..known.last.clone() })
            })
            .collect();
        for (unit, witness) in looks {
            self.look_at(boot_us(), &unit, witness);
        }
    }

    /// Looks at pressure and usage, and brakes.
    fn sample(&mut self) -> Result<()> {
        self.see_frozen();
        let percent = self.measure();
        let done = self.freezing.as_mut().map_or(Ok(None), |freezing| freezing.judge(percent))?;
        self.note_now(done);
        Ok(())
    }

    /// Lets the command run where it is frozen.
    fn thaw(&mut self) -> Result<()> {
        let done = self.freezing.as_mut().map_or(Ok(None), Freezing::thaw)?;
        self.note_now(done);
        Ok(())
    }

    fn note_now(&mut self, what: Option<Happening>) {
        if let Some(what) = what {
            self.ledger.note(boot_us(), what);
        }
    }

    /// Tells when the command has moved into a group of the user's where nothing holds for it.
    fn note_if_left(&mut self) {
        let Some(group) = cgroup::of_process(self.pid).filter(|path| !self.place.group.holds(path)) else {
            return;
        };
        // A process that has ended and was not waited for is in the root group.
        if !self.has_left && proc::stat(self.pid).is_some_and(|stat| !stat.has_ended()) {
            self.has_left = true;
            alarm!(
                "the command has moved to the control group {group}: limits and the rest do not hold there"
            );
            self.ledger.note(boot_us(), Happening::Left { group });
        }
    }

    /// The lines of a unit's journal around its disturbances.
    fn journal_of(&self, unit: &Guarded) -> Vec<String> {
        let is_its = |what: &Happening| matches!(what, Happening::Changed(changed) if changed.unit == *unit);
        let moments: Vec<u64> = self
            .ledger
            .moments()
            .iter()
            .filter(|moment| moment.what.disturbs() && is_its(&moment.what))
            .map(|moment| self.began_at_us + moment.at_us.saturating_sub(self.began_us))
            .collect();
        let (Some(first), Some(last)) = (moments.first(), moments.last()) else { return Vec::new() };
        let (before, after) = (micros(BEFORE), micros(AFTER));
        journal::around(unit, first.saturating_sub(before), last.saturating_add(after))
    }

    fn report(mut self, end: &End, elapsed_ms: u64, cleared: u64) -> GuardReport {
        let verdict = match (self.listened, self.ledger.is_disturbed()) {
            (_, true) => Verdict::Disturbed,
            (true, false) => Verdict::Listened,
            (false, false) => Verdict::Undisturbed,
        };
        let (program, exit_status) = (self.order.program(), verdict.exit_status(end));
        // Happening it waited for itself is known in any case.
        let cpu_usec = self.meter.cpu_usec.max(process::children_cpu_usec());
        journal::record(&Event::GuardFinished {
            guard: self.place.id.clone(),
            program: program.clone(),
            verdict,
            result: end.words(),
            exit_status,
            elapsed_ms,
        });
        let (cause, sessions) = match self.first.take() {
            Some((cause, surroundings)) => (Some(cause), surroundings.sessions),
            None => (None, surroundings::look(&self.place.manager_group).sessions),
        };
        GuardReport {
            guard: self.place.id.clone(),
            program,
            verdict,
            exit_status,
            status: end.status,
            signal: end.signal,
            began: rfc3339(self.began_at_us),
            elapsed_ms,
            units: units(&self.ledger, |unit| self.journal_of(unit)),
            timeline: timeline(self.ledger.moments(), self.began_us),
            pressure: self.meter.peaks,
            cpu_usec,
            memory_peak: self.meter.memory_peak,
            oom_kills: self.meter.oom_kills,
            frozen_times: self.freezing.as_ref().map_or(0, Freezing::times),
            frozen_ms: self.freezing.as_ref().map_or(0, Freezing::total_ms),
            cleared,
            deny_listen: self.denial,
            sessions,
            cause,
            untold: self.ledger.untold().map(|error| error.message.clone()),
        }
    }
}

impl Settling for Running<'_> {
    fn ledger(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    fn tell(&mut self, changed: &Changed) {
        if !changed.change.disturbs() {
            return;
        }
        // First what is gone in a moment; the cause is that of the first disturbance.
        let acting = self.first.is_none().then(|| self.acting_on(&changed.unit, changed.before.main_pid));
        let surroundings = surroundings::look(&self.place.manager_group);
        let ms = boot_us().saturating_sub(self.began_us) / 1000;
        journal::record(&Event::GuardDisturbed {
            guard: Some(self.place.id.clone()),
            changed: Box::new(changed.clone()),
            sessions: surroundings.sessions.clone(),
            commands: surroundings.commands.clone(),
        });
        alarm!("{} {} ({ms} ms after the command began)", changed.unit, changed.words());
        if let Some(acting) = acting {
            let pressure = self.meter.pressure(self.ledger.units());
            let oom_kills = psi::oom_kills().saturating_sub(self.oom_kills);
            let cause = cause(changed, &Clues { acting, pressure, oom_kills });
            self.first = Some((cause, surroundings));
        }
    }
}
