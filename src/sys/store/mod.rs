//! What systemd cannot know: the specification of each session, how each one ended, what its
//! supervisor remembers, which spawns are under way, and what the last sweep and restore did.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{self, O_CLOEXEC, O_NOFOLLOW};

use super::clock::{Deadline, pause};
use super::env::Paths;
use super::files;
use crate::model::error::{Error, Kind, Result, Trying};
use crate::model::guard::snapshot::Snapshot;
use crate::model::session::End;
use crate::model::session::name::SessionId;
use crate::model::session::restore::{Kept, Restored};
use crate::model::session::spec::{Spec, VERSION};
use crate::model::supervision::Record;
use crate::model::sweep::LastSweep;

/// How long a change of a specification may take: it is one small file.
const SPEC_TURN: Duration = Duration::from_secs(2);

/// forge's files.
#[derive(Debug, Clone)]
pub struct Store {
    /// `STATE/sessions/ID.json`, from before a session starts until it is over.
    specs: PathBuf,
    /// `STATE/set-aside/ID.json`, a specification that could not be read.
    set_aside: PathBuf,
    /// `STATE/restored.json`, the last restore.
    restored: PathBuf,
    /// `RUNTIME/last-sweep.json`, the last sweep of this boot.
    last_sweep: PathBuf,
    /// `RUNTIME/ended/ID.json`, the end of the last run in this boot.
    ends: PathBuf,
    /// `RUNTIME/supervised/ID.json`, what a supervisor leaves for the next one in this boot.
    records: PathBuf,
    /// `RUNTIME/guard/frozen.json`, the sessions that the watch has frozen.
    frozen: PathBuf,
    /// `RUNTIME/guard/watched.json`, how the watch last saw the guarded units.
    watched: PathBuf,
    /// `RUNTIME/spawning/ID`, locked while a spawn of that name is under way.
    locks: PathBuf,
}

impl Store {
    /// The files below the user's directories.
    pub fn new(paths: &Paths) -> Self {
        Self {
            specs: paths.state.join("sessions"),
            set_aside: paths.state.join("set-aside"),
            restored: paths.state.join("restored.json"),
            last_sweep: paths.runtime.join("last-sweep.json"),
            ends: paths.runtime.join("ended"),
            records: paths.runtime.join("supervised"),
            frozen: paths.runtime.join("guard/frozen.json"),
            watched: paths.runtime.join("guard/watched.json"),
            locks: paths.runtime.join("spawning"),
        }
    }

    fn spec_path(&self, id: &SessionId) -> PathBuf {
        self.specs.join(format!("{id}.json"))
    }

    fn end_path(&self, id: &SessionId) -> PathBuf {
        self.ends.join(format!("{id}.json"))
    }

