//! Claude Code. Each interactive process writes `sessions/PID.json`: its pid, its start time and the id of its
//! conversation. The file follows `/clear`. A clean end removes it; SIGKILL and a power cut leave it. (Measured with
//! 2.1.332.)

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::model::process::ProcessId;
use crate::model::session::resume::check_id;
use crate::sys::{files, proc, process};

/// The variable that names its directory, and the directory's default below the home directory.
pub(super) const HOME: (&str, &str) = ("CLAUDE_CONFIG_DIR", ".claude");

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProcessFile {
    pid: u32,
    session_id: String,
    /// The start time of the process, as in [`ProcessId`], as text.
    proc_start: String,
}

impl ProcessFile {
    fn process(&self) -> Option<ProcessId> {
        Some(ProcessId { pid: self.pid, start: self.proc_start.parse().ok()? })
    }
}

fn read(path: &Path) -> Option<ProcessFile> {
    let running: ProcessFile = serde_json::from_slice(&files::read_own(path).ok()??).ok()?;
    check_id(&running.session_id).is_ok().then_some(running)
}

/// The conversation of the process that has this pid now.
pub(super) fn of_live(dir: &Path, pid: u32) -> Option<String> {
    of_process(dir, proc::process_id(pid)?)
}

pub(super) fn of_process(dir: &Path, agent: ProcessId) -> Option<String> {
    let running = read(&dir.join(format!("sessions/{}.json", agent.pid)))?;
    (running.process() == Some(agent)).then_some(running.session_id)
}

/// The agent creates the file of a conversation at the first prompt, in a folder for each working directory.
pub(super) fn has(dir: &Path, id: &str) -> bool {
    let name = format!("{id}.jsonl");
    let folders = files::paths_in(&dir.join("projects")).unwrap_or_default();
    folders.iter().any(|folder| files::is_file(&folder.join(&name)))
}

pub(super) fn writer(dir: &Path, id: &str) -> Option<ProcessId> {
    let running = files::paths_in(&dir.join("sessions")).unwrap_or_default();
    let is_record = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "json");
    let running = running.iter().filter(|path| is_record(path)).filter_map(|path| read(path));
    running
        .filter(|running| running.session_id == id)
        .filter_map(|running| running.process())
        .find(|agent| process::is_alive(*agent))
}
