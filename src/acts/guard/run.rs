//! A guarded command, from the first look at the units to the last.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::gone::{end_tree, remove, thaw};
use super::listening::Listening;
use super::settle::{Settling, come_to_rest, settle};
use super::surroundings::{self, Surroundings};
use super::{all_known, pressure_on};
use crate::acts::World;
use crate::hands::cgroup::{self, Cgroup};
use crate::hands::clock::{Deadline, boot_us, micros, now_us};
use crate::hands::gate::{self, Gate};
use crate::hands::journal::told;
use crate::hands::pressure::{self, Gauge, Whose};
use crate::hands::process::{self, Process, readable, stat};
use crate::hands::signals::{Origin, Signals};
use crate::hands::systemd::witness::{BRIEFLY, Seen, Watch, look, watch};
use crate::hands::systemd::{Guarding, Manager as UserManager};
use crate::hands::{journal, landlock, paths};
use crate::words::error::{Error, Kind, Result, Trying};
use crate::words::event::{Event, Subject};
use crate::words::guard::cause::{Cause, Clues, cause};
use crate::words::guard::ledger::{Changed, Ledger, What};
use crate::words::guard::pressure::{Brake, Move, Pressure};
use crate::words::guard::report::{Denial, Peaks, Report, Verdict, timeline, units};
use crate::words::guard::witness::{Guarded, Manager, Witness};
use crate::words::limits::Limits;
use crate::words::session::{Cause as SessionCause, End};
use crate::words::time::rfc3339;
use crate::words::unit;

/// The verb of the keeper's main process.
pub const KEEPER_VERB: &str = "guard-keeper";

/// The verb of what runs after the keeper.
pub const GONE_VERB: &str = "guard-gone";

/// The option of that for a command that may leave processes behind.
pub const LEAVE: &str = "--leave-children";

/// How long the start may take, the manager's part in it included.
const START: Duration = Duration::from_secs(60);

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
const PASSED_ON: [Signal; 6] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];

/// What to run, and how.
#[derive(Debug)]
pub struct Order<'a> {
    /// The command.
    pub command: &'a [OsString],
    /// The units that it may not disturb.
    pub units: Vec<Guarded>,
    /// It is not run while one of these units is active, in whichever manager.
    pub refuse_if_active: &'a [String],
    /// It may not listen on TCP ports.
    pub deny_listen: bool,
    /// It is frozen from so much pressure on, in percent.
    pub freeze_on_pressure: Option<u64>,
    /// What it may use.
    pub limits: Limits,
    /// What it leaves running goes on.
    pub leave_children: bool,
    /// Its output goes to standard error: standard output is for the report.
    pub aside: bool,
}

impl Order<'_> {
    /// Its program's name: what may be logged, since arguments may hold secrets.
    fn program(&self) -> String {
        let path = self.command.first().map(|program| program.to_string_lossy()).unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default().escape_debug().to_string()
    }
}

/// Runs the command, and tells how it came out.
///
/// # Errors
/// When the command is refused, or something fails before it runs.
pub fn run(world: &World, order: &Order<'_>) -> Result<(Report, End)> {
    // A caller that ignores it would have the kernel wait for the command, and tell nobody.
    process::hear_of_children()?;
    // Before any thread is there: they have what this one blocks.
    let mut taken = vec![Signal::SIGCHLD, Signal::SIGCONT, Signal::SIGTSTP];
    taken.extend(PASSED_ON);
    let signals = Signals::take_over(&taken)?;
    let (running, watch) = start(world, order).inspect_err(|error| {
        journal::record(&Event::GuardRefused { program: order.program(), error: error.message.clone() });
    })?;
    let finished = running.finish(&signals, &watch);
    // What still comes may end the guard: nothing depends on it any more.
    while signals.next().is_some() {}
    signals.give_back();
    Ok(finished)
}

