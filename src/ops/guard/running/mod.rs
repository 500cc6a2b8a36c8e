//! A guarded command that runs: forge accompanies it to its end and the final check of the units.

mod report;

use std::os::fd::AsFd;
use std::time::Duration;

use super::child::Child;
use super::cleanup::{end_processes, remove_slice, thaw};
use super::freezing::Freezing;
use super::listening::Listening;
use super::meter::Meter;
use super::request::GuardRequest;
use super::settle::{ChangeRecorder, wait_until_settled};
use super::surroundings::{self, Surroundings};
use crate::model::error::Result;
use crate::model::event::Event;
use crate::model::guard::cause::{Cause, Clues, cause};
use crate::model::guard::report::{Denial, GuardReport};
use crate::model::guard::timeline::{Changed, Happening, Timeline};
use crate::model::guard::unit_state::{Guarded, UnitState};
use crate::model::session::{End, EndCause};
use crate::sys::cgroup::{self, Cgroup};
use crate::sys::clock::{Deadline, boot_us, micros, now_us};
use crate::sys::journal::{self, alarm};
use crate::sys::poll::{self, readable};
use crate::sys::proc;
use crate::sys::psi;
use crate::sys::signals::{Origin, Signal, Signals};
use crate::sys::systemd::unit_watch::{UnitWatch, WatchEvent};

/// The time between two measurements of pressure and usage, which the kernel does not report by itself.
const SAMPLE: Duration = Duration::from_millis(500);

/// The signals that the guard forwards to the command, if a process sent them to the guard. (The keys of a
/// terminal send a signal to both.)
pub(super) const FORWARDED: [Signal; 6] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];

/// The ids and control groups of a guarded command.
#[derive(Debug)]
pub(super) struct Placement {
    /// The id of the guarded command.
    pub(super) id: String,
    /// The name of its slice.
    pub(super) slice: String,
    /// The control group of the slice.
    pub(super) group: Cgroup,
    /// The control group of the user's manager, for the surroundings.
    pub(super) manager_group: Cgroup,
}

/// A guarded command that runs.
pub(super) struct Running<'a> {
    request: &'a GuardRequest<'a>,
    placement: Placement,
    child: Child,
    /// When the command began, in microseconds since the boot.
    began_us: u64,
    /// When the command began, in microseconds since 1970.
    began_at_us: u64,
    timeline: Timeline,
    denial: Option<Denial>,
    listening: Option<Listening>,
    listened: bool,
    /// Whether the command has moved out of its control group.
    has_moved: bool,
    freezing: Option<Freezing>,
    meter: Meter,
    /// When the next measurement is due, in microseconds since the boot.
    next_sample: u64,
    /// The machine's count of out-of-memory kills when the command began.
    oom_kills: u64,
    /// The cause of the first disturbance, and what ran then.
    first: Option<(Cause, Surroundings)>,
}

impl<'a> Running<'a> {
    /// `pid` is the process that is about to execute the command.
    pub(super) fn new(
        request: &'a GuardRequest<'a>,
        placement: Placement,
        pid: u32,
        mut timeline: Timeline,
        denial: Option<(Denial, Listening)>,
    ) -> Self {
        let (began_us, began_at_us) = (boot_us(), now_us());
        timeline.push(began_us, Happening::Began { program: request.program() });
        let freezing =
            |percent| Freezing::new(percent, placement.id.clone(), &placement.slice, &placement.group);
        let (denial, listening) = denial.unzip();
        Self {
            request,
            child: Child::new(pid, began_at_us),
            began_us,
            began_at_us,
            timeline,
            denial,
            listening,
            listened: false,
            has_moved: false,
            freezing: request.freeze_on_pressure.map(freezing),
            meter: Meter::new(&placement.group),
            next_sample: began_us,
            oom_kills: psi::oom_kills(),
            first: None,
            placement,
        }
    }

    /// Accompanies the command to its end, and checks the units once more. After an error on the way, forge
    /// no longer knows the state of the units, and ends the command.
    pub(super) fn run_to_end(mut self, signals: &Signals, watch: &UnitWatch) -> (GuardReport, End) {
        let ended = self.accompany(signals, watch);
        let elapsed_ms = boot_us().saturating_sub(self.began_us) / 1000;
        let mut failed = None;
        let end = ended.unwrap_or_else(|error| {
            failed = Some(error);
            End::unknown(self.began_at_us, now_us(), None)
        });
        self.timeline.push(boot_us(), Happening::Ended { result: end.words() });
        let cleared = self.end_leftovers(watch, failed.is_some()).unwrap_or_else(|error| {
            failed.get_or_insert(error);
            0
        });
        self.record_watch_events(watch);
        let settled = wait_until_settled(&mut self);
        if let Some(error) = failed.or(settled.err()) {
            alarm!("the state of the guarded units is unknown: {error}");
            self.timeline.set_unknown(error);
        }
        let is_killed = end.signal == Some(Signal::SIGKILL as i32);
        let end = match self.meter.oom_kills {
            Some(1..) if is_killed => End { cause: Some(EndCause::OutOfMemory), ..end },
            _ => end,
        };
        (self.report(&end, elapsed_ms, cleared), end)
    }

