//! Reads the configuration files and merges them.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use toml::Table;

use super::check::{check_nudge, check_port, check_pressure, check_together};
use super::explain::explain;
use super::{Config, Sweep};
use crate::model::error::{Error, Kind, Result, Trying};
use crate::model::session::environment;
use crate::sys::files;

/// Reads the file `given` alone, or else `forge.toml` and then `forge.toml.d/*.toml` in the order of their
/// names. A later file overrides an earlier one key by key.
///
/// # Errors
/// `Kind::Config` if a file cannot be read or is not valid, `Kind::Failed` if the directory cannot be read.
pub fn load(dir: &Path, given: Option<&Path>) -> Result<Config> {
    let mut merged = Table::new();
    for file in files(dir, given)? {
        let text = files::read_text(&file)
            .map_err(|error| Error::new(Kind::Config, format!("cannot read {}: {error}", file.display())))?;
        parse(&text).map_err(|error| error.while_(file.display()))?;
        merge(&mut merged, toml::from_str(&text).trying(file.display())?);
    }
    // Each file is valid by itself, so the merged table has known keys with valid types.
    let config: Config =
        merged.try_into().map_err(|error: toml::de::Error| Error::new(Kind::Config, error.message()))?;
    check_together(&config)?;
    Ok(config)
}

/// The configuration files that exist.
fn files(dir: &Path, given: Option<&Path>) -> Result<Vec<PathBuf>> {
    if let Some(file) = given {
        return Ok(vec![file.to_owned()]);
    }
    // If the kernel does not reveal whether a file exists, the file counts as existing: reading it then
    // reports the reason.
    let is_there = |file: &PathBuf| files::may_exist(file);
    let mut files: Vec<PathBuf> = Some(dir.join("forge.toml")).filter(is_there).into_iter().collect();
    let fragments = dir.join("forge.toml.d");
    let doing = format!("cannot read {}", fragments.display());
    let mut found = match files::paths_in(&fragments) {
        Ok(found) => found,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(files);
        }
        Err(error) => return Err(error).trying(doing),
    };
    found.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    found.sort();
    files.extend(found);
    Ok(files)
}

/// Overrides the earlier table's keys with the later one's.
fn merge(earlier: &mut Table, later: Table) {
    for (key, value) in later {
        match (earlier.get_mut(&key), value) {
            (Some(toml::Value::Table(earlier)), toml::Value::Table(later)) => merge(earlier, later),
            (_, value) => {
                earlier.insert(key, value);
            }
        }
    }
}

/// Parses one file and checks its values.
pub(super) fn parse(text: &str) -> Result<Config> {
    let config: Config = toml::from_str(text).map_err(|error| explain(text, &error))?;
    config.limits.check().map_err(|error| Error { kind: Kind::Config, ..error.while_("[limits]") })?;
    for (id, session) in &config.sessions {
        let checked = session
            .limits
            .check()
            .and_then(|()| session.env.keys().try_for_each(|name| environment::check_name(name)))
            .and_then(|()| session.nudge_text.as_deref().map_or(Ok(()), check_nudge))
            .and_then(|()| session.ports.iter().try_for_each(|port| check_port(*port)));
        checked.map_err(|error| Error { kind: Kind::Config, ..error.while_(format!("[sessions.{id}]")) })?;
    }
    let guarded =
        config.guard.all_units().and_then(|_| config.guard.freeze_on_pressure.map_or(Ok(()), check_pressure));
    guarded.map_err(|error| Error { kind: Kind::Config, ..error.while_("[guard]") })?;
    if !(1..=100).contains(&config.restore.concurrency) {
        let error = format!("[restore] concurrency is {}: use 1 to 100", config.restore.concurrency);
        return Err(Error::new(Kind::Config, error));
    }
    for name in &config.sweep.protect {
        glob::Pattern::new(name).map_err(|error| {
            Error::new(
                Kind::Config,
                format!("[sweep] protect: '{name}' is not a valid pattern: {}", error.msg),
            )
        })?;
    }
    Ok(config)
}