/// Looks at everything, then lets the command begin.
fn start<'a>(world: &World, order: &'a Order<'a>) -> Result<(Running<'a>, Watch)> {
    check(order)?;
    let (mut looks, mut sight) = watch(&order.units)?;
    if looks.iter().any(|look| look.has_job || look.witness.is_going_down()) {
        come_to_rest(&order.units, looks)?;
        (looks, sight) = watch(&order.units)?;
    }
    let seen: Vec<_> = order.units.iter().cloned().zip(looks).collect();
    all_known(seen.iter().map(|(unit, look)| (unit, look.witness.load.as_str())))?;
    for (unit, look) in &seen {
        if !look.witness.is_up() {
            told!("forge: {unit} is {} before the command begins", look.witness.active);
        }
    }
    let ledger = Ledger::new(seen.into_iter().map(|(unit, look)| (unit, look.witness)));
    Ok((Running::start(world, order, ledger)?, sight))
}

/// What speaks against running it at all.
fn check(order: &Order<'_>) -> Result<()> {
    if order.freeze_on_pressure.is_some() && !pressure::is_measured() {
        return Err(Error::new(Kind::Missing, "this kernel does not measure pressure")
            .hint("boot it with psi=1, or leave out --freeze-on-pressure"));
    }
    let mut asked = Vec::new();
    for name in order.refuse_if_active {
        asked.push(Guarded::parse(Manager::User, name)?);
        asked.push(Guarded::parse(Manager::System, name)?);
    }
    let looks = look(&asked, BRIEFLY)?;
    let mut known = asked.iter().zip(&looks).collect::<Vec<_>>();
    if let Some((unit, look)) = known.iter().find(|(_, look)| look.witness.is_up()) {
        let error = format!("{unit} is {}, and the command may not run meanwhile", look.witness.active);
        return Err(Error::failed(error).hint(format!("stop {} first, or wait until it is over", unit.unit)));
    }
    known.retain(|(_, look)| look.witness.load != "not-found");
    for name in order.refuse_if_active {
        let unit = Guarded::parse(Manager::User, name)?.unit;
        if !known.iter().any(|(known, _)| known.unit == unit) {
            told!("forge: --refuse-if-active: neither manager knows {unit}");
        }
    }
    Ok(())
}

/// A command that runs.
struct Running<'a> {
    order: &'a Order<'a>,
    id: String,
    slice: String,
    pid: Pid,
    group: Cgroup,
    manager_group: Cgroup,
    began_us: u64,
    began_at_us: u64,
    ledger: Ledger,
    denial: Option<Denial>,
    listening: Option<Listening>,
    listened: bool,
    /// Whether it was seen to move out of its control group.
    has_left: bool,
    brake: Option<Brake>,
    frozen_at: Option<u64>,
    frozen_us: u64,
    frozen_times: u64,
    gauge: Gauge,
    peaks: Peaks,
    next_sample: u64,
    /// When the key that stops a job was last pressed.
    stop_key: Option<u64>,
    oom_kills: u64,
    cpu_usec: Option<u64>,
    memory_peak: Option<u64>,
    own_oom_kills: Option<u64>,
    first: Option<(Cause, Surroundings)>,
}