    /// Ends the processes that the command left behind. Returns how many there were.
    ///
    /// # Errors
    /// Those of the thaw, and of [`end_processes`]; `Kind::Bus` when systemd cannot be reached.
    fn end_leftovers(&mut self, watch: &UnitWatch, at_once: bool) -> Result<u64> {
        // Processes that the command left behind may listen, too.
        self.check_listeners()?;
        self.measure();
        self.thaw()?;
        if at_once {
            self.placement.group.kill()?;
        }
        thaw(&self.placement.slice, &self.placement.group)?;
        let (group, slice) = (self.placement.group.clone(), self.placement.slice.clone());
        let cleared = if self.request.leave_children {
            0
        } else {
            self.run_and_watch(watch, || end_processes(&group))??
        };
        if cleared > 0 {
            self.timeline.push(boot_us(), Happening::Cleared { processes: cleared });
        }
        if !self.request.leave_children {
            self.meter.measure_usage();
            self.run_and_watch(watch, || remove_slice(&slice))??;
        }
        Ok(cleared)
    }

    /// Runs `act` in a thread, and reports disturbances while it runs.
    ///
    /// # Errors
    /// `Kind::Failed` when the thread cannot start, or panics.
    fn run_and_watch<T: Send>(&mut self, watch: &UnitWatch, act: impl FnOnce() -> T + Send) -> Result<T> {
        poll::run_while_polling(watch.as_fd(), act, || self.record_watch_events(watch))
    }

    /// Handles signals, events of the units and measurements until the command ends.
    ///
    /// # Errors
    /// When the kernel's tables or the command's state cannot be read, or the command stays frozen.
    fn accompany(&mut self, signals: &Signals, watch: &UnitWatch) -> Result<End> {
        loop {
            let timers = [Some(self.next_sample), self.listening.as_ref().map(Listening::due)];
            let next = timers.into_iter().flatten().min().unwrap_or(u64::MAX);
            let came = readable(&[signals.as_fd(), watch.as_fd()], Deadline::at_boot_us(next));
            if came[1] {
                self.record_watch_events(watch);
            }
            if came[0]
                && let Some(end) = self.handle_signals(signals)?
            {
                return Ok(end);
            }
            let now = boot_us();
            if self.listening.as_ref().is_some_and(|listening| now >= listening.due()) {
                self.check_listeners()?;
            }
            if now >= self.next_sample {
                self.next_sample = now + micros(SAMPLE);
                self.sample()?;
            }
        }
    }

    /// Records the changes that the managers reported.
    fn record_watch_events(&mut self, watch: &UnitWatch) {
        for event in watch.drain() {
            match event {
                WatchEvent::Unit { at_us, unit, state } => self.record_state(at_us, &unit, *state),
                WatchEvent::Away { at_us, manager } => self.timeline.push(at_us, Happening::Away(manager)),
                WatchEvent::Back { at_us, manager } => self.timeline.push(at_us, Happening::Back(manager)),
            }
        }
    }

    /// The names of the command's processes whose command line acts on the unit or its main process. Includes
    /// the command itself, which may have ended.
    fn acting_on(&self, unit: &Guarded, main_pid: u32) -> Vec<String> {
        let argv: Vec<_> =
            self.request.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let mut names = surroundings::acting_on(&self.placement.group, unit, main_pid);
        if surroundings::names_tool_and_unit(&argv, unit, main_pid)
            && !names.contains(&self.request.program())
        {
            names.push(self.request.program());
        }
        names
    }

    /// Handles the pending signals. Returns how the command ended, if it did.
    fn handle_signals(&mut self, signals: &Signals) -> Result<Option<End>> {
        while let Some((signal, origin)) = signals.next_with_origin() {
            match (signal, origin) {
                (Signal::SIGCHLD, _) => {
                    if let Some(end) = self.child.reap()? {
                        return Ok(Some(end));
                    }
                }
                (Signal::SIGTSTP, _) => {
                    self.child.stop_key_pressed();
                    self.thaw()?;
                }
                // A process that continues the guard means the command.
                (Signal::SIGCONT, _) => self.child.resume(),
                (signal, origin) => {
                    // A frozen process does not receive signals.
                    self.thaw()?;
                    if origin == Origin::Process {
                        self.child.signal(signal);
                    }
                }
            }
        }
        Ok(None)
    }