    /// Keeps a specification.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_spec(&self, spec: &Spec) -> Result<()> {
        let _turn = self.spec_turn(&spec.session);
        files::write_json(&self.spec_path(&spec.session), spec)
    }

    /// Changes a specification, if it still is what was read: one that was removed meanwhile does
    /// not come back, and one that was replaced is not undone. Says whether it was changed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn change_spec(&self, read: &Spec, change: impl FnOnce(&mut Spec)) -> Result<bool> {
        let _turn = self.spec_turn(&read.session);
        let Some(mut spec) = self.spec(&read.session)?.filter(|spec| spec == read) else { return Ok(false) };
        change(&mut spec);
        files::write_json(&self.spec_path(&spec.session), &spec)?;
        Ok(true)
    }

    /// Who changes, writes or removes a specification does so alone. Where that cannot be had,
    /// the work goes on without: to stop a session matters more.
    fn spec_turn(&self, id: &SessionId) -> Option<Claim> {
        files::private_dir(&self.locks).ok()?;
        let path = self.locks.join(format!("{id}.spec"));
        wait_for_lock(&path, Deadline::after(SPEC_TURN), "the specification is being written").ok()
    }

    /// The specification of a session; `None` where there is none.
    ///
    /// # Errors
    /// When there is one and it cannot be read.
    pub fn spec(&self, id: &SessionId) -> Result<Option<Spec>> {
        let path = self.spec_path(id);
        let Some(bytes) = files::read_own(&path)? else { return Ok(None) };
        match read_spec(id, &bytes) {
            Kept::Spec(spec) => Ok(Some(*spec)),
            Kept::Broken(why) => Err(Error::failed(format!("cannot read {}: {why}", path.display()))),
            Kept::Unusable(why) => Err(Error::failed(format!("{}: {why}", path.display()))
                .hint("upgrade forge, or start the session anew")),
        }
    }

    /// All specifications, the unreadable ones too.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn specs(&self) -> Result<BTreeMap<SessionId, Kept>> {
        let doing = || format!("cannot read {}", self.specs.display());
        let entries = match std::fs::read_dir(&self.specs) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(error).trying(doing()),
        };
        let mut specs = BTreeMap::new();
        for entry in entries {
            let name = entry.trying(doing())?.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".json"));
            let Some(id) = id.and_then(|id| SessionId::try_from(id.to_owned()).ok()) else { continue };
            let path = self.spec_path(&id);
            let kept = match files::read_own(&path) {
                // It went while we looked.
                Ok(None) => continue,
                Ok(Some(bytes)) => read_spec(&id, &bytes),
                // That it cannot be read now says nothing of what is in it.
                Err(error) => Kept::Unusable(error.message),
            };
            specs.insert(id, kept);
        }
        Ok(specs)
    }

    /// Removes what writers left that were killed half-way.
    pub fn clear_leftovers(&self) {
        files::clear_leftovers(&self.specs, "", files::LEFT_OVER);
    }

    /// Puts a specification that cannot be read where it is in nobody's way; returns where.
    ///
    /// # Errors
    /// When it stays where it was.
    pub fn set_aside(&self, id: &SessionId) -> Result<PathBuf> {
        files::private_dir(&self.set_aside)?;
        let to = self.set_aside.join(format!("{id}.json"));
        std::fs::rename(self.spec_path(id), &to).trying(format!("cannot set the file of {id} aside"))?;
        Ok(to)
    }

    /// Keeps the results of a restore.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write_restored(&self, restored: &Restored) -> Result<()> {
        files::write_json(&self.restored, restored)
    }

    /// The results of the last restore, of this boot or another.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn restored(&self) -> Result<Option<Restored>> {
        files::read_json(&self.restored)
    }

    /// Keeps what a sweep did.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_last_sweep(&self, sweep: &LastSweep) -> Result<()> {
        files::write_json(&self.last_sweep, sweep)
    }

    /// What the last sweep of this boot did.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn last_sweep(&self) -> Result<Option<LastSweep>> {
        files::read_json(&self.last_sweep)
    }

    /// Forgets that there were restores, and leaves no empty directory behind.
    ///
    /// # Errors
    /// When a file stays.
    pub fn forget_restores(&self) -> Result<()> {
        files::remove(&self.restored)?;
        files::remove(&self.restored.with_extension("lock"))?;
        // Those with something in them stay: the specifications of sessions.
        for dir in [Some(self.specs.as_path()), self.restored.parent()].into_iter().flatten() {
            let _ = std::fs::remove_dir(dir);
        }
        Ok(())
    }

    /// Waits for the turn to restore; it ends when the value is dropped.
    ///
    /// # Errors
    /// When another keeps the turn beyond the deadline.
    pub fn restore_turn(&self, deadline: Deadline) -> Result<Claim> {
        files::private_dir(self.restored.parent().unwrap_or(Path::new("/")))?;
        let path = self.restored.with_extension("lock");
        wait_for_lock(&path, deadline, "another forge is still restoring the sessions")
    }

    /// Forgets a specification: the session is over.
    ///
    /// # Errors
    /// When the file stays.
    pub fn remove_spec(&self, id: &SessionId) -> Result<()> {
        let _turn = self.spec_turn(id);
        files::remove(&self.spec_path(id))
    }

    /// Forgets that very specification: one that another run has written meanwhile stays.
    ///
    /// # Errors
    /// When the file stays although it should go.
    pub fn remove_that_spec(&self, read: &Spec) -> Result<()> {
        let _turn = self.spec_turn(&read.session);
        match self.spec(&read.session)? {
            Some(spec) if spec == *read => files::remove(&self.spec_path(&read.session)),
            _ => Ok(()),
        }
    }

    /// Keeps how a session ended.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_end(&self, id: &SessionId, end: &End) -> Result<()> {
        files::write_json(&self.end_path(id), end)
    }

    /// How the session's last run in this boot ended.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn end(&self, id: &SessionId) -> Result<Option<End>> {
        files::read_json(&self.end_path(id))
    }

    /// Forgets the last run's end: another one begins.
    ///
    /// # Errors
    /// When the file stays.
    pub fn remove_end(&self, id: &SessionId) -> Result<()> {
        files::remove(&self.end_path(id))
    }

    /// Keeps what a supervisor leaves for the next one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_record(&self, id: &SessionId, record: &Record) -> Result<()> {
        files::write_json(&self.records.join(format!("{id}.json")), record)
    }

    /// What the last supervisor of this boot left.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn record(&self, id: &SessionId) -> Result<Option<Record>> {
        files::read_json(&self.records.join(format!("{id}.json")))
    }

    /// Keeps which sessions the watch has frozen, before it does so.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_frozen(&self, sessions: &[SessionId]) -> Result<()> {
        if sessions.is_empty() {
            files::remove(&self.frozen)
        } else {
            files::write_json(&self.frozen, &sessions)
        }
    }

    /// Which sessions the watch has frozen.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn frozen(&self) -> Result<Vec<SessionId>> {
        Ok(files::read_json(&self.frozen)?.unwrap_or_default())
    }

    /// Keeps how the guarded units are, for the next watch; with `None` there is to be nothing to
    /// compare with.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_watched(&self, snapshot: Option<&Snapshot>) -> Result<()> {
        match snapshot {
            Some(snapshot) => files::write_json(&self.watched, snapshot),
            None => files::remove(&self.watched),
        }
    }

    /// How the last watch saw the guarded units.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn watched(&self) -> Result<Option<Snapshot>> {
        files::read_json(&self.watched)
    }

    /// One of so many turns to start a session, where one is free; it ends when the value is
    /// dropped.
    ///
    /// # Errors
    /// When the locks cannot be made.
    pub fn starting_turn(&self, turns: usize) -> Result<Option<Claim>> {
        files::private_dir(&self.locks)?;
        for turn in 0..turns {
            // No session's id has a dot in it.
            let path = self.locks.join(format!("turn.{turn}"));
            if let Some(turn) = try_lock(&path)? {
                return Ok(Some(turn));
            }
        }
        Ok(None)
    }

    /// The directory in which ends appear, made where it is not there, for who waits for one.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn ends_dir(&self) -> Result<&Path> {
        files::private_dir(&self.ends)?;
        Ok(&self.ends)
    }

    /// Claims the right to spawn the session until the value is dropped or the process dies.
    ///
    /// # Errors
    /// [`Kind::Taken`] with the pid that has it, when another process does.
    pub fn claim(&self, id: &SessionId) -> Result<Claim> {
        files::private_dir(&self.locks).map_err(|error| match error.kind {
            Kind::Failed if error.hint.is_none() => Error::new(Kind::Missing, error.message)
                .hint("log in on the machine, or run 'loginctl enable-linger', so that systemd makes it"),
            _ => error,
        })?;
        let path = self.locks.join(id.as_str());
        let doing = || format!("cannot lock {}", path.display());
        let mut file = lock_file(&path).trying(doing())?;
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file())) {
            Ok(_) => {
                // Only for the message above: the lock itself is the kernel's, and ends with us.
                let pid = format!("{:<10}", std::process::id());
                file.write_all(pid.as_bytes()).trying(doing())?;
                Ok(Claim { _file: file })
            }
            Err(Errno::EAGAIN | Errno::EACCES) => {
                let mut pid = String::new();
                let _ = file.read_to_string(&mut pid);
                Err(Error::new(
                    Kind::Taken,
                    format!("{id} is being spawned by process {} right now", pid.trim()),
                )
                .hint(format!("wait for it, then see 'forge status {id}'")))
            }
            Err(error) => Err(error).trying(doing()),
        }
    }

    /// The right to start a session with that conversation, where no other is being started with it.
    ///
    /// # Errors
    /// When the lock cannot be made.
    pub fn claim_conversation(&self, conversation: &str) -> Result<Option<Claim>> {
        files::private_dir(&self.locks)?;
        // No session's id has a dot in it.
        try_lock(&self.locks.join(format!("conversation.{conversation}")))
    }

    /// Waits for the turn to clear a session whose program ended. A spawn of the name waits for its
    /// end: what clears goes by names, and must not meet the next run.
    ///
    /// # Errors
    /// When another keeps the turn beyond the deadline.
    pub fn clearing_turn(&self, id: &SessionId, deadline: Deadline) -> Result<Claim> {
        files::private_dir(&self.locks)?;
        let path = self.locks.join(format!("{id}.clearing"));
        wait_for_lock(&path, deadline, &format!("what the last run of {id} left is still being ended"))
    }

    /// Waits for the turn to type into the session; it ends when the value is dropped.
    ///
    /// # Errors
    /// When another keeps the turn beyond the deadline.
    pub fn typing_turn(&self, id: &SessionId, deadline: Deadline) -> Result<Claim> {
        files::private_dir(&self.locks)?;
        let path = self.locks.join(format!("{id}.typing"));
        wait_for_lock(&path, deadline, &format!("somebody else is typing into {id}"))
    }

    /// Whether a spawn of the session is under way; where that cannot be told, it may be.
    pub fn is_claimed(&self, id: &SessionId) -> bool {
        let path = self.locks.join(id.as_str());
        let file = match OpenOptions::new().write(true).custom_flags(O_NOFOLLOW | O_CLOEXEC).open(path) {
            Ok(file) => file,
            Err(error) => return error.kind() != std::io::ErrorKind::NotFound,
        };
        let mut lock = whole_file();
        fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock)).is_ok() && i32::from(lock.l_type) != libc::F_UNLCK
    }
}

