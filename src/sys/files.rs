//! Reads and writes files. forge writes its own files atomically, in directories that only the user can write.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::libc::{O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK};
use nix::unistd::AccessFlags;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::error::{Error, Result, Trying};

/// The size limit of a file that forge reads, and so of a file that forge writes. Nearly all files are far
/// smaller.
const LARGEST: usize = 1 << 20;

/// The initial size of the read buffer in bytes. Few files are longer.
const PAGE: usize = 4096;

/// A temporary file that is this old has no writer any more: a writer needs milliseconds.
pub const LEFT_OVER: Duration = Duration::from_secs(60);

/// The number of files that this process has written.
static WRITTEN: AtomicU32 = AtomicU32::new(0);

/// Makes a directory, and its missing parents, with mode 0700.
///
/// # Errors
/// `Failed` if the directory cannot be made, belongs to another user, or is writable by everybody.
pub fn private_dir(path: &Path) -> Result<()> {
    let doing = || format!("cannot make the directory {}", path.display());
    DirBuilder::new().recursive(true).mode(0o700).create(path).trying(doing())?;
    let dir =
        OpenOptions::new().read(true).custom_flags(O_DIRECTORY | O_CLOEXEC).open(path).trying(doing())?;
    let metadata = dir.metadata().trying(doing())?;
    match not_the_users_alone(&metadata) {
        Some(why) => Err(Error::failed(format!("{}: {why}", path.display()))
            .hint("forge keeps its files in directories of your own; look at its contents, then fix its owner or mode")),
        None => Ok(()),
    }
}

/// Why another user may have written a file or a directory; `None` if no other user can have. A group's write
/// permission is accepted: the user decides who is in the group.
fn not_the_users_alone(metadata: &Metadata) -> Option<String> {
    let uid = nix::unistd::geteuid().as_raw();
    if metadata.uid() != uid {
        return Some(format!("it belongs to uid {}, not to you ({uid})", metadata.uid()));
    }
    (metadata.mode() & 0o002 != 0)
        .then(|| format!("everybody may write it (mode {:04o})", metadata.mode() & 0o7777))
}

/// Makes a directory, and its parents, with the usual mode.
///
/// # Errors
/// `Failed` if the directory cannot be made.
pub fn make_dir(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).trying(format!("cannot make the directory {}", path.display()))
}

/// Removes the temporary files of writers that were killed half-way: files whose names begin with `prefix` and
/// that are at least `age` old. Files that cannot be removed do no harm and stay.
pub fn clear_leftovers(dir: &Path, prefix: &str, age: Duration) {
    let is_old = |metadata: &Metadata| {
        metadata.modified().is_ok_and(|at| at.elapsed().is_ok_and(|elapsed| elapsed >= age))
    };
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_temporary = name.starts_with(prefix)
            && name.strip_suffix(".tmp").and_then(|name| name.rsplit_once('.')).is_some_and(|(_, writer)| {
                writer.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') && !writer.is_empty()
            });
        if is_temporary && entry.metadata().is_ok_and(|metadata| is_old(&metadata)) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Whether the user may make files in a directory.
pub fn is_writable(dir: &Path) -> bool {
    let flags = AccessFlags::W_OK | AccessFlags::X_OK;
    nix::unistd::access(dir, flags).is_ok()
}

/// Writes a value as JSON, atomically: a reader sees the old file or the new one, also after a loss of power.
///
/// # Errors
/// `Failed` if the file cannot be written; the old file is unchanged then.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    private_dir(directory_of(path)?)?;
    write_document(path, value)
}

/// As [`write_json`], at a path of the user's choice, in a directory that exists and that other users may
/// write.
///
/// # Errors
/// `Failed` if the file cannot be written; the old file is unchanged then.
pub fn write_document<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let mut bytes = serde_json::to_vec_pretty(value).trying(format!("cannot write {}", path.display()))?;
    bytes.push(b'\n');
    if bytes.len() > LARGEST {
        return Err(Error::failed(format!(
            "cannot write {}: it would be too long to be read",
            path.display()
        ))
        .hint("is there a very long value in the environment or among the arguments?"));
    }
    write(path, &bytes, 0o600)
}

/// Reads a value from a file that the user named, and follows links. `None` if the file does not exist.
///
/// # Errors
/// `Failed` if the file exists and is not such a value.
pub fn read_document<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    parse(path, if_there(path, open(path, 0).and_then(contents))?)
}

fn parse<T: DeserializeOwned>(path: &Path, bytes: Option<Vec<u8>>) -> Result<Option<T>> {
    let Some(bytes) = bytes else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).trying(format!("cannot read {}", path.display()))
}

fn directory_of(path: &Path) -> Result<&Path> {
    path.parent().ok_or_else(|| Error::failed(format!("{} has no directory", path.display())))
}