/// The `[sweep]` table of a configuration that is otherwise not valid, if at least that table can be read.
pub fn salvage_sweep(dir: &Path, given: Option<&Path>) -> Option<Sweep> {
    let mut merged = Table::new();
    for file in files(dir, given).ok()? {
        merge(&mut merged, toml::from_str(&files::read_text(&file).ok()?).ok()?);
    }
    match merged.remove("sweep") {
        None => Some(Sweep::default()),
        Some(value) => value.try_into().ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::session::name::SessionId;

    #[test]
    fn every_table_is_read() {
        let config = parse(
            r#"
            [sweep]
            protect = ["homebase", "prod-*"]
            [limits]
            memory_max = "2G"
            [sessions.claude-1]
            command = "claude --continue"
            cwd = "~/src"
            ready = "❯"
            ready_timeout = 60
            env = { LANG = "C.UTF-8" }
            limits = { tasks_max = 200, cpu_quota = "150%" }
            resume = "claude --resume {resume_id}"
            resume_id = "claude"
            boot = true
            [restore]
            concurrency = 2
            [notify]
            command = ["mail", "-s", "forge"]
            [notify.telegram]
            token_file = "~/.secrets/telegram"
            chat_id = -100123
            [notify.webhook]
            url = "https://example.org/hook"
            [guard]
            units = ["web", "db.socket"]
            system_units = ["nginx"]
            freeze_on_pressure = "40%"
            "#,
        )
        .unwrap();
        assert_eq!(config.sweep.timeout, Duration::from_secs(2));
        let session = &config.sessions[&SessionId::from_name("claude-1").unwrap()];
        assert_eq!(session.command.as_ref().unwrap().as_slice(), ["claude", "--continue"]);
        assert_eq!(session.limits.tasks_max, Some(200));
        let guarded: Vec<String> =
            config.guard.all_units().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(guarded, ["web.service", "db.socket", "nginx.service (system)"]);
    }

    #[test]
    fn a_time_span_is_a_number_or_text() {
        let config = parse(
            "[sweep]\ntimeout_ms = '1s'\n[sessions.a]\nready_timeout = 60\nstuck_after = '10min'\n\
             stuck_restart_after = '1h 30min'\n",
        )
        .unwrap();
        let session = &config.sessions[&SessionId::from_name("a").unwrap()];
        assert_eq!(config.sweep.timeout, Duration::from_secs(1));
        assert_eq!(session.ready_timeout, Some(Duration::from_secs(60)));
        assert_eq!(session.stuck_after, Some(Duration::from_secs(600)));
        assert_eq!(session.stuck_restart_after, Some(Duration::from_secs(5400)));
    }

    #[test]
    fn the_sample_is_valid_and_in_the_documents() {
        let sample = include_str!("../../packaging/forge.toml");
        parse(sample).and_then(|config| check_together(&config)).unwrap();
        assert!(include_str!("../../docs/configuration.md").contains(&format!("```toml\n{sample}```\n")));
    }

    #[test]
    fn a_fragment_overrides_key_by_key() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| files::write_text_for_tests(&root.path().join(name), text);
        write("forge.toml", "[sessions.a]\ncommand = 'x'\nready = 'y'\n");
        write("forge.toml.d/10.toml", "[sessions.a]\ncommand = 'z'\n");
        write("forge.toml.d/notes.txt", "not toml");
        let config = load(root.path(), None).unwrap();
        let session = &config.sessions[&SessionId::from_name("a").unwrap()];
        assert_eq!(session.command.as_ref().unwrap().program(), "z");
        assert_eq!(session.ready.as_ref().unwrap().as_str(), "y");
        assert!(
            load(root.path(), Some(&root.path().join("none.toml")))
                .unwrap_err()
                .message
                .contains("none.toml")
        );
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        assert!(load(root.path(), None).is_ok());
        std::os::unix::fs::symlink("forge.toml", root.path().join("forge.toml")).unwrap();
        assert!(load(root.path(), None).unwrap_err().message.contains("forge.toml"));
        assert!(salvage_sweep(root.path(), None).is_none());
    }

    #[test]
    fn the_sweep_table_is_read_from_a_broken_file() {
        let root = tempfile::tempdir().unwrap();
        let write = |text: &str| files::write_text_for_tests(&root.path().join("forge.toml"), text);
        write("[sweep]\nprotect = ['homebase']\n[nonsense]\n");
        assert!(load(root.path(), None).is_err());
        assert_eq!(salvage_sweep(root.path(), None).unwrap().protect, ["homebase"]);
        write("[sweep\n");
        assert!(salvage_sweep(root.path(), None).is_none());
    }
}
