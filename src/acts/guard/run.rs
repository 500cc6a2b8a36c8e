//! A guarded command, from the first look at the units to the last.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::gone::{end_tree, thaw};
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
use crate::words::guard::witness::{Guarded, Manager};
use crate::words::limits::Limits;
use crate::words::session::End;
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
    // Before any thread is there: they have what this one blocks.
    let mut taken = vec![Signal::SIGCHLD, Signal::SIGCONT, Signal::SIGTSTP];
    taken.extend(PASSED_ON);
    let signals = Signals::take_over(&taken)?;
    let (running, watch) = start(world, order).inspect_err(|error| {
        journal::record(&Event::GuardRefused { program: order.program(), error: error.message.clone() });
    })?;
    Ok(running.finish(&signals, &watch))
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
    pid: Pid,
    group: Cgroup,
    manager_group: Cgroup,
    began_us: u64,
    began_at_us: u64,
    ledger: Ledger,
    denial: Option<Denial>,
    listening: Option<Listening>,
    listened: bool,
    brake: Option<Brake>,
    frozen_at: Option<u64>,
    frozen_us: u64,
    frozen_times: u64,
    gauge: Gauge,
    peaks: Peaks,
    next_sample: u64,
    /// Whether the key that stops a job was pressed since it was last continued.
    stop_key: bool,
    oom_kills: u64,
    cpu_usec: Option<u64>,
    memory_peak: Option<u64>,
    first: Option<(Cause, Surroundings)>,
}

impl<'a> Running<'a> {
    /// Puts a process into its scope, with its limits, and has it become the command.
    fn start(world: &World, order: &'a Order<'a>, mut ledger: Ledger) -> Result<Self> {
        let manager = world.manager()?;
        let deadline = Deadline::after(START);
        let own = std::process::id();
        let own_start = stat(own).map(|stat| stat.start).unwrap_or_default();
        let id = format!("{own}-{}", boot_us() / 1000);
        let program = order.program();
        let (denial, listening) = if order.deny_listen {
            let can = landlock::can_deny_bind();
            (Some(if can { Denial::KernelAndWatch } else { Denial::Watch }), Some(Listening::begin()?))
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
            let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
            let (own, own_start) = (own.to_string(), own_start.to_string());
            let mut after = words(&["--quiet", GONE_VERB, &id, &own, &own_start]);
            after.extend(order.leave_children.then(|| LEAVE.to_owned()));
            manager.start_guarding(
                &Guarding {
                    id: &id,
                    description: &format!("guarded: {program}"),
                    limits: &order.limits,
                    process: &process,
                    forge: &paths::forge()?,
                    keeper: &words(&["--quiet", KEEPER_VERB, &own, &own_start]),
                    after_keeper: &after,
                },
                deadline,
            )?;
            process::idle_io(child.id());
            Ok(waiting)
        });
        let group = cgroup::of_process(child.id()).map(|path| Cgroup::new(&path));
        let (waiting, Some(group)) = (started?, group) else { return Err(gone()) };
        if let Some(denial) = denial {
            told!("forge: {program} may not listen on TCP ports: {}", denial.words());
        }
        if order.units.is_empty() {
            told!("forge: no unit is guarded; name some with --unit, --system-unit or in [guard]");
        }
        // From its beginning on nothing may fail that would leave it unguarded.
        let manager_group = Cgroup::new(&manager.control_group()?);
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
            pid: Pid::from_raw(child.id().cast_signed()),
            group,
            manager_group,
            began_us,
            began_at_us,
            ledger,
            denial,
            listening,
            listened: false,
            brake: order.freeze_on_pressure.map(Brake::new),
            frozen_at: None,
            frozen_us: 0,
            frozen_times: 0,
            gauge: Gauge::default(),
            peaks: Peaks::default(),
            next_sample: began_us,
            stop_key: false,
            oom_kills: pressure::oom_kills(),
            cpu_usec: None,
            memory_peak: None,
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
        let group = self.group.clone();
        let cleared =
            if self.order.leave_children { 0 } else { self.meanwhile(watch, || end_tree(&group))?? };
        if cleared > 0 {
            self.ledger.note(boot_us(), What::Cleared { processes: cleared });
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
        if surroundings::name_it(&argv, unit, main_pid) && !names.contains(&self.order.program()) {
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
                    self.stop_key = true;
                    self.thaw()?;
                }
                // Whoever continues the guard means the command.
                (Signal::SIGCONT, _) => {
                    self.stop_key = false;
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
                Err(nix::errno::Errno::EINTR) => continue,
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
        if is_terminals || self.stop_key {
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

    /// Looks at pressure and usage, and brakes.
    fn sample(&mut self) -> Result<()> {
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
                let scope = unit::guard_scope(&self.id);
                if let Err(error) = UserManager::connect().and_then(|manager| manager.freeze(&scope)) {
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
        thaw(&unit::guard_scope(&self.id), &self.group)?;
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

    /// What it has used; its control group goes with its last process.
    fn use_so_far(&mut self) {
        let usage = self.group.usage(None);
        self.cpu_usec = self.cpu_usec.max(usage.cpu_usec);
        self.memory_peak = self.memory_peak.max(usage.memory_peak.or_else(|| self.group.memory()));
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
            oom_kills: pressure::oom_kills().saturating_sub(self.oom_kills),
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
        told!("forge: {} {} ({ms} ms after the command began)", changed.unit, changed.words());
        journal::record(&Event::GuardDisturbed {
            guard: Some(self.id.clone()),
            changed: Box::new(changed.clone()),
            sessions: surroundings.sessions.clone(),
            commands: surroundings.commands.clone(),
        });
        let units = pressure_on(self.ledger.units(), &mut self.gauge);
        let pressure = units.or_else(|| self.gauge.look(&Whose::Host)).unwrap_or_default();
        if self.first.is_none() {
            let oom_kills = pressure::oom_kills().saturating_sub(self.oom_kills);
            let cause = cause(changed, &Clues { acting, pressure, oom_kills });
            self.first = Some((cause, surroundings));
        }
    }
}