impl<'a> Running<'a> {
    /// Puts a process into its scope, with its limits, and has it become the command.
    fn start(world: &World, order: &'a Order<'a>, mut ledger: Ledger) -> Result<Self> {
        let manager = world.manager()?;
        let deadline = Deadline::after(START);
        let own = std::process::id();
        let id = unit::guard_id(own, boot_us() / 1000);
        let slice = unit::guard_slice(&id, &cgroup::of_process(own).unwrap_or_default());
        let program = order.program();
        let (denial, listening) = if order.deny_listen {
            let denial = if landlock::can_deny_bind() { Denial::KernelAndWatch } else { Denial::Watch };
            (Some(denial), Some(Listening::begin(denial)?))
        } else {
            (None, None)
        };
        let gate = Gate::new()?;
        let stdout = if order.aside {
            let stderr = std::io::stderr().as_fd().try_clone_to_owned();
            Stdio::from(stderr.trying("cannot hand on standard error")?)
        } else {
            Stdio::inherit()
        };
        let child = gate::start_guarded(&gate, order.command, stdout)?;
        let gone = || Error::failed("the command's process ended before it was let go");
        let process = Process::open(child.id())?.ok_or_else(gone)?;
        let started = gate.wait_for(child.id(), deadline).and_then(|waiting| {
            let start_of = |pid| stat(pid).map(|stat| stat.start).unwrap_or_default().to_string();
            let guard = [own.to_string(), start_of(own)];
            let command = [child.id().to_string(), start_of(child.id())];
            let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
            let keeper = [words(&["--quiet", KEEPER_VERB, &slice]), guard.to_vec()].concat();
            let after = [words(&["--quiet", GONE_VERB, "command", &slice]), guard.to_vec(), command.to_vec()];
            let mut after = after.concat();
            after.extend(order.leave_children.then(|| LEAVE.to_owned()));
            manager.start_guarding(
                &Guarding {
                    id: &id,
                    slice: &slice,
                    may_stay: order.leave_children,
                    description: &format!("guarded: {program}"),
                    limits: &order.limits,
                    process: &process,
                    forge: &paths::forge()?,
                    keeper: &keeper,
                    after_keeper: &after,
                },
                deadline,
            )?;
            if !process::idle_io(child.id()) {
                told!("forge: {program} has no idle IO priority: there is no ionice, or it does not work");
            }
            Ok(waiting)
        });
        let waiting = started?;
        // From its beginning on nothing may fail that would leave it unguarded.
        let manager_group = Cgroup::new(&manager.control_group()?);
        let group = manager_group.child(&unit::path_of_slice(&slice));
        let is_inside = cgroup::of_process(child.id()).is_some_and(|path| group.holds(&path));
        if !is_inside {
            return Err(Error::failed(format!("{program} is not in {slice}, and was not run")));
        }
        if let Some(denial) = denial {
            told!("forge: {program} may not listen on TCP ports: {}", denial.words());
        }
        if order.units.is_empty() {
            told!("forge: no unit is guarded; name some with --unit, --system-unit or in [guard]");
        }
        let (began_us, began_at_us) = (boot_us(), now_us());
        ledger.note(began_us, What::Began { program: program.clone() });
        waiting.release_guarded(denial == Some(Denial::KernelAndWatch), &program, deadline)?;
        journal::record(&Event::GuardStarted {
            guard: id.clone(),
            program: program.clone(),
            units: order.units.clone(),
            deny_listen: denial,
        });
        Ok(Self {
            order,
            id,
            slice,
            pid: Pid::from_raw(child.id().cast_signed()),
            group,
            manager_group,
            began_us,
            began_at_us,
            ledger,
            denial,
            listening,
            listened: false,
            has_left: false,
            brake: order.freeze_on_pressure.map(Brake::new),
            frozen_at: None,
            frozen_us: 0,
            frozen_times: 0,
            gauge: Gauge::default(),
            peaks: Peaks::default(),
            next_sample: began_us,
            stop_key: None,
            oom_kills: pressure::oom_kills(),
            cpu_usec: None,
            memory_peak: None,
            own_oom_kills: None,
            first: None,
        })
    }

    /// Goes with it to its end, and looks at the units once more. Where that fails half-way nothing is
    /// known of the units any more, and the command is ended.
    fn finish(mut self, signals: &Signals, watch: &Watch) -> (Report, End) {
        let ended = self.accompany(signals, watch);
        let elapsed_ms = boot_us().saturating_sub(self.began_us) / 1000;
        let mut failed = None;
        let end = ended.unwrap_or_else(|error| {
            failed = Some(error);
            End::unknown(self.began_at_us, now_us(), None)
        });
        self.ledger.note(boot_us(), What::Ended { result: end.words() });
        let cleared = self.clear(watch, failed.is_some()).unwrap_or_else(|error| {
            failed.get_or_insert(error);
            0
        });
        self.see(watch);
        let settled = settle(&mut self);
        if let Some(error) = failed.or(settled.err()) {
            told!("forge: it cannot be told how the guarded units are: {error}");
            self.ledger.cannot_tell(error);
        }
        let is_killed = end.signal == Some(Signal::SIGKILL as i32);
        let end = match self.own_oom_kills {
            Some(1..) if is_killed => End { cause: Some(SessionCause::OutOfMemory), ..end },
            _ => end,
        };
        (self.report(&end, elapsed_ms, cleared), end)
    }