/// Writes a file atomically, in a directory that exists.
///
/// # Errors
/// `Failed` if the file cannot be written; the old file is unchanged then.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let dir = directory_of(path)?;
    let doing = format!("cannot write {}", path.display());
    if let Some(stem) = path.file_stem() {
        clear_leftovers(dir, &stem.to_string_lossy(), LEFT_OVER);
    }
    // Pid and count make the name unique. A killed process with the same pid may have left a file of that
    // name: forge removes it. If forge may not remove the file, it must not write to it either.
    let count = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_extension(format!("{}-{count}.tmp", std::process::id()));
    let create = || {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(mode).custom_flags(O_NOFOLLOW | O_CLOEXEC).open(&temporary)
    };
    let created = match create() {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            std::fs::remove_file(&temporary).and_then(|()| create())
        }
        created => created,
    };
    let is_ours = created.is_ok();
    let written = created
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| std::fs::rename(&temporary, path))
        .and_then(|()| File::open(dir)?.sync_all());
    if written.is_err() && is_ours {
        let _ = std::fs::remove_file(&temporary);
    }
    written.trying(doing)
}

/// Reads a value that [`write_json`] wrote. `None` if the file does not exist.
///
/// # Errors
/// `Failed` if the file exists and is not such a value. A file that forge cannot read is not an absent file.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    parse(path, read_own(path)?)
}

/// Reads a file. `None` if it does not exist.
///
/// # Errors
/// `Failed` if the file exists and cannot be read, or is a link.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    if_there(path, open(path, O_NOFOLLOW).and_then(contents))
}

/// Reads one of forge's own files. `None` if it does not exist.
///
/// # Errors
/// `Failed` if the file exists and cannot be read, is a link, or may have been written by another user.
pub fn read_own(path: &Path) -> Result<Option<Vec<u8>>> {
    let own = |file: File| match not_the_users_alone(&file.metadata()?) {
        Some(why) => Err(std::io::Error::other(format!(
            "{why}; fix that if its contents are yours, otherwise remove it"
        ))),
        None => Ok(file),
    };
    if_there(path, open(path, O_NOFOLLOW).and_then(own).and_then(contents))
}

fn if_there(path: &Path, read: std::io::Result<Vec<u8>>) -> Result<Option<Vec<u8>>> {
    match read {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        read => read.map(Some).trying(format!("cannot read {}", path.display())),
    }
}

/// Reads the user's input: a file, or with `None` standard input. Reads at most `most` + 1 bytes; the extra byte
/// shows the caller that the input is too long.
///
/// # Errors
/// `Failed` if the input cannot be read.
pub fn read_given(path: Option<&Path>, most: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = most as u64 + 1;
    match path {
        Some(path) => {
            let doing = || format!("cannot read {}", path.display());
            File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).trying(doing())?;
        }
        None => {
            std::io::stdin()
                .lock()
                .take(limit)
                .read_to_end(&mut bytes)
                .trying("cannot read standard input")?;
        }
    }
    Ok(bytes)
}

/// Reads a file that the user named, and follows links.
///
/// # Errors
/// `Failed` if the file cannot be read.
pub fn read_following(path: &Path) -> Result<Vec<u8>> {
    open(path, 0).and_then(contents).trying(format!("cannot read {}", path.display()))
}

/// Reads a file of the kernel's, such as one below `/proc`. Its metadata has no length; most of these files
/// fit into one page. Names of programs in it need not be UTF-8.
pub(super) fn read_kernel(path: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::with_capacity(PAGE);
    File::open(path)?.take(u64::MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn open(path: &Path, flags: i32) -> std::io::Result<File> {
    OpenOptions::new().read(true).custom_flags(flags | O_CLOEXEC | O_NONBLOCK).open(path)
}

fn contents(file: File) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(PAGE);
    file.take(LARGEST as u64 + 1).read_to_end(&mut bytes)?;
    // The beginning of a file that is too long must not pass for the file.
    if bytes.len() > LARGEST { Err(ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

/// The kind of a directory entry. Links are not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    Missing,
    File,
    /// A link, a directory or a special file, or the kernel refuses to say.
    Other,
}

/// The kind of the entry at this path.
pub fn entry(path: &Path) -> Entry {
    match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => Entry::Missing,
        Ok(metadata) if metadata.is_file() => Entry::File,
        _ => Entry::Other,
    }
}

/// Whether there is an entry at this path, also a dangling link. False if the kernel refuses to say.
pub fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// When the file was modified; `None` if the kernel refuses to say. Does not follow a link.
pub fn modified(path: &Path) -> Option<std::time::SystemTime> {
    path.symlink_metadata().and_then(|metadata| metadata.modified()).ok()
}

/// The path without links; `None` if it leads nowhere.
pub fn resolved(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok()
}

/// Whether the path leads to a regular file. Follows links.
pub fn is_file(path: &Path) -> bool {
    path.is_file()
}

/// The mode bits of the file that the path leads to. Follows links.
///
/// # Errors
/// The error of stat(2).
pub fn mode(path: &Path) -> std::io::Result<u32> {
    path.metadata().map(|metadata| metadata.mode())
}

/// The nearest directory that exists: the path itself, or one above it.
pub fn nearest_dir(path: &Path) -> Option<&Path> {
    path.ancestors().find(|ancestor| ancestor.is_dir())
}

/// Reads a text file that the user named. Follows links.
///
/// # Errors
/// The kernel's error, or `InvalidData` if the file is not UTF-8.
pub fn read_text(path: &Path) -> std::io::Result<String> {
    std::fs::read_to_string(path)
}

/// The paths of a directory's entries, not sorted.
///
/// # Errors
/// The kernel's error.
pub fn paths_in(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    std::fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path())).collect()
}

