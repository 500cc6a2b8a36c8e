//! Watches guarded units of the user manager and of PID 1.
//!
//! A manager reports each change (`PropertiesChanged`) to its subscribers. forge takes a report only as a reason to
//! read the unit: one reading contains all properties of one moment, and two readings differ if the unit was
//! restarted in between ([`UnitState`]).

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::future::poll_fn;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use zbus::connection::Builder;
use zbus::export::futures_core::Stream;
use zbus::message::Type;
use zbus::wire::{OwnedVariant, Variant};
use zbus::{Connection, MatchRule, MessageStream, OwnedObjectPath};

use super::proxy::{ManagerInterfaceProxy, asking};
use super::runtime::Runtime;
use super::{CALL, bus, is_named, no_manager, reason};
use crate::model::error::{Error, Kind, Result, Trying};
use crate::model::guard::unit_state::{Guarded, ManagerKind, UnitState};
use crate::sys::cgroup::Cgroup;
use crate::sys::clock::{Deadline, boot_us, pause};
use crate::sys::journal;

/// The bus name of both managers.
const SYSTEMD: &str = "org.freedesktop.systemd1";

/// The time for which a bus or a manager may be away while a failed reading costs nothing: before a guarded command
/// starts, for example.
pub const BRIEFLY: Duration = Duration::from_secs(5);

/// The time for which a bus or a manager may be away otherwise. It is longer than the 90 s for which a user manager
/// may hang when its bus is killed (measured on 252 and 257: the manager calls the bus, and only the manager itself can
/// start the bus again).
pub const PATIENTLY: Duration = Duration::from_secs(120);

/// The pause between two attempts to reach a bus that is away: no event reports its return.
const AGAIN: Duration = Duration::from_millis(100);

/// One reading of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedUnit {
    pub state: UnitState,
    /// Whether the unit has a job that is not done.
    pub has_job: bool,
}

/// An event of a watch.
#[derive(Debug)]
pub enum WatchEvent {
    /// A unit's state changed.
    Unit {
        /// When forge observed the change, in microseconds since the boot.
        at_us: u64,
        unit: Guarded,
        state: Box<UnitState>,
    },
    /// The bus or the manager is away.
    Away {
        /// Since when, in microseconds since the boot.
        at_us: u64,
        manager: ManagerKind,
    },
    /// The manager is back, and forge has read all of its guarded units.
    Back {
        /// Since when, in microseconds since the boot.
        at_us: u64,
        manager: ManagerKind,
    },
}

/// Reads units of one manager.
struct ManagerReader {
    connection: Connection,
    proxy: ManagerInterfaceProxy<'static>,
}

impl ManagerReader {
    async fn connect(manager: ManagerKind, runtime: &Runtime) -> zbus::Result<Self> {
        let builder = match manager {
            ManagerKind::User => Builder::session(),
            ManagerKind::System => Builder::system(),
        };
        // The deadline for calls does not cover the handshake before them.
        let connect = async { Ok(bus(builder, runtime).await) };
        let connection = runtime
            .deadlined(Deadline::after(CALL), "connecting to the bus", connect)
            .await
            .unwrap_or_else(|late| Err(timed_out(&late)))?;
        let proxy = asking::<ManagerInterfaceProxy<'_>>(&connection).build().await?;
        Ok(Self { connection, proxy })
    }

    /// The unit's object path. The manager loads the unit if necessary.
    async fn path(&self, unit: &str) -> zbus::Result<OwnedObjectPath> {
        self.proxy.load_unit(unit).await
    }

    /// Reads the unit. One reply contains all properties, so that they describe the same moment.
    async fn observe(&self, unit: &str) -> zbus::Result<ObservedUnit> {
        let path = self.path(unit).await?;
        let properties = "org.freedesktop.DBus.Properties";
        // The empty name means all interfaces: the unit's and its type's, in one answer.
        let reply =
            self.connection.call_method(Some(SYSTEMD), &path, Some(properties), "GetAll", &"").await?;
        let body = reply.body();
        let all: HashMap<String, OwnedVariant> = body.deserialize()?;
        Ok(ObservedUnit { state: unit_state(&all), has_job: has_job(&all) })
    }
}

fn text(all: &HashMap<String, OwnedVariant>, name: &str) -> String {
    all.get(name).and_then(|value| <&str>::try_from(value).ok()).unwrap_or_default().to_owned()
}

