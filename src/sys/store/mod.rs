//! forge's own files: the facts that systemd cannot know. STATE survives a boot, RUNTIME does not.

mod lock;
mod session_locks;
mod specs;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use lock::Claim;

use super::env::Paths;
use super::files;
use crate::model::error::{Result, Trying};
use crate::model::guard::snapshot::Snapshot;
use crate::model::notice::NoticeText;
use crate::model::session::End;
use crate::model::session::name::SessionId;
use crate::model::session::restore::Restored;
use crate::model::supervision::Record;
use crate::model::sweep::LastSweep;

/// The deadline for the lock on a specification. A change writes one small file.
const SPEC_TURN: Duration = Duration::from_secs(2);

/// The paths of forge's files.
#[derive(Debug, Clone)]
pub struct Store {
    /// `STATE/sessions/ID.json`, from before a session starts until it is over.
    specs: PathBuf,
    /// `STATE/set-aside/ID.json`, a specification that could not be read.
    set_aside: PathBuf,
    /// `STATE/restored.json`, the results of the last restore.
    restored: PathBuf,
    /// `RUNTIME/last-sweep.json`, the last sweep of this boot.
    last_sweep: PathBuf,
    /// `RUNTIME/ended/ID.json`, the end of the last run in this boot.
    ends: PathBuf,
    /// `RUNTIME/supervised/ID.json`, the state that a supervisor hands to the next one in this boot.
    records: PathBuf,
    /// `RUNTIME/notices/ID.json`, a text for a notice that is about to be sent.
    notice_texts: PathBuf,
    /// `RUNTIME/guard/frozen.json`, the sessions that the watch has frozen.
    frozen: PathBuf,
    /// `RUNTIME/guard/watched.json`, the guarded units as the watch last saw them.
    watched: PathBuf,
    /// `RUNTIME/spawning/ID`, locked while a spawn of that name is under way.
    locks: PathBuf,
}

impl Store {
    pub fn new(paths: &Paths) -> Self {
        Self::below(&paths.state, &paths.runtime)
    }

    fn below(state: &Path, runtime: &Path) -> Self {
        Self {
            specs: state.join("sessions"),
            set_aside: state.join("set-aside"),
            restored: state.join("restored.json"),
            last_sweep: runtime.join("last-sweep.json"),
            ends: runtime.join("ended"),
            records: runtime.join("supervised"),
            notice_texts: runtime.join("notices"),
            frozen: runtime.join("guard/frozen.json"),
            watched: runtime.join("guard/watched.json"),
            locks: runtime.join("spawning"),
        }
    }

    fn end_path(&self, id: &SessionId) -> PathBuf {
        self.ends.join(format!("{id}.json"))
    }

    fn record_path(&self, id: &SessionId) -> PathBuf {
        self.records.join(format!("{id}.json"))
    }

    /// # Errors
    /// `Failed` if the file cannot be written.
    pub fn write_restored(&self, restored: &Restored) -> Result<()> {
        files::write_json(&self.restored, restored)
    }

    /// The results of the last restore, which may be of an earlier boot; `None` if there was none.
    ///
    /// # Errors
    /// `Failed` if the file cannot be read.
    pub fn restored(&self) -> Result<Option<Restored>> {
        files::read_json(&self.restored)
    }

    /// Removes the results of restores and their lock file, and the directories that are empty then.
    ///
    /// # Errors
    /// `Failed` if a file cannot be removed.
    pub fn forget_restores(&self) -> Result<()> {
        files::remove(&self.restored)?;
        files::remove(&self.restored.with_extension("lock"))?;
        // rmdir(2) leaves directories that still contain files, such as specifications of sessions.
        for dir in [Some(self.specs.as_path()), self.restored.parent()].into_iter().flatten() {
            let _ = std::fs::remove_dir(dir);
        }
        Ok(())
    }

    /// # Errors
    /// `Failed` if the file cannot be written.
    pub fn write_last_sweep(&self, sweep: &LastSweep) -> Result<()> {
        files::write_json(&self.last_sweep, sweep)
    }

    /// The result of this boot's last sweep; `None` if there was none.
    ///
    /// # Errors
    /// `Failed` if the file cannot be read.
    pub fn last_sweep(&self) -> Result<Option<LastSweep>> {
        files::read_json(&self.last_sweep)
    }

    /// # Errors
    /// `Failed` if the file cannot be written.
    pub fn write_end(&self, id: &SessionId, end: &End) -> Result<()> {
        files::write_json(&self.end_path(id), end)
    }

    /// The end of the session's last run in this boot; `None` if no run has ended.
    ///
    /// # Errors
    /// `Failed` if the file cannot be read.
    pub fn end(&self, id: &SessionId) -> Result<Option<End>> {
        files::read_json(&self.end_path(id))
    }