/// Whether the path leads to a file. True if the kernel refuses to say: reading the file then says why.
pub fn may_exist(path: &Path) -> bool {
    path.try_exists().unwrap_or(true)
}

/// Free disk space in bytes for a directory, which need not exist yet.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let space = rustix::fs::statvfs(nearest_dir(path)?).ok()?;
    Some(space.f_bavail.saturating_mul(space.f_frsize))
}

/// Removes a file. A missing file is not an error.
///
/// # Errors
/// `Failed` if the file cannot be removed.
pub fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).trying(format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Removes a directory if it is empty, apart from forge's temporary files.
pub fn remove_empty_dir(path: &Path) {
    clear_leftovers(path, "forge", Duration::ZERO);
    let _ = std::fs::remove_dir(path);
}

/// Writes a text file and its directories, for tests of readers.
#[cfg(test)]
pub(crate) fn write_text_for_tests(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_written_value_is_read_back_and_no_temporary_file_stays() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b/value.json");
        assert_eq!(read_json::<Vec<u8>>(&path).unwrap(), None);
        write_json(&path, &vec![1u8, 2]).unwrap();
        write_json(&path, &vec![3u8]).unwrap();
        assert_eq!(read_json::<Vec<u8>>(&path).unwrap(), Some(vec![3]));
        let dir = path.parent().unwrap();
        assert_eq!(std::fs::read_dir(dir).unwrap().count(), 1);
        assert_eq!(dir.metadata().unwrap().mode() & 0o777, 0o700);
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        remove(&path).unwrap();
        remove(&path).unwrap();
    }

    #[test]
    fn only_temporary_files_are_cleared() {
        let root = tempfile::tempdir().unwrap();
        for name in
            ["forge.12-0.tmp", "forge-x.3-7.tmp", "mine.1-1.tmp", "forge.tmp", "forge-x.y.tmp", "forge.conf"]
        {
            write_text_for_tests(&root.path().join(name), "");
        }
        let left = || {
            let names = std::fs::read_dir(root.path()).unwrap();
            let mut names: Vec<_> =
                names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        clear_leftovers(root.path(), "forge", Duration::from_secs(60));
        assert_eq!(left().len(), 6, "they may still have a writer");
        clear_leftovers(root.path(), "forge", Duration::ZERO);
        assert_eq!(left(), ["forge-x.y.tmp", "forge.conf", "forge.tmp", "mine.1-1.tmp"]);
    }

    #[test]
    fn a_write_clears_temporary_files_of_the_same_name() {
        let root = tempfile::tempdir().unwrap();
        let left = |name: &str, age: u64| {
            let path = root.path().join(name);
            write_text_for_tests(&path, "");
            let file = File::options().write(true).open(&path).unwrap();
            file.set_modified(std::time::SystemTime::now() - Duration::from_secs(age)).unwrap();
            path
        };
        let (mine, young) = (left("value.7-0.tmp", 61), left("value.8-0.tmp", 1));
        let other = left("other.7-0.tmp", 61);
        write_json(&root.path().join("value.json"), &1).unwrap();
        assert!(!mine.exists());
        assert!(young.exists(), "it may still have a writer");
        assert!(other.exists());
    }

    #[test]
    fn an_incomplete_file_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("half.json");
        File::create(&path).unwrap().write_all(b"[1,").unwrap();
        assert!(read_json::<Vec<u8>>(&path).is_err());
    }

    #[test]
    fn a_file_too_long_to_read_is_not_written() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("value.json");
        let text = |length: usize| "x".repeat(length);
        write_json(&path, &text(LARGEST - 3)).unwrap();
        assert_eq!(read_json::<String>(&path).unwrap(), Some(text(LARGEST - 3)));
        assert!(write_json(&path, &text(LARGEST - 2)).unwrap_err().hint.is_some());
        assert_eq!(
            read_json::<String>(&path).unwrap().unwrap().len(),
            LARGEST - 3,
            "the old file is unchanged"
        );
        File::options().append(true).open(&path).unwrap().write_all(b"\n").unwrap();
        assert!(read_json::<String>(&path).is_err(), "the beginning of a file must not pass for the file");
    }

    #[test]
    fn a_file_writable_by_everybody_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("kept/value.json");
        write_json(&path, &1).unwrap();
        let allow = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        allow(&path, 0o666);
        assert!(read_json::<u8>(&path).unwrap_err().message.contains("everybody may write it (mode 0666)"));
        allow(&path, 0o664);
        assert_eq!(read_json::<u8>(&path).unwrap(), Some(1));
        allow(path.parent().unwrap(), 0o777);
        assert!(write_json(&path, &2).unwrap_err().message.contains("everybody may write it (mode 0777)"));
    }

    #[test]
    fn a_link_is_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let link = root.path().join("link.json");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        assert!(read_json::<Vec<u8>>(&link).is_err());
    }
}