fn number<T>(all: &HashMap<String, OwnedVariant>, name: &str) -> T
where
    T: Default + for<'a> TryFrom<&'a OwnedVariant>,
{
    all.get(name).and_then(|value| T::try_from(value).ok()).unwrap_or_default()
}

fn unit_state(all: &HashMap<String, OwnedVariant>) -> UnitState {
    UnitState {
        load: text(all, "LoadState"),
        active: text(all, "ActiveState"),
        sub: text(all, "SubState"),
        invocation: bytes(all, "InvocationID")
            .iter()
            .fold(String::new(), |id, byte| format!("{id}{byte:02x}")),
        restarts: number(all, "NRestarts"),
        main_pid: number(all, "MainPID"),
        main_start_us: number(all, "ExecMainStartTimestampMonotonic"),
        active_enter_us: number(all, "ActiveEnterTimestampMonotonic"),
        changed_us: number(all, "StateChangeTimestampMonotonic"),
        result: text(all, "Result"),
        main_code: number(all, "ExecMainCode"),
        main_status: number(all, "ExecMainStatus"),
        control_group: text(all, "ControlGroup"),
        // `FreezerState=` describes the unit only (252), not the slices above it.
        frozen: Cgroup::new(&text(all, "ControlGroup")).is_frozen(),
    }
}

fn bytes(all: &HashMap<String, OwnedVariant>, name: &str) -> Vec<u8> {
    match all.get(name).map(|value| &**value) {
        Some(Variant::Array(array)) => array.iter().filter_map(|byte| u8::try_from(byte).ok()).collect(),
        _ => Vec::new(),
    }
}

/// Whether `Job=` (a number and a path) names a job; the number is 0 if the unit has none.
fn has_job(all: &HashMap<String, OwnedVariant>) -> bool {
    match all.get("Job").map(|value| &**value) {
        Some(Variant::Structure(job)) => {
            job.fields().first().and_then(|id| u32::try_from(id).ok()).is_some_and(|id| id != 0)
        }
        _ => false,
    }
}

/// Reads units repeatedly, over the same connections.
pub struct UnitReader<'a> {
    runtime: Runtime,
    units: &'a [Guarded],
    readers: HashMap<ManagerKind, ManagerReader>,
}

impl<'a> UnitReader<'a> {
    /// # Errors
    /// `Failed` if there are no file descriptors left.
    pub fn new(units: &'a [Guarded]) -> Result<Self> {
        Ok(Self { runtime: Runtime::new()?, units, readers: HashMap::new() })
    }

    /// Reads the units once.
    ///
    /// # Errors
    /// [`Kind::Bus`] if a manager cannot be reached for as long as `patience`.
    pub fn observe(&mut self, patience: Duration) -> Result<Vec<ObservedUnit>> {
        let deadline = Deadline::after(patience);
        let runtime = self.runtime.clone();
        loop {
            let read = async {
                match self.try_observe().await {
                    Ok(readings) => Ok(Ok(readings)),
                    Err((manager, error)) if is_away(&error) => Ok(Err(away(manager, &error))),
                    Err((_, error)) => {
                        Err(Error::failed(format!("cannot look at a unit: {}", reason(&error))))
                    }
                }
            };
            match runtime.run(runtime.deadlined(Deadline::after(CALL), "looking at units", read))? {
                Ok(readings) => return Ok(readings),
                Err(error) if deadline.passed() => return Err(error),
                Err(error) => {
                    self.readers.clear();
                    journal::progress!("waiting up to {} s: {error}", deadline.left().as_secs());
                    pause(AGAIN);
                }
            }
        }
    }

    async fn try_observe(&mut self) -> std::result::Result<Vec<ObservedUnit>, (ManagerKind, zbus::Error)> {
        let mut readings = Vec::new();
        for Guarded { manager, unit } in self.units {
            let reader = match self.readers.entry(*manager) {
                Entry::Occupied(reader) => reader.into_mut(),
                Entry::Vacant(none) => none.insert(
                    ManagerReader::connect(*manager, &self.runtime)
                        .await
                        .map_err(|error| (*manager, error))?,
                ),
            };
            readings.push(reader.observe(unit).await.map_err(|error| (*manager, error))?);
        }
        Ok(readings)
    }
}

/// Reads units once.
///
/// # Errors
/// As for [`UnitReader::observe`].
pub fn observe(units: &[Guarded], patience: Duration) -> Result<Vec<ObservedUnit>> {
    UnitReader::new(units)?.observe(patience)
}

