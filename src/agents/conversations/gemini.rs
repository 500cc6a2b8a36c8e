//! Gemini CLI. It shows nowhere which conversation a process has open: forge knows only the id that it chose itself.
//! The files are in `tmp/NAME/chats/`, and `projects.json` has the NAME of a working directory. The first line of
//! each has the conversation's id. A resumed conversation may get a second file. (Measured with 0.61.0.)

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Deserialize;

use crate::sys::files;

#[derive(Deserialize)]
struct Projects {
    projects: HashMap<PathBuf, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FirstLine {
    session_id: String,
}

/// A file of a conversation.
struct Chat {
    id: String,
    modified: SystemTime,
}

/// Checks that the conversation is the newest one of the directory, unless the agent has reported it. If there is a
/// newer one, the session may have begun
/// that one (`/clear`), or somebody else: forge cannot tell.
pub(super) fn check(dir: &Path, cwd: &Path, id: &str, is_reported: bool) -> Result<(), String> {
    let chats = chats(dir, cwd).unwrap_or_default();
    let last =
        |is_its: bool| chats.iter().filter(|chat| (chat.id == id) == is_its).map(|chat| chat.modified).max();
    match (last(true), last(false)) {
        (None, _) => Err(format!("there is no conversation {id} of {} in {}", cwd.display(), dir.display())),
        (Some(its), Some(other)) if other > its && !is_reported => Err(format!(
            "there is a newer conversation than {id} in {}, and gemini does not show whose it is",
            cwd.display()
        )),
        _ => Ok(()),
    }
}

fn chats(dir: &Path, cwd: &Path) -> Option<Vec<Chat>> {
    let projects: Projects = serde_json::from_slice(&files::read(&dir.join("projects.json")).ok()??).ok()?;
    let name = projects.projects.get(cwd).filter(|name| !name.contains('/') && *name != "..")?;
    let paths = files::paths_in(&dir.join("tmp").join(name).join("chats")).ok()?;
    Some(paths.iter().filter_map(|path| chat(path)).collect())
}

fn chat(path: &Path) -> Option<Chat> {
    let text = files::read_text(path).ok()?;
    let first: FirstLine = serde_json::from_str(text.lines().next()?).ok()?;
    Some(Chat { id: first.session_id, modified: files::modified(path)? })
}