/// The version of a file that may hold anything else.
#[derive(serde::Deserialize)]
struct Versioned {
    version: u32,
}

/// What a session's file holds.
fn read_spec(id: &SessionId, bytes: &[u8]) -> Kept {
    let newer = || Kept::Unusable("it was written by a newer forge".to_owned());
    match serde_json::from_slice::<Spec>(bytes) {
        Ok(spec) if spec.version > VERSION => newer(),
        Ok(spec) if spec.session != *id => Kept::Broken(format!("it is of {}", spec.session)),
        Ok(spec) => Kept::Spec(Box::new(spec)),
        // A newer forge may write what this one cannot read at all.
        Err(error) => match serde_json::from_slice::<Versioned>(bytes) {
            Ok(file) if file.version > VERSION => newer(),
            _ => Kept::Broken(error.to_string()),
        },
    }
}

/// The right to do something that one process at a time does. The lock belongs to the open file (`F_OFD_SETLK` of fcntl(2)),
/// so that looking at it from the same process does not release it.
#[derive(Debug)]
pub struct Claim {
    _file: File,
}

/// Waits for a lock; `late` says who has it.
fn wait_for_lock(path: &Path, deadline: Deadline, late: &str) -> Result<Claim> {
    loop {
        match try_lock(path)? {
            Some(claim) => return Ok(claim),
            None if deadline.passed() => return Err(Error::new(Kind::Deadline, late)),
            // The kernel has no lock with a deadline.
            None => pause(Duration::from_millis(20)),
        }
    }
}