fn away(manager: ManagerKind, error: &zbus::Error) -> Error {
    match manager {
        ManagerKind::User => no_manager(error),
        ManagerKind::System => {
            let message = format!("systemd's system manager cannot be reached: {}", reason(error));
            Error::new(Kind::Bus, message).hint("see 'systemctl status dbus'")
        }
    }
}

/// Whether the error means that the manager is away or busy: it may come back.
fn is_away(error: &zbus::Error) -> bool {
    match error {
        zbus::Error::FDO(fdo) => matches!(
            **fdo,
            zbus::fdo::Error::ServiceUnknown(_)
                | zbus::fdo::Error::NameHasNoOwner(_)
                | zbus::fdo::Error::NoReply(_)
                | zbus::fdo::Error::Disconnected(_)
                | zbus::fdo::Error::UnknownObject(_)
        ),
        zbus::Error::Connection(..) | zbus::Error::Handshake(_) | zbus::Error::InputOutput(_) => true,
        error => is_named(error, "org.freedesktop.systemd1.ShuttingDown"),
    }
}

/// A watch on units, with threads of its own. Readable if there are events.
#[derive(Debug)]
pub struct UnitWatch {
    seen: Receiver<WatchEvent>,
    bell: OwnedFd,
}

impl AsFd for UnitWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

impl UnitWatch {
    /// Returns the pending events and removes them.
    pub fn drain(&self) -> Vec<WatchEvent> {
        let mut count = [0; 8];
        // An empty eventfd is not an error.
        let _ = rustix::io::read(&self.bell, &mut count);
        self.seen.try_iter().collect()
    }
}

/// Starts a watch, and returns the current states of the units. The watch misses no later change.
///
/// # Errors
/// `Bus` if a manager cannot be reached.
pub fn watch(units: &[Guarded]) -> Result<(Vec<ObservedUnit>, UnitWatch)> {
    let (sender, seen) = channel();
    let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).trying("cannot make an eventfd")?;
    let mut readings: HashMap<Guarded, ObservedUnit> = HashMap::new();
    for manager in [ManagerKind::User, ManagerKind::System] {
        let units: Vec<Guarded> = units.iter().filter(|unit| unit.manager == manager).cloned().collect();
        if units.is_empty() {
            continue;
        }
        let (first, started) = channel();
        let events =
            EventSender { events: sender.clone(), bell: bell.try_clone().trying("cannot share an eventfd")? };
        let runtime = Runtime::new()?;
        let watcher = Watcher { manager, units: units.clone(), events };
        std::thread::Builder::new()
            .name(format!("watch-{}", manager.word()))
            .spawn(move || watcher.run(&runtime, first))
            .trying("cannot start a thread")?;
        let begun = started.recv().trying("a watch ended before it began")??;
        readings.extend(units.into_iter().zip(begun));
    }
    let readings = units.iter().filter_map(|unit| readings.get(unit).cloned()).collect();
    Ok((readings, UnitWatch { seen, bell }))
}

struct EventSender {
    events: Sender<WatchEvent>,
    bell: OwnedFd,
}

impl EventSender {
    /// Returns whether there is still a receiver.
    fn send(&self, seen: WatchEvent) -> bool {
        self.events.send(seen).is_ok() && rustix::io::write(&self.bell, &1u64.to_ne_bytes()).is_ok()
    }
}

struct Watcher {
    manager: ManagerKind,
    units: Vec<Guarded>,
    events: EventSender,
}

impl Watcher {
    /// Watches until the receiver is gone. The first readings go to `first`.
    fn run(self, runtime: &Runtime, first: Sender<Result<Vec<ObservedUnit>>>) {
        let mut first = Some(first);
        let mut last: Vec<ObservedUnit> = Vec::new();
        let mut was_away = false;
        let begin = Deadline::after(BRIEFLY);
        loop {
            let ended = runtime.run(self.watch(runtime, &mut first, &mut last, &mut was_away));
            match (ended, &first) {
                (Ok(()), _) => return,
                (Err(error), Some(_)) if is_away(&error) && !begin.passed() => {
                    pause(AGAIN);
                    continue;
                }
                (Err(error), Some(first)) => {
                    let _ = first.send(Err(away(self.manager, &error)));
                    return;
                }
                (Err(error), None) => tracing::debug!("the watch starts again: {error}"),
            }
            if !was_away {
                was_away = true;
                if !self.events.send(WatchEvent::Away { at_us: boot_us(), manager: self.manager }) {
                    return;
                }
            }
            pause(AGAIN);
        }
    }