    /// Removes the end of the last run, because another run begins.
    ///
    /// # Errors
    /// `Failed` if the file cannot be removed.
    pub fn remove_end(&self, id: &SessionId) -> Result<()> {
        files::remove(&self.end_path(id))
    }

    /// The directory in which [`Self::write_end`] makes its files, for inotify. Makes the directory if it
    /// does not exist.
    ///
    /// # Errors
    /// `Failed` if the directory cannot be made.
    pub fn ends_dir(&self) -> Result<&Path> {
        files::private_dir(&self.ends)?;
        Ok(&self.ends)
    }

    /// Writes the state that a supervisor hands to the next one.
    ///
    /// # Errors
    /// `Failed` if the file cannot be written.
    pub fn write_record(&self, id: &SessionId, record: &Record) -> Result<()> {
        files::write_json(&self.record_path(id), record)
    }

    /// Changes the record of a session's supervisors. An unreadable record counts as empty.
    ///
    /// # Errors
    /// `Failed` if the file cannot be written.
    pub fn change_record(&self, id: &SessionId, change: impl FnOnce(&mut Record)) -> Result<()> {
        let _turn = self.spec_turn(id);
        let mut record = self.record(id).ok().flatten().unwrap_or_default();
        change(&mut record);
        self.write_record(id, &record)
    }

    /// The sessions that had a supervisor in this boot.
    ///
    /// # Errors
    /// `Failed` if the directory cannot be read.
    pub fn recorded(&self) -> Result<Vec<SessionId>> {
        ids_in(&self.records)
    }

    /// The state that this boot's last supervisor has handed over; `None` if there was none.
    ///
    /// # Errors
    /// `Failed` if the file cannot be read.
    pub fn record(&self, id: &SessionId) -> Result<Option<Record>> {
        files::read_json(&self.record_path(id))
    }

    fn notice_text_path(&self, id: &SessionId) -> PathBuf {
        self.notice_texts.join(format!("{id}.json"))
    }

    /// Writes the text for a notice that is about to be sent.
    ///
    /// # Errors
    /// `Failed` if the file cannot be written.
    pub fn write_notice_text(&self, id: &SessionId, text: &NoticeText) -> Result<()> {
        files::write_json(&self.notice_text_path(id), text)
    }

    /// The text for a notice of the report that came `since`; `None` if there is no such text.
    ///
    /// # Errors
    /// `Failed` if the file cannot be read.
    pub fn notice_text(&self, id: &SessionId, since: Option<u64>) -> Result<Option<String>> {
        let text = files::read_json::<NoticeText>(&self.notice_text_path(id))?;
        Ok(text.filter(|text| Some(text.since) == since).map(|text| text.text))
    }

    /// Removes the text for a notice.
    ///
    /// # Errors
    /// `Failed` if the file cannot be removed.
    pub fn remove_notice_text(&self, id: &SessionId) -> Result<()> {
        files::remove(&self.notice_text_path(id))
    }

    /// Writes which sessions the watch is about to freeze. The watch calls this before it freezes them.
    ///
    /// # Errors
    /// `Failed` if the file cannot be written.
    pub fn write_frozen(&self, sessions: &[SessionId]) -> Result<()> {
        if sessions.is_empty() {
            files::remove(&self.frozen)
        } else {
            files::write_json(&self.frozen, &sessions)
        }
    }

    /// The sessions that the watch has frozen.
    ///
    /// # Errors
    /// `Failed` if the file cannot be read.
    pub fn frozen(&self) -> Result<Vec<SessionId>> {
        Ok(files::read_json(&self.frozen)?.unwrap_or_default())
    }

    /// Writes the state of the guarded units for the next watch. With `None` the next watch has nothing to
    /// compare with.
    ///
    /// # Errors
    /// `Failed` if the file cannot be written.
    pub fn write_watched(&self, snapshot: Option<&Snapshot>) -> Result<()> {
        match snapshot {
            Some(snapshot) => files::write_json(&self.watched, snapshot),
            None => files::remove(&self.watched),
        }
    }

    /// The state of the guarded units as the last watch saw them.
    ///
    /// # Errors
    /// `Failed` if the file cannot be read.
    pub fn watched(&self) -> Result<Option<Snapshot>> {
        files::read_json(&self.watched)
    }
}
/// The sessions that have a file `ID.json` in a directory.
fn ids_in(dir: &Path) -> Result<Vec<SessionId>> {
    let doing = || format!("cannot read {}", dir.display());
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).trying(doing()),
    };
    let mut ids = Vec::new();
    for entry in entries {
        let name = entry.trying(doing())?.file_name();
        let id = name.to_str().and_then(|name| name.strip_suffix(".json"));
        ids.extend(id.and_then(|id| SessionId::try_from(id.to_owned()).ok()));
    }
    Ok(ids)
}
