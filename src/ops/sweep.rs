//! Sweeps the socket directories: removes each dead socket (one that no server listens on), and touches nothing else.
//!
//! A sweep takes its steps in the same order as tmux when tmux starts a server. Therefore a sweep and a
//! start never both believe that a socket is theirs. (Measured without the lock: a sweeper in a tight loop
//! broke 15 of 100 starts. With the lock: 0.)

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::Context;
use super::heal;
use crate::config::Sweep;
use crate::model::error::{Kind, Result};
use crate::model::event::Event;
use crate::model::sweep::{LastSweep, SweepReport};
use crate::model::unit;
use crate::sys::clock::{Deadline, millis_since, now_us, pause};
use crate::sys::journal;
use crate::sys::tmux::directory::{Directory, is_file};
use crate::sys::tmux::listeners::Listeners;
use crate::sys::tmux::ping::{PendingPing, Ping, answers};

/// How long a starting server may refuse connections. In practice this takes microseconds.
const STARTING: Duration = Duration::from_millis(2);

/// The scope and limits of a sweep.
#[derive(Debug, Clone)]
pub struct SweepPlan {
    pub directories: Vec<PathBuf>,
    /// Names of sockets that forge must not touch.
    pub protect: Vec<glob::Pattern>,
    /// Sweep only forge's own sockets, because the configuration that lists the protected ones is not
    /// known.
    pub own_only: bool,
    /// How long all servers together may take to answer.
    pub timeout: Duration,
    /// Only report which sockets the sweep would remove.
    pub dry_run: bool,
    /// Do not ping or heal live servers: only remove dead sockets.
    pub leaves_live_alone: bool,
    /// Sockets whose servers answered a moment ago. The sweep does not ping them again.
    pub known_live: BTreeSet<PathBuf>,
}

impl SweepPlan {
    /// Covers the directories in `given`; if it is empty, the user's socket directory and the configured
    /// ones.
    pub fn new(context: &Context, given: &[PathBuf], dry_run: bool) -> Self {
        let Sweep { dirs, protect, timeout } = &context.config.sweep;
        let mut directories = given.to_vec();
        if directories.is_empty() {
            directories.push(context.paths.socket_dir());
            directories.extend(dirs.iter().cloned());
            directories.dedup();
        }
        Self {
            directories,
            protect: protect.iter().filter_map(|name| glob::Pattern::new(name).ok()).collect(),
            own_only: false,
            timeout: *timeout,
            dry_run,
            leaves_live_alone: false,
            known_live: BTreeSet::new(),
        }
    }

    /// The sweep before a spawn. Its cost does not depend on the number of sessions.
    pub fn before_spawn(context: &Context) -> Self {
        Self { leaves_live_alone: true, ..Self::new(context, &[], false) }
    }

    fn is_protected(&self, name: &OsStr) -> bool {
        let name = name.to_string_lossy();
        self.protect.iter().any(|pattern| pattern.matches(&name))
            || (self.own_only && unit::session_of_socket(&name).is_none())
    }
}

/// Sweeps all directories of the plan. A directory that is not safe is skipped and reported with the
/// reason; the sweep goes on.
pub fn sweep(context: &Context, plan: &SweepPlan) -> SweepReport {
    let start = Instant::now();
    let mut report = SweepReport::default();
    for path in &plan.directories {
        match Directory::open(path) {
            Ok(None) => {}
            Ok(Some(directory)) => match sweep_directory(&directory, plan) {
                Ok(part) => report.absorb(part),
                Err(error) => report.skip(path.clone(), error.message),
            },
            Err(error) => report.skip(path.clone(), error.message),
        }
    }
    if !plan.dry_run && !plan.leaves_live_alone {
        report.healed = heal::heal_all(context);
    }
    report.elapsed_ms = millis_since(start);
    report
}

/// Records a completed sweep in the journal, and for the probe.
pub fn record(context: &Context, report: &SweepReport) {
    save_last_sweep(context, report);
    // A supervisor that was killed while it wrote leaves its temporary file, and a session that has ended
    // writes no more.
    context.store.clear_leftovers();
    journal::record(&Event::SweepDone {
        scanned: report.scanned,
        removed: report.removed.len(),
        live: report.live.len(),
        unresponsive: report.unresponsive.len(),
        elapsed_ms: report.elapsed_ms,
    });
}