/// Takes a lock, where it is free.
fn try_lock(path: &Path) -> Result<Option<Claim>> {
    let doing = || format!("cannot lock {}", path.display());
    let file = lock_file(path).trying(doing())?;
    match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file())) {
        Ok(_) => Ok(Some(Claim { _file: file })),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
        Err(error) => Err(error).trying(doing()),
    }
}

/// Opens the file of a lock, made where it is not there. What is in it is of no account.
fn lock_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(O_NOFOLLOW | O_CLOEXEC)
        .open(path)
}

fn whole_file() -> libc::flock {
    libc::flock {
        l_type: i16::try_from(libc::F_WRLCK).unwrap_or_default(),
        l_whence: i16::try_from(libc::SEEK_SET).unwrap_or_default(),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_had_once_and_ends_with_its_holder() {
        let root = tempfile::tempdir().unwrap();
        let store = Store {
            specs: root.path().join("specs"),
            set_aside: root.path().join("aside"),
            restored: root.path().join("restored.json"),
            last_sweep: root.path().join("last-sweep.json"),
            ends: root.path().join("ends"),
            records: root.path().join("records"),
            frozen: root.path().join("frozen.json"),
            watched: root.path().join("watched.json"),
            locks: root.path().join("locks"),
        };
        let id = SessionId::from_name("demo").unwrap();
        assert!(!store.is_claimed(&id));
        let claim = store.claim(&id).unwrap();
        assert!(store.is_claimed(&id));
        let refused = store.claim(&id).unwrap_err();
        assert_eq!(refused.kind, Kind::Taken);
        assert!(refused.message.contains(&std::process::id().to_string()), "{refused}");
        assert!(store.is_claimed(&id), "a look does not release it");
        drop(claim);
        assert!(!store.is_claimed(&id));
        store.claim(&id).unwrap();
    }
}
