//! Lock files: one process at a time holds each.
//!
//! The lock belongs to the open file description (`F_OFD_SETLK` of fcntl(2)), so a process that tests
//! a lock that it holds itself does not release it. The kernel releases the lock when its holder ends.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{self, O_CLOEXEC, O_NOFOLLOW};

use crate::model::error::{Error, Kind, Result, Trying};
use crate::sys::clock::{Deadline, pause};

/// A lock that this process holds until the value is dropped.
#[derive(Debug)]
pub struct Claim {
    _file: File,
}

/// Waits for a lock. `late` is the error's text.
///
/// # Errors
/// `Deadline` if another process holds the lock for longer; `Failed` if the file cannot be opened or
/// locked.
pub(super) fn wait_for_lock(path: &Path, deadline: Deadline, late: &str) -> Result<Claim> {
    loop {
        match try_lock(path)? {
            Some(claim) => return Ok(claim),
            None if deadline.passed() => return Err(Error::new(Kind::Deadline, late)),
            // The kernel has no lock with a deadline.
            None => pause(Duration::from_millis(20)),
        }
    }
}

/// `None` if another process holds the lock.
///
/// # Errors
/// `Failed` if the file cannot be opened or locked.
pub(super) fn try_lock(path: &Path) -> Result<Option<Claim>> {
    let doing = || format!("cannot lock {}", path.display());
    let file = open(path).trying(doing())?;
    Ok(is_acquired(&file, path)?.then_some(Claim { _file: file }))
}

/// Locks the file and writes this process's pid into it. If another process holds the lock, returns
/// the text of the file: the holder's pid.
///
/// # Errors
/// `Failed` if the file cannot be opened, locked or written.
pub(super) fn lock_with_pid(path: &Path) -> Result<std::result::Result<Claim, String>> {
    let doing = || format!("cannot lock {}", path.display());
    let mut file = open(path).trying(doing())?;
    if is_acquired(&file, path)? {
        // The pid serves error messages only. The kernel keeps the lock and releases it when this
        // process ends.
        let pid = format!("{:<10}", std::process::id());
        file.write_all(pid.as_bytes()).trying(doing())?;
        return Ok(Ok(Claim { _file: file }));
    }
    let mut pid = String::new();
    let _ = file.read_to_string(&mut pid);
    Ok(Err(pid.trim().to_owned()))
}

/// Whether a process holds the lock. True if that cannot be read.
pub(super) fn is_locked(path: &Path) -> bool {
    let file = match OpenOptions::new().write(true).custom_flags(O_NOFOLLOW | O_CLOEXEC).open(path) {
        Ok(file) => file,
        Err(error) => return error.kind() != ErrorKind::NotFound,
    };
    let mut lock = complete_file();
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock)).is_ok() && i32::from(lock.l_type) != libc::F_UNLCK
}

/// Locks the file without waiting. Returns false if another process holds the lock.
fn is_acquired(file: &File, path: &Path) -> Result<bool> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&complete_file())) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(error) => Err(error).trying(format!("cannot lock {}", path.display())),
    }
}

/// Opens a lock file, or makes it. forge does not truncate it: another process may hold the lock.
fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(O_NOFOLLOW | O_CLOEXEC)
        .open(path)
}

fn complete_file() -> libc::flock {
    libc::flock {
        l_type: i16::try_from(libc::F_WRLCK).unwrap_or_default(),
        l_whence: i16::try_from(libc::SEEK_SET).unwrap_or_default(),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}