    /// Kills the command if it listens although the guard denies that.
    fn check_listeners(&mut self) -> Result<()> {
        let Some(listening) = &mut self.listening else { return Ok(()) };
        let Some((row, holder)) = listening.find_listener(&self.placement.group)? else { return Ok(()) };
        // One listener is enough.
        self.listening = None;
        self.listened = true;
        self.placement.group.kill()?;
        let (address, process) = (row.address.to_string(), holder.name);
        alarm!(
            "{process} (process {}) listens on {address}, which is denied: forge ends the command",
            holder.pid
        );
        self.timeline
            .push(boot_us(), Happening::Listened { address: address.clone(), process: process.clone() });
        journal::record(&Event::GuardListen {
            guard: self.placement.id.clone(),
            address,
            process,
            pid: holder.pid,
        });
        self.thaw()
    }

    /// Measures pressure and usage, and checks the command's control group. Returns the pressure in percent.
    fn measure(&mut self) -> u64 {
        self.report_if_moved();
        self.meter.measure(self.timeline.units())
    }

    /// Records which units are frozen, from the kernel: not every systemd reports that (252 does not).
    fn record_frozen(&mut self) {
        let states: Vec<(Guarded, UnitState)> = self
            .timeline
            .units()
            .iter()
            .filter(|known| known.last.is_up())
            .map(|known| {
                let frozen = Cgroup::new(&known.last.control_group).is_frozen();
                (known.unit.clone(), UnitState { frozen, ..known.last.clone() })
            })
            .collect();
        for (unit, state) in states {
            self.record_state(boot_us(), &unit, state);
        }
    }

    /// Measures pressure and usage, and freezes or thaws the command accordingly.
    fn sample(&mut self) -> Result<()> {
        self.record_frozen();
        let percent = self.measure();
        let done = self.freezing.as_mut().map_or(Ok(None), |freezing| freezing.apply(percent))?;
        self.add_to_timeline(done);
        Ok(())
    }

    /// Thaws the command if forge has frozen it.
    fn thaw(&mut self) -> Result<()> {
        let done = self.freezing.as_mut().map_or(Ok(None), Freezing::thaw)?;
        self.add_to_timeline(done);
        Ok(())
    }

    fn add_to_timeline(&mut self, what: Option<Happening>) {
        if let Some(what) = what {
            self.timeline.push(boot_us(), what);
        }
    }

    /// Reports once that the command has moved to a control group outside its slice, where the limits do not
    /// apply.
    fn report_if_moved(&mut self) {
        let pid = self.child.pid();
        let Some(group) = cgroup::of_process(pid).filter(|path| !self.placement.group.holds(path)) else {
            return;
        };
        // The kernel shows a zombie in the root group.
        if !self.has_moved && proc::stat(pid).is_some_and(|stat| !stat.has_ended()) {
            self.has_moved = true;
            alarm!(
                "the command has moved to the control group {group}: limits and freezing do not apply there"
            );
            self.timeline.push(boot_us(), Happening::Left { group });
        }
    }
}

impl ChangeRecorder for Running<'_> {
    fn timeline(&mut self) -> &mut Timeline {
        &mut self.timeline
    }

    fn report_change(&mut self, changed: &Changed) {
        if !changed.change.disturbs() {
            return;
        }
        // Read the processes first, since they may end soon. The cause is that of the first disturbance.
        let acting = self.first.is_none().then(|| self.acting_on(&changed.unit, changed.before.main_pid));
        let surroundings = surroundings::surroundings(&self.placement.manager_group);
        let ms = boot_us().saturating_sub(self.began_us) / 1000;
        journal::record(&Event::GuardDisturbed {
            guard: Some(self.placement.id.clone()),
            changed: Box::new(changed.clone()),
            sessions: surroundings.sessions.clone(),
            commands: surroundings.commands.clone(),
        });
        alarm!("{} {} ({ms} ms after the command began)", changed.unit, changed.words());
        if let Some(acting) = acting {
            let pressure = self.meter.pressure(self.timeline.units());
            let oom_kills = psi::oom_kills().saturating_sub(self.oom_kills);
            let cause = cause(changed, &Clues { acting, pressure, oom_kills });
            self.first = Some((cause, surroundings));
        }
    }
}
