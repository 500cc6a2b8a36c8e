//! Leftovers of forge: files and processes.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Directories that forge writes in.
pub(crate) struct Files(Vec<PathBuf>);

impl Files {
    /// The state and runtime directories of sessions.
    pub(crate) fn of_sessions() -> Self {
        let runtime = format!("/run/user/{}/forge", nix::unistd::getuid());
        Self(vec![".local/state/forge".into(), runtime.into()])
    }

    /// The directories of units.
    pub(crate) fn of_units() -> Self {
        Self(vec![".config/systemd/user".into()])
    }

    /// A file in the first of them.
    pub(crate) fn state(&self, name: &str) -> PathBuf {
        self.0[0].join(name)
    }

    fn paths(&self) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        let mut folders = self.0.clone();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                    _ => paths.push(entry.path()),
                }
            }
        }
        paths.sort();
        paths
    }

    fn unnamed(&self) -> Vec<PathBuf> {
        let is_temporary = |path: &PathBuf| path.extension().is_some_and(|end| end == "tmp");
        self.paths().into_iter().filter(is_temporary).collect()
    }

    /// All files with their contents, links followed.
    pub(crate) fn all(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let read = |path: PathBuf| (path.clone(), std::fs::read(path).unwrap_or_default());
        self.paths().into_iter().map(read).collect()
    }

    /// Asserts that the files that forge reads are complete.
    #[track_caller]
    pub(crate) fn are_whole(&self) {
        for (path, text) in self.all() {
            if path.extension().is_some_and(|end| end == "json") {
                let value = serde_json::from_slice::<serde_json::Value>(&text);
                assert!(
                    value.is_ok(),
                    "{} is incomplete: {}",
                    path.display(),
                    String::from_utf8_lossy(&text)
                );
            }
        }
    }

    /// Makes temporary files of killed writers as old as abandoned ones.
    pub(crate) fn age(&self) {
        for path in self.unnamed() {
            let old = SystemTime::now() - Duration::from_secs(120);
            std::fs::File::options()
                .write(true)
                .open(path)
                .and_then(|file| file.set_modified(old))
                .expect("a time");
        }
    }

    #[track_caller]
    pub(crate) fn have_no_leftovers(&self) {
        assert_eq!(self.unnamed(), Vec::<PathBuf>::new(), "what a killed writer left");
    }
}

/// How many processes have this text in their command line.
pub(crate) fn programs(part: &str) -> usize {
    let is_it = |folder: &Path| {
        let line = std::fs::read(folder.join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.trim_end() == part
            || (part.starts_with("gate") && line.starts_with("forge ") && line.contains(part))
    };
    let entries = std::fs::read_dir("/proc").expect("/proc");
    entries.flatten().filter(|entry| is_it(&entry.path())).count()
}
