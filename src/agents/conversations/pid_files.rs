//! Claude Code and Qwen Code. Each interactive process writes `sessions/PID.json`: its pid, its start time and the id
//! of its conversation. The file follows `/clear`. A clean end removes it; SIGKILL and a power cut leave it. (Measured
//! with Claude Code 2.1.332 and Qwen Code 0.24.4.)

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::model::process::ProcessId;
use crate::model::session::resume::check_id;
use crate::sys::{files, process};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PidFile {
    pid: u32,
    session_id: String,
    /// The start time of the process, as in [`ProcessId`]. Qwen Code puts the boot id and a colon before it.
    proc_start: String,
}

impl PidFile {
    fn read(path: &Path) -> Option<Self> {
        let file: Self = serde_json::from_slice(&files::read(path).ok()??).ok()?;
        check_id(&file.session_id).is_ok().then_some(file)
    }

    fn process(&self) -> Option<ProcessId> {
        let start = self.proc_start.rsplit(':').next()?;
        Some(ProcessId { pid: self.pid, start: start.parse().ok()? })
    }
}

pub(super) fn of(dir: &Path, agent: ProcessId) -> Option<String> {
    let file = PidFile::read(&dir.join(format!("sessions/{}.json", agent.pid)))?;
    (file.process() == Some(agent)).then_some(file.session_id)
}

/// The agents create the file of a conversation at the first prompt, in a folder for each working directory: below it
/// in `folder`.
pub(super) fn has(dir: &Path, folder: &str, id: &str) -> bool {
    let name = format!("{id}.jsonl");
    let projects = files::paths_in(&dir.join("projects")).unwrap_or_default();
    projects.iter().any(|project| files::is_file(&project.join(folder).join(&name)))
}

pub(super) fn writer(dir: &Path, id: &str) -> Option<ProcessId> {
    let paths = files::paths_in(&dir.join("sessions")).unwrap_or_default();
    let is_json = |path: &&PathBuf| path.extension().is_some_and(|ending| ending == "json");
    let files = paths.iter().filter(is_json).filter_map(|path| PidFile::read(path));
    files
        .filter(|file| file.session_id == id)
        .filter_map(|file| file.process())
        .find(|agent| process::is_alive(*agent))
}