/// Saves the time and result of a sweep for the probe only, without a journal record.
pub fn save_last_sweep(context: &Context, report: &SweepReport) {
    let last = LastSweep { at_us: now_us(), removed: report.removed.len() };
    // Before the first login there is no runtime directory, and no probe to read the file either.
    if let Err(error) = context.store.write_last_sweep(&last) {
        tracing::debug!("{error}");
    }
}

fn sweep_directory(directory: &Directory, plan: &SweepPlan) -> Result<SweepReport> {
    let mut sweep = DirectorySweep { directory, plan, report: SweepReport::default() };
    let Sorted { pinged, refused, locks } = sweep.sort_files()?;
    for name in refused {
        sweep.remove_refused(&name);
    }
    for socket in locks.iter().filter(|_| !plan.dry_run) {
        if let Err(error) = remove_orphaned_lock(directory, socket) {
            sweep.report.skip(sweep.path(socket), error.message);
        }
    }
    // Wait for the answers last, so that a wedged server delays nothing else.
    sweep.wait_for_answers(&pinged);
    Ok(sweep.report)
}

/// One directory while it is being swept.
struct DirectorySweep<'a> {
    directory: &'a Directory,
    plan: &'a SweepPlan,
    report: SweepReport,
}

/// The files of a directory that the sweep has to deal with.
#[derive(Default)]
struct Sorted {
    /// Sockets whose server accepted the connection.
    pinged: Vec<(OsString, PendingPing)>,
    /// Sockets that refused the connection.
    refused: Vec<OsString>,
    /// Sockets that have a lock file.
    locks: Vec<OsString>,
}

impl DirectorySweep<'_> {
    fn path(&self, name: &OsStr) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Connects to every socket of the directory, and reports the files that the sweep leaves alone.
    fn sort_files(&mut self) -> Result<Sorted> {
        let mut sorted = Sorted::default();
        let listeners = if self.plan.leaves_live_alone { Listeners::list() } else { Listeners::default() };
        for name in self.directory.names()? {
            let stat = match self.directory.stat(&name) {
                Ok(Some(stat)) => stat,
                // The file was removed in the meantime.
                Ok(None) => continue,
                Err(error) => {
                    self.report.skip(self.path(&name), error.message);
                    continue;
                }
            };
            if !self.directory.is_own_socket(&stat) {
                // tmux's lock files belong in this directory. The sweep reports any other file.
                match name.as_encoded_bytes().strip_suffix(b".lock") {
                    Some(socket) if is_file(&stat) => sorted.locks.push(OsStr::from_bytes(socket).to_owned()),
                    _ => self.report.skip(self.path(&name), self.directory.why_not_own_socket(&stat)),
                }
                continue;
            }
            self.report.scanned += 1;
            let path = self.path(&name);
            if self.plan.is_protected(&name) {
                self.report.protected.push(path);
            } else if listeners.has(&stat) || self.plan.known_live.contains(&path) {
                self.report.live.push(path);
            } else {
                match self.directory.ping(&name) {
                    Ping::Open(connection) => sorted.pinged.push((name, connection)),
                    Ping::Full => self.report.unresponsive.push(path),
                    Ping::Refused => sorted.refused.push(name),
                    Ping::Missing => {}
                    Ping::Unknown(why) => self.report.skip(path, why),
                }
            }
        }
        Ok(sorted)
    }

    /// Removes a socket that refused a connection, if it is dead.
    fn remove_refused(&mut self, name: &OsStr) {
        let path = self.path(name);
        match remove_dead(self.directory, name, self.plan.dry_run) {
            Ok(SocketFate::Removed) => self.report.removed.push(path),
            Ok(SocketFate::Alive) => self.report.live.push(path),
            Ok(SocketFate::Busy) => self.report.skip(path, "a server is being started on it"),
            Ok(SocketFate::Gone) => {}
            Err(error) => self.report.skip(path, error.message),
        }
    }

    /// Waits for the servers that accepted a connection, up to the plan's timeout.
    fn wait_for_answers(&mut self, pinged: &[(OsString, PendingPing)]) {
        let pending: Vec<&PendingPing> = pinged.iter().map(|(_, pending)| pending).collect();
        let answered = answers(&pending, Deadline::after(self.plan.timeout));
        for ((name, _), answered) in pinged.iter().zip(answered) {
            let path = self.path(name);
            if answered { &mut self.report.live } else { &mut self.report.unresponsive }.push(path);
        }
    }
}

