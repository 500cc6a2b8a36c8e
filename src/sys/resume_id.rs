//! Finding the id with which a program resumes its conversation.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use super::clock::Deadline;
use super::command;
use super::env::caller_environment;
use crate::model::error::{Error, Kind, Result, Trying};
use crate::model::session::environment::for_session;
use crate::model::session::resume::{check_id, claude_conversation, claude_project};
use crate::model::session::spec::Spec;

/// The deadline for a user's command that prints an id.
const COMMAND: Duration = Duration::from_secs(10);

/// The id that a command prints. It runs in the session's directory and environment.
///
/// # Errors
/// `Failed` if the command fails or prints no id; `Deadline`.
pub fn printed(argv: &[String], spec: &Spec) -> Result<String> {
    let (program, arguments) =
        argv.split_first().ok_or_else(|| Error::new(Kind::Config, "the resume_id command is empty"))?;
    let mut command = Command::new(program);
    let environment = for_session(caller_environment(), &spec.kept_env, &spec.env, &spec.session);
    command.args(arguments).current_dir(&spec.cwd).env_clear().envs(environment);
    let output = command::run(&mut command, Deadline::after(COMMAND))?;
    if !output.success {
        let said = output.stderr.lines().last().unwrap_or_default().to_owned();
        return Err(Error::failed(format!("the resume_id command {program} failed: {said}")));
    }
    let id = output.stdout.trim().to_owned();
    check_id(&id)?;
    Ok(id)
}

/// The directory in which Claude Code keeps the conversations of a working directory.
pub fn claude_dir(home: &Path, cwd: &Path) -> PathBuf {
    home.join(".claude/projects").join(claude_project(cwd))
}

/// The conversations in such a directory, newest first.
///
/// # Errors
/// `Failed` if the directory exists and cannot be read.
pub fn claude_conversations(dir: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).trying(format!("cannot read {}", dir.display())),
    };
    let mut found: Vec<(SystemTime, String)> = entries
        .flatten()
        .filter_map(|entry| {
            let id = claude_conversation(entry.file_name().to_str()?)?.to_owned();
            let metadata = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
            // An empty file is not yet a conversation, and cannot be resumed.
            (metadata.len() > 0).then_some((metadata.modified().ok()?, id))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    Ok(found.into_iter().map(|(_, id)| id).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::files::write_text_for_tests;

    #[test]
    fn the_newest_conversation_comes_first() {
        let root = tempfile::tempdir().unwrap();
        let dir = claude_dir(root.path(), Path::new("/srv/x"));
        assert!(claude_conversations(&dir).unwrap().is_empty());
        for (age, name) in [(30, "old"), (10, "new"), (20, "middle"), (1, "agent-x")] {
            let path = dir.join(format!("{name}.jsonl"));
            write_text_for_tests(&path, "{}\n");
            let file = std::fs::File::options().append(true).open(&path).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        }
        write_text_for_tests(&dir.join("empty.jsonl"), "");
        std::fs::create_dir(dir.join("dir.jsonl")).unwrap();
        assert_eq!(claude_conversations(&dir).unwrap(), ["new", "middle", "old"]);
    }
}