    /// Ends what it left behind; returns how many processes.
    fn clear(&mut self, watch: &Watch, at_once: bool) -> Result<u64> {
        // What it left behind may listen, too.
        self.listen()?;
        self.measure();
        self.thaw()?;
        if at_once {
            self.group.kill()?;
        }
        thaw(&self.slice, &self.group)?;
        let (group, slice) = (self.group.clone(), self.slice.clone());
        let cleared =
            if self.order.leave_children { 0 } else { self.meanwhile(watch, || end_tree(&group))?? };
        if cleared > 0 {
            self.ledger.note(boot_us(), What::Cleared { processes: cleared });
        }
        if !self.order.leave_children {
            self.use_so_far();
            self.meanwhile(watch, || remove(&slice))??;
        }
        Ok(cleared)
    }

    /// Does what takes its time, and tells of disturbances meanwhile.
    fn meanwhile<T: Send>(&mut self, watch: &Watch, act: impl FnOnce() -> T + Send) -> Result<T> {
        let (done, at_work) = UnixStream::pair().trying("cannot make a pair of sockets")?;
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let _closed_at_the_end = at_work;
                act()
            });
            let forever = Deadline::after(Duration::MAX);
            while !readable(&[done.as_fd(), watch.as_fd()], forever)[0] {
                self.see(watch);
            }
            thread.join().map_err(|_| Error::failed("a thread ended before its work was done"))
        })
    }

    /// Goes with it to its end.
    fn accompany(&mut self, signals: &Signals, watch: &Watch) -> Result<End> {
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
    fn see(&mut self, watch: &Watch) {
        for seen in watch.take() {
            match seen {
                Seen::Unit { at_us, unit, witness } => {
                    if let Some(changed) = self.ledger.see(at_us, &unit, *witness) {
                        self.tell(&changed);
                    }
                }
                Seen::Away { at_us, manager } => self.ledger.note(at_us, What::Away(manager)),
                Seen::Back { at_us, manager } => self.ledger.note(at_us, What::Back(manager)),
            }
        }
    }

    /// The names of what runs of the command, or is the command itself, and names the unit or its main
    /// process in its arguments.
    fn acting_on(&self, unit: &Guarded, main_pid: u32) -> Vec<String> {
        let argv: Vec<_> =
            self.order.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let mut names = surroundings::acting_on(&self.group, unit, main_pid);
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
        // That it has ended meanwhile is what the next SIGCHLD tells.
        let _ = kill(self.pid, signal);
    }

    /// What became of the command: its end, where it ended.
    fn reap(&mut self) -> Result<Option<End>> {
        let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED;
        loop {
            let (status, signal) = match waitpid(self.pid, Some(flags)) {
                Ok(WaitStatus::Exited(_, status)) => (Some(status), None),
                Ok(WaitStatus::Signaled(_, signal, _)) => (None, Some(signal as i32)),
                Ok(WaitStatus::Stopped(_, signal)) => {
                    self.stopped(signal);
                    continue;
                }
                Ok(_) => return Ok(None),
                Err(Errno::EINTR) => continue,
                // Somebody else has waited for it.
                Err(Errno::ECHILD) => (None, None),
                Err(error) => return Err(error).trying("cannot wait for the command"),
            };
            let (since_us, at_us) = (self.began_at_us, now_us());
            return Ok(Some(End { since_us, at_us, status, signal, over: true, cause: None }));
        }
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
            let _ = raise(Signal::SIGSTOP);
        }
    }

    /// Looks whether the command listens although that is denied, and ends it then.
    fn listen(&mut self) -> Result<()> {
        let Some(listening) = &mut self.listening else { return Ok(()) };
        let Some((row, holder)) = listening.look(&self.group)? else { return Ok(()) };
        // Once is enough.
        self.listening = None;
        self.listened = true;
        self.group.kill()?;
        let (address, process) = (row.address.to_string(), holder.name);
        told!(
            "forge: {process} (process {}) listens on {address}, which is denied: the command is ended",
            holder.pid
        );
        self.ledger.note(boot_us(), What::Listened { address: address.clone(), process: process.clone() });
        journal::record(&Event::GuardListen { guard: self.id.clone(), address, process, pid: holder.pid });
        self.thaw()
    }

    /// Looks at pressure and usage; returns the pressure on the units, or on the machine, in percent.
    fn measure(&mut self) -> u64 {
        self.use_so_far();
        self.note_if_left();
        let higher = |peak: Option<Pressure>, now: Option<Pressure>| match (peak, now) {
            (Some(peak), Some(now)) => Some(peak.max(now)),
            (peak, now) => peak.or(now),
        };
        let host = self.gauge.look(&Whose::Host);
        let command = self.gauge.look(&Whose::Group(self.group.control_group()));
        let units = pressure_on(self.ledger.units(), &mut self.gauge);
        self.peaks = Peaks {
            host: higher(self.peaks.host, host),
            units: higher(self.peaks.units, units),
            command: higher(self.peaks.command, command),
        };
        units.or(host).unwrap_or_default().highest()
    }

    /// Looks which units stand still: not every manager tells of that (252 does not).
    fn see_frozen(&mut self) {
        let looks: Vec<(Guarded, Witness)> = self
            .ledger
            .units()
            .iter()
            .filter(|known| known.last.is_up())
            .map(|known| {
                let frozen = Cgroup::new(&known.last.control_group).is_frozen();
                (known.unit.clone(), Witness { frozen, ..known.last.clone() })
            })
            .collect();
        for (unit, witness) in looks {
            if let Some(changed) = self.ledger.see(boot_us(), &unit, witness) {
                self.tell(&changed);
            }
        }
    }

    /// Looks at pressure and usage, and brakes.
    fn sample(&mut self) -> Result<()> {
        self.see_frozen();
        let percent = self.measure();
        let Some(brake) = &mut self.brake else { return Ok(()) };
        if brake.is_on() && !self.group.is_frozen() {
            // Somebody thawed it, who had a reason.
            brake.release(boot_us());
            self.ran_again();
        }
        let Some(brake) = &mut self.brake else { return Ok(()) };
        match brake.judge(boot_us(), percent) {
            Some(Move::Freeze) => {
                // A new connection: the bus may be another one since the beginning.
                if let Err(error) = UserManager::connect().and_then(|manager| manager.freeze(&self.slice)) {
                    told!("forge: the command cannot be frozen: {error}");
                    brake.release(boot_us());
                    return Ok(());
                }
                self.frozen_at = Some(boot_us());
                self.frozen_times += 1;
                self.ledger.note(boot_us(), What::Frozen(percent));
                told!("forge: the command is frozen: the pressure on what is guarded is {percent} %");
                let subject = Subject::Guarded(self.id.clone());
                journal::record(&Event::Frozen { subject, pressure: Some(percent) });
            }
            Some(Move::Thaw) => self.thaw()?,
            None => {}
        }
        Ok(())
    }

    /// Lets the command run where it is frozen.
    fn thaw(&mut self) -> Result<()> {
        if self.frozen_at.is_none() {
            return Ok(());
        }
        thaw(&self.slice, &self.group)?;
        if let Some(brake) = &mut self.brake {
            brake.release(boot_us());
        }
        self.ran_again();
        journal::record(&Event::Thawed { subject: Subject::Guarded(self.id.clone()) });
        Ok(())
    }

    fn ran_again(&mut self) {
        let now = boot_us();
        if let Some(since) = self.frozen_at.take() {
            self.frozen_us += now.saturating_sub(since);
            self.ledger.note(now, What::Thawed);
        }
    }

    /// What it has used; without a slice of its own, one that may leave processes, that goes with the last.
    fn use_so_far(&mut self) {
        let usage = self.group.usage(None);
        self.cpu_usec = self.cpu_usec.max(usage.cpu_usec);
        self.memory_peak = self.memory_peak.max(usage.memory_peak.or_else(|| self.group.memory()));
        self.own_oom_kills = self.own_oom_kills.max(self.group.counted_oom_kills());
    }

    /// Tells when the command has moved into a group of the user's where nothing holds for it.
    fn note_if_left(&mut self) {
        let pid = u32::try_from(self.pid.as_raw()).unwrap_or_default();
        let Some(group) = cgroup::of_process(pid).filter(|path| !self.group.holds(path)) else { return };
        // A process that has ended and was not waited for is in the root group.
        if !self.has_left && process::is_running(pid) {
            self.has_left = true;
            told!(
                "forge: the command has moved to the control group {group}: limits and the rest do not hold there"
            );
            self.ledger.note(boot_us(), What::Left { group });
        }
    }

    /// The lines of a unit's journal around its disturbances.
    fn journal_of(&self, unit: &Guarded) -> Vec<String> {
        let is_its = |what: &What| matches!(what, What::Changed(changed) if changed.unit == *unit);
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

    fn report(mut self, end: &End, elapsed_ms: u64, cleared: u64) -> Report {
        let verdict = match (self.listened, self.ledger.is_disturbed()) {
            (_, true) => Verdict::Disturbed,
            (true, false) => Verdict::Listened,
            (false, false) => Verdict::Undisturbed,
        };
        let (program, exit_status) = (self.order.program(), verdict.exit_status(end));
        // What it waited for itself is known in any case.
        self.cpu_usec = self.cpu_usec.max(process::children_cpu_usec());
        journal::record(&Event::GuardFinished {
            guard: self.id.clone(),
            program: program.clone(),
            verdict,
            result: end.words(),
            exit_status,
            elapsed_ms,
        });
        let (cause, sessions) = match self.first.take() {
            Some((cause, surroundings)) => (Some(cause), surroundings.sessions),
            None => (None, surroundings::look(&self.manager_group).sessions),
        };
        Report {
            guard: self.id.clone(),
            program,
            verdict,
            exit_status,
            status: end.status,
            signal: end.signal,
            began: rfc3339(self.began_at_us),
            elapsed_ms,
            units: units(&self.ledger, |unit| self.journal_of(unit)),
            timeline: timeline(self.ledger.moments(), self.began_us),
            pressure: self.peaks,
            cpu_usec: self.cpu_usec,
            memory_peak: self.memory_peak,
            oom_kills: self.own_oom_kills,
            frozen_times: self.frozen_times,
            frozen_ms: self.frozen_us / 1000,
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
        // First what is gone in a moment.
        let acting = self.acting_on(&changed.unit, changed.before.main_pid);
        let surroundings = surroundings::look(&self.manager_group);
        let ms = boot_us().saturating_sub(self.began_us) / 1000;
        journal::record(&Event::GuardDisturbed {
            guard: Some(self.id.clone()),
            changed: Box::new(changed.clone()),
            sessions: surroundings.sessions.clone(),
            commands: surroundings.commands.clone(),
        });
        told!("forge: {} {} ({ms} ms after the command began)", changed.unit, changed.words());
        let units = pressure_on(self.ledger.units(), &mut self.gauge);
        let pressure = units.or_else(|| self.gauge.look(&Whose::Host)).unwrap_or_default();
        if self.first.is_none() {
            let oom_kills = pressure::oom_kills().saturating_sub(self.oom_kills);
            let cause = cause(changed, &Clues { acting, pressure, oom_kills });
            self.first = Some((cause, surroundings));
        }
    }
}