/// Removes the lock file of a session's socket if the socket is gone. Such a lock file remains when a
/// sweep is killed, or fails, between removing the socket and removing the lock.
fn remove_orphaned_lock(directory: &Directory, socket: &OsStr) -> Result<()> {
    let is_own = || socket.to_str().and_then(unit::session_of_socket).is_some();
    if !is_own() || directory.stat(socket)?.is_some() {
        return Ok(());
    }
    let Some(lock) = directory.lock(socket)? else { return Ok(()) };
    if directory.stat(socket)?.is_none() { directory.remove_lock(lock) } else { Ok(()) }
}

/// The fate of a socket that refused a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum SocketFate {
    /// The socket was dead, and was removed.
    Removed,
    /// A server was starting on the socket, and accepts connections now.
    Alive,
    /// Another process holds the lock, because it is starting a server.
    Busy,
    /// Another sweep removed the socket.
    Gone,
}

/// Removes a socket if it is dead, in the safe order: take the lock, check the lock's identity, connect
/// again, check the file again.
///
/// # Errors
/// [`Kind::Failed`] if the socket is dead and forge cannot remove it.
pub fn remove_dead(directory: &Directory, name: &OsStr, dry_run: bool) -> Result<SocketFate> {
    if dry_run {
        // A server that is starting also refuses connections, between its bind and its listen. Only the
        // lock distinguishes the two with certainty, and taking the lock would create a file.
        pause(STARTING);
        return Ok(match directory.ping(name) {
            Ping::Refused => SocketFate::Removed,
            Ping::Missing => SocketFate::Gone,
            Ping::Open(_) | Ping::Full | Ping::Unknown(_) => SocketFate::Alive,
        });
    }
    let Some(lock) = directory.lock(name)? else { return Ok(SocketFate::Busy) };
    let session = name.to_str().and_then(unit::session_of_socket);
    let is_there = match directory.ping(name) {
        Ping::Refused => directory.stat(name)?.is_some_and(|stat| directory.is_own_socket(&stat)),
        Ping::Missing => false,
        Ping::Open(_) | Ping::Full | Ping::Unknown(_) => return Ok(SocketFate::Alive),
    };
    if !is_there {
        // Another sweep removed the socket first. Taking the lock has created the lock file again.
        if session.is_some() {
            directory.remove_lock(lock)?;
        }
        return Ok(SocketFate::Gone);
    }
    directory.remove(name, lock, session.is_some())?;
    journal::record(&Event::Swept { socket: directory.path().join(name), session });
    Ok(SocketFate::Removed)
}

/// Removes the socket of a session that has ended, and its lock file. If a server accepts connections on
/// the socket, it belongs to another session, and forge keeps it.
///
/// # Errors
/// [`Kind::Failed`] if the socket is dead and forge cannot remove it.
pub fn remove_session_socket(socket: &std::path::Path) -> Result<()> {
    let (Some(parent), Some(name)) = (socket.parent(), socket.file_name()) else { return Ok(()) };
    let directory = match Directory::open(parent) {
        Ok(Some(directory)) => directory,
        Ok(None) => return Ok(()),
        Err(error) if error.kind == Kind::Unsafe => return Ok(()),
        Err(error) => return Err(error),
    };
    if directory.stat(name)?.is_some_and(|stat| directory.is_own_socket(&stat)) {
        let Some(lock) = directory.lock(name)? else { return Ok(()) };
        match directory.ping(name) {
            Ping::Refused => directory.remove(name, lock, true)?,
            // A sweep removed the socket first.
            Ping::Missing => directory.remove_lock(lock)?,
            Ping::Open(_) | Ping::Full | Ping::Unknown(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::tmux::directory::private_for_tests;

    #[test]
    fn a_lost_race_leaves_no_lock_file_of_a_session() {
        let root = private_for_tests();
        let directory = Directory::open(root.path()).unwrap().unwrap();
        // Another sweep has removed both sockets in the meantime.
        for (name, stays) in [("spawn-a", false), ("other", true)] {
            assert_eq!(remove_dead(&directory, OsStr::new(name), false).unwrap(), SocketFate::Gone);
            assert_eq!(root.path().join(format!("{name}.lock")).exists(), stays, "{name}");
        }
        remove_session_socket(&root.path().join("spawn-a")).unwrap();
        assert_eq!(directory.names().unwrap(), ["other.lock"]);
    }
}