    /// Watches over one connection. Returns when the receiver is gone.
    async fn watch(
        &self,
        runtime: &Runtime,
        first: &mut Option<Sender<Result<Vec<ObservedUnit>>>>,
        last: &mut Vec<ObservedUnit>,
        was_away: &mut bool,
    ) -> zbus::Result<()> {
        let reader = ManagerReader::connect(self.manager, runtime).await?;
        let mut signals = UnitSignals::subscribe(&reader, &self.units).await?;
        signals.changed = (0..self.units.len()).collect();
        loop {
            while let Some(at) = signals.changed.pop_first() {
                let reading = signals.alongside(reader.observe(&self.units[at].unit)).await?;
                let is_news = last.get(at).is_some_and(|last| last.state != reading.state);
                if is_news {
                    let (unit, state) = (self.units[at].clone(), Box::new(reading.state.clone()));
                    if !self.events.send(WatchEvent::Unit { at_us: boot_us(), unit, state }) {
                        return Ok(());
                    }
                }
                match last.get_mut(at) {
                    Some(last) => *last = reading,
                    None => last.push(reading),
                }
            }
            if let Some(first) = first.take() {
                let _ = first.send(Ok(last.clone()));
            }
            if std::mem::take(was_away)
                && !self.events.send(WatchEvent::Back { at_us: boot_us(), manager: self.manager })
            {
                return Ok(());
            }
            poll_fn(|context| signals.poll(context)).await?;
        }
    }
}

/// The signals of one manager.
struct UnitSignals {
    /// Each stream with the indexes of its units. Empty: the manager itself came or went.
    streams: Vec<(Vec<usize>, MessageStream)>,
    /// The indexes of the units to read.
    changed: BTreeSet<usize>,
}

impl UnitSignals {
    /// Subscribes to the signals of these units. forge misses no later signal.
    async fn subscribe(reader: &ManagerReader, units: &[Guarded]) -> zbus::Result<Self> {
        let connection = &reader.connection;
        let from_systemd = || MatchRule::builder().msg_type(Type::Signal).sender(SYSTEMD);
        let owner = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender("org.freedesktop.DBus")
            .member("NameOwnerChanged")
            .arg(0, SYSTEMD)
            .build()?;
        // The manager has reloaded its unit files.
        let reloading = from_systemd().member("Reloading").build()?;
        let all = (0..units.len()).collect();
        let mut streams = vec![
            (Vec::new(), MessageStream::for_match_rule(owner, connection, None).await?),
            (all, MessageStream::for_match_rule(reloading, connection, None).await?),
        ];
        for (at, Guarded { unit, .. }) in units.iter().enumerate() {
            let path = reader.path(unit).await?;
            let rule = from_systemd().member("PropertiesChanged").path(path).build()?;
            streams.push((vec![at], MessageStream::for_match_rule(rule, connection, None).await?));
        }
        reader.proxy.subscribe().await?;
        Ok(Self { streams, changed: BTreeSet::new() })
    }

    /// Receives the pending signals. Ready if there are units to read.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<zbus::Result<()>> {
        for (units, stream) in &mut self.streams {
            while let Poll::Ready(message) = Pin::new(&mut *stream).poll_next(context) {
                message.transpose()?.filter(|_| !units.is_empty()).ok_or_else(lost)?;
                self.changed.extend(units.iter());
            }
        }
        if self.changed.is_empty() { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    /// Makes a call and receives signals meanwhile. Without that, a full queue of signals would block the reply.
    async fn alongside<T>(&mut self, call: impl Future<Output = zbus::Result<T>>) -> zbus::Result<T> {
        let mut call = pin!(call);
        poll_fn(|context| {
            if let Poll::Ready(Err(error)) = self.poll(context) {
                return Poll::Ready(Err(error));
            }
            call.as_mut().poll(context)
        })
        .await
    }
}

/// Converts a passed deadline: a bus that does not answer counts as away.
fn timed_out(late: &Error) -> zbus::Error {
    let error = std::io::Error::new(std::io::ErrorKind::TimedOut, late.message.clone());
    zbus::Error::InputOutput(Arc::new(error))
}

/// The error that the manager or the bus went away.
fn lost() -> zbus::Error {
    zbus::Error::InputOutput(Arc::new(std::io::Error::other("the manager is another one now")))
}
