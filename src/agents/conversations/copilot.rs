//! GitHub Copilot CLI. Each conversation is a folder, `session-state/ID/`, from the start on. The agent holds
//! `inuse.PID.hold` in it open, and moves to another folder with `/clear`. A clean end removes this file and
//! `inuse.PID.lock`; SIGKILL leaves them. (Measured with 1.0.102.)

use std::path::{Path, PathBuf};

use crate::model::process::ProcessId;
use crate::model::session::resume::check_id;
use crate::sys::{files, proc};

/// The directory of the conversations.
pub(super) fn folders(dir: &Path) -> PathBuf {
    dir.join("session-state")
}

/// The id of the conversation whose folder this is.
fn id_of(folder: &Path) -> Option<&str> {
    folder.file_name()?.to_str().filter(|id| check_id(id).is_ok())
}

pub(super) fn of(dir: &Path, pid: u32) -> Option<String> {
    let folders = files::resolved(&folders(dir))?;
    let open = proc::open_files(pid);
    let folder =
        open.iter().filter_map(|path| path.parent()).find(|folder| folder.parent() == Some(&folders));
    folder.and_then(id_of).map(ToOwned::to_owned)
}

/// The newest conversation whose folder names the process. Older ones may be of an earlier process with that pid.
pub(super) fn last(dir: &Path, pid: u32) -> Option<String> {
    let name = format!("inuse.{pid}.lock");
    let marks = files::paths_in(&folders(dir)).ok()?.into_iter().map(|folder| folder.join(&name));
    let newest = marks.filter_map(|mark| Some((files::modified(&mark)?, mark))).max()?.1;
    newest.parent().and_then(id_of).map(ToOwned::to_owned)
}

pub(super) fn has(dir: &Path, id: &str) -> bool {
    files::exists(&folders(dir).join(id))
}

pub(super) fn writer(dir: &Path, id: &str) -> Option<ProcessId> {
    let folder = files::resolved(&folders(dir).join(id))?;
    let has_it_open = |pid: &u32| proc::open_files(*pid).iter().any(|path| path.parent() == Some(&folder));
    proc::process_id(proc::pids().into_iter().find(has_it_open)?)
}
