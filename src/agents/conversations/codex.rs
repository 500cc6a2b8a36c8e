//! Codex. A process without the daemon holds a lock file for each of its conversations open,
//! `thread-writer-locks/ID.lock`, from its start on. After `/new` and `/resume` it also holds the old ones. The
//! conversation is in `sessions/YEAR/MONTH/DAY/rollout-TIME-ID.jsonl` from the first prompt on. (Measured with 0.171.0.)

use std::path::{Path, PathBuf};

use crate::model::process::ProcessId;
use crate::model::session::resume::check_id;
use crate::sys::{files, proc};

/// The length of an id: a UUID.
const ID: usize = 36;

/// The directory of the lock files.
pub(super) fn locks(dir: &Path) -> PathBuf {
    dir.join("thread-writer-locks")
}

/// The id in the name of a conversation's file.
fn id_in(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?.strip_prefix("rollout-")?.strip_suffix(".jsonl")?;
    let id = name.get(name.len().checked_sub(ID)?..)?;
    (id.matches('-').count() == 4 && check_id(id).is_ok()).then_some(id)
}

/// The conversation of the process that has this pid now: of those that it has open, the one whose files changed last.
pub(super) fn of(dir: &Path, pid: u32) -> Option<String> {
    let locks = files::resolved(&locks(dir))?;
    let open = proc::open_files(pid);
    let changed = |id: &str| {
        let rollouts = open.iter().filter(|path| id_in(path) == Some(id));
        rollouts
            .cloned()
            .chain([locks.join(format!("{id}.lock"))])
            .filter_map(|path| files::modified(&path))
            .max()
    };
    let held = open
        .iter()
        .filter(|path| path.parent() == Some(&locks))
        .filter_map(|path| path.file_stem()?.to_str());
    let id = held.filter(|id| check_id(id).is_ok()).max_by_key(|id| changed(id))?;
    Some(id.to_owned())
}

pub(super) fn has(dir: &Path, id: &str) -> bool {
    file_of(&dir.join("sessions"), id, 3).is_some()
}

/// The file of a conversation, in folders of this depth: year, month and day.
fn file_of(folder: &Path, id: &str, depth: u32) -> Option<PathBuf> {
    let mut entries = files::paths_in(folder).ok()?;
    if depth == 0 {
        return entries.into_iter().find(|path| id_in(path) == Some(id));
    }
    // A conversation to resume is usually one of the newest.
    entries.sort_by(|a, b| b.cmp(a));
    entries.iter().find_map(|entry| file_of(entry, id, depth - 1))
}

pub(super) fn writer(dir: &Path, id: &str) -> Option<ProcessId> {
    let lock = files::resolved(&locks(dir).join(format!("{id}.lock")))?;
    let pid = proc::pids().into_iter().find(|pid| proc::open_files(*pid).contains(&lock))?;
    proc::process_id(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_ends_with_the_id() {
        let id = "019f3c2a-1b2c-7d3e-8f40-0123456789ab";
        let name = format!("rollout-2026-11-28T10-00-00-{id}.jsonl");
        assert_eq!(id_in(Path::new(&name)), Some(id));
        for other in ["rollout-2026.jsonl", "history.jsonl", "rollout-2026-11-28T10-00-00.jsonl"] {
            assert_eq!(id_in(Path::new(other)), None, "{other}");
        }
    }
}
