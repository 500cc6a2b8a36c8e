//! A directory of tmux sockets. `/tmp` is hostile: this module follows no links and resolves no path twice. It
//! opens the directory once and reaches its entries through that descriptor.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};
use rustix::fs::{FlockOperation, flock};

use crate::model::error::{Error, Kind, Result, Trying};
use crate::model::output::legible;

/// The uid that stands for all users outside a user namespace, such as the machine's root.
const UNMAPPED: u32 = 65534;

/// An open directory of sockets, the user's own.
#[derive(Debug)]
pub struct Directory {
    fd: OwnedFd,
    path: PathBuf,
    uid: u32,
}

/// The lock that tmux takes while it starts a server on a socket: `SOCKET.lock`.
pub struct StartLock {
    _lock: OwnedFd,
    name: OsString,
}

impl Directory {
    /// Opens the directory; `None` if it does not exist.
    ///
    /// # Errors
    /// `Unsafe` if it is a link, not a directory, another user's, or open to other users: tmux refuses it, too.
    /// `Failed` if the kernel refuses.
    pub fn open(path: &Path) -> Result<Option<Self>> {
        let uid = geteuid().as_raw();
        let refuse = |why: String| {
            Err(Error::new(Kind::Unsafe, format!("{} is not safe for tmux sockets: {why}", path.display()))
                .hint("ask an administrator to remove it, or set TMUX_TMPDIR to a directory of your own"))
        };
        // A plain open would wait for ever if another user put a FIFO there; O_DIRECTORY refuses it.
        let flags =
            OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let fd = match nix::fcntl::open(path, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ENOENT) => return Ok(None),
            // With O_NOFOLLOW and O_DIRECTORY the kernel says ENOTDIR for a link too.
            Err(Errno::ELOOP | Errno::ENOTDIR) => {
                let is_link = path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
                return refuse(
                    if is_link { "it is a symbolic link" } else { "it is no directory" }.to_owned(),
                );
            }
            Err(error) => {
                // If forge may not open the directory, the error names its owner.
                use std::os::unix::fs::MetadataExt;
                return match path.symlink_metadata() {
                    Ok(metadata) if metadata.uid() != uid => {
                        refuse(format!("it belongs to uid {}, not to you ({uid})", metadata.uid()))
                    }
                    _ => Err(error).trying(format!("cannot open {}", path.display())),
                };
            }
        };
        let stat = fstat(&fd).trying(format!("cannot look at {}", path.display()))?;
        if stat.st_uid != uid {
            return refuse(format!("it belongs to uid {}, not to you ({uid})", stat.st_uid));
        }
        // tmux itself allows the group, and nobody else.
        if stat.st_mode & 0o007 != 0 {
            return refuse(format!("its mode is {:04o}: others may use it", stat.st_mode & 0o7777))
                .map_err(|error: Error| error.hint(format!("chmod 700 {}", path.display())));
        }
        Ok(Some(Self { fd, path: path.to_owned(), uid }))
    }

    /// Refuses a path on which another user could replace the user's directory by another or by a link. A sweep
    /// is safe there. But tmux checks its directory once and uses the path from then on: it would make and remove
    /// its socket and its lock wherever the other user's link points.
    ///
    /// # Errors
    /// `Unsafe`, with the directory that is open to other users.
    pub fn check_way(to: &Path) -> Result<()> {
        let uid = geteuid().as_raw();
        for step in to.ancestors().skip(1) {
            // The code that needs a missing directory reports it.
            let Ok(stat) = nix::sys::stat::lstat(step) else { continue };
            let (mode, owner) = (stat.st_mode & 0o7777, stat.st_uid);
            let why = if ![0, uid, UNMAPPED].contains(&owner) {
                format!("{} belongs to uid {owner}, who can put another in its place", legible(step))
            } else if mode & 0o1002 == 0o002 {
                format!("everybody can put another in its place ({} has mode {mode:04o})", legible(step))
            } else {
                continue;
            };
            return Err(Error::new(
                Kind::Unsafe,
                format!("{} is not safe for tmux sockets: {why}", legible(to)),
            )
            .hint("set TMUX_TMPDIR to a directory of your own, or to none"));
        }
        Ok(())
    }

    /// Its path, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether files can be made and removed in it.
    pub fn is_writable(&self) -> bool {
        nix::unistd::faccessat(&self.fd, ".", nix::unistd::AccessFlags::W_OK, AtFlags::empty()).is_ok()
    }

    /// The names of the entries, sorted.
    ///
    /// # Errors
    /// `Failed` if the directory cannot be read.
    pub fn names(&self) -> Result<Vec<OsString>> {
        // Format the text only on failure: this runs often.
        let failed = |error: Errno| Error::failed(format!("cannot read {}: {error}", self.path.display()));
        let mut dir = Dir::openat(
            &self.fd,
            ".",
            OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )
        .map_err(failed)?;
        let mut names = Vec::new();
        for entry in dir.iter() {
            let name = OsStr::from_bytes(entry.map_err(failed)?.file_name().to_bytes()).to_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// The metadata of an entry. Links are not followed. `None` if there is no entry.
    ///
    /// # Errors
    /// `Failed` if the kernel refuses.
    pub fn stat(&self, name: &OsStr) -> Result<Option<FileStat>> {
        match fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error).trying(format!("cannot look at {}", legible(&self.path.join(name)))),
        }
    }

    /// Whether it is a socket of the user's own.
    pub fn is_own_socket(&self, stat: &FileStat) -> bool {
        kind(stat) == SFlag::S_IFSOCK && stat.st_uid == self.uid
    }

    /// Why the entry is not a socket of the user's own.
    pub fn why_not_own_socket(&self, stat: &FileStat) -> String {
        if stat.st_uid == self.uid {
            let what = match kind(stat) {
                SFlag::S_IFLNK => "a symbolic link",
                SFlag::S_IFDIR => "a directory",
                SFlag::S_IFREG => "a file",
                SFlag::S_IFIFO => "a FIFO",
                _ => "a device",
            };
            format!("it is {what}, not a socket")
        } else {
            format!("it belongs to uid {}", stat.st_uid)
        }
    }

    /// Opens a socket of the user's own (`O_PATH`): the descriptor refers to it even if its name changes. `None` if
    /// the user has no socket of that name.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn hold(&self, name: &OsStr) -> nix::Result<Option<OwnedFd>> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => Ok(self.is_own_socket(&fstat(&fd)?).then_some(fd)),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes tmux's start lock of a socket without waiting. `None` if another process holds it, or the lock file
    /// has been replaced meanwhile.
    ///
    /// # Errors
    /// `Failed` if the lock file cannot be opened or locked.
    pub fn lock(&self, socket: &OsStr) -> Result<Option<StartLock>> {
        let mut name = socket.to_owned();
        name.push(".lock");
        // Format the text only on failure: a sweep does this for each socket.
        let failed = |error: &dyn Display| {
            Error::failed(format!("cannot lock {}: {error}", legible(&self.path.join(&name))))
        };
        let flags =
            OFlag::O_CREAT | OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let fd = openat(&self.fd, name.as_os_str(), flags, Mode::from_bits_truncate(0o600))
            .map_err(|error| failed(&error))?;
        // Closing the descriptor ends the lock. nix's Flock would panic if the kernel did not unlock.
        match flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(failed(&error)),
        }
        // tmux removes the file when its server is up: then this lock no longer counts.
        let held = fstat(&fd).map_err(|error| failed(&error))?;
        let same =
            self.stat(&name)?.is_some_and(|now| now.st_ino == held.st_ino && now.st_dev == held.st_dev);
        Ok((same && kind(&held) == SFlag::S_IFREG).then_some(StartLock { _lock: fd, name }))
    }

    /// Removes a socket whose start lock this process holds. With `lock_too`, removes the lock file as well. This is
    /// safe only for the socket of a session: only a spawn of the same name waits for that lock, and the manager
    /// admits one spawn at a time. For other sockets the lock file stays: a tmux that waits for the lock would hold
    /// the deleted file, while another tmux locks a new file.
    ///
    /// # Errors
    /// `Failed` if a file cannot be removed.
    pub fn remove(&self, socket: &OsStr, lock: StartLock, lock_too: bool) -> Result<()> {
        self.unlink(socket)?;
        if lock_too { self.remove_lock(lock) } else { Ok(()) }
    }

    /// Removes the file of a lock that this process holds, after another process has removed the socket.
    ///
    /// # Errors
    /// `Failed` if the file cannot be removed.
    pub fn remove_lock(&self, lock: StartLock) -> Result<()> {
        let removed = self.unlink(&lock.name);
        drop(lock);
        removed
    }

    fn unlink(&self, name: &OsStr) -> Result<()> {
        match unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(error).trying(format!("cannot remove {}", legible(&self.path.join(name)))),
        }
    }
}

/// Whether it is an ordinary file.
pub fn is_file(stat: &FileStat) -> bool {
    kind(stat) == SFlag::S_IFREG
}

/// The type bits of a mode.
fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

/// A directory as tmux wants it, for tests.
#[cfg(test)]
pub(crate) fn private_for_tests() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o700)).tempdir().unwrap()
}

#[cfg(test)]
mod tests {
    use super::private_for_tests as private;
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    fn directory() -> (tempfile::TempDir, Directory) {
        let root = private();
        let directory = Directory::open(root.path()).unwrap().unwrap();
        (root, directory)
    }

    #[test]
    fn links_open_directories_and_files_are_refused_with_the_reason() {
        let root = tempfile::tempdir().unwrap();
        let link = root.path().join("link");
        symlink(root.path(), &link).unwrap();
        assert!(Directory::open(&link).unwrap_err().message.contains("symbolic link"));
        let open = root.path().join("open");
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
        let error = Directory::open(&open).unwrap_err();
        assert!(error.message.contains("0777") && error.hint.unwrap().starts_with("chmod 700"));
        let file = root.path().join("file");
        std::fs::File::create(&file).unwrap();
        assert!(Directory::open(&file).unwrap_err().message.contains("no directory"));
        assert!(Directory::open(&root.path().join("none")).unwrap().is_none());
    }

    #[test]
    fn a_parent_directory_that_other_users_may_write_is_refused() {
        let root = private();
        let (field, below) = (root.path().join("field"), root.path().join("field/below"));
        std::fs::create_dir_all(&below).unwrap();
        let mode = |mode| std::fs::set_permissions(&field, std::fs::Permissions::from_mode(mode)).unwrap();
        let refusal = || Directory::check_way(&below.join("tmux-1")).unwrap_err();
        mode(0o777);
        assert!(refusal().message.contains("field has mode 0777") && refusal().kind == Kind::Unsafe);
        mode(0o1777);
        Directory::check_way(&below.join("tmux-1")).unwrap();
        mode(0o770);
        Directory::check_way(&below.join("tmux-1")).unwrap();
    }

    #[test]
    fn the_lock_has_one_holder_and_is_tmuxs_lock_file() {
        let (root, directory) = directory();
        let name = OsStr::new("x");
        let lock = directory.lock(name).unwrap().unwrap();
        assert!(root.path().join("x.lock").exists());
        assert!(directory.lock(name).unwrap().is_none());
        drop(lock);
        assert!(directory.lock(name).unwrap().is_some());
    }

    #[test]
    fn a_link_at_the_path_of_the_lock_is_not_followed() {
        let (root, directory) = directory();
        let target = root.path().join("target");
        symlink(&target, root.path().join("x.lock")).unwrap();
        assert!(directory.lock(OsStr::new("x")).is_err());
        assert!(!target.exists());
    }

    #[test]
    fn only_a_socket_of_the_user_is_an_own_socket() {
        let (root, directory) = directory();
        let _listener = UnixListener::bind(root.path().join("s")).unwrap();
        symlink("s", root.path().join("l")).unwrap();
        let stat = |name: &str| directory.stat(OsStr::new(name)).unwrap().unwrap();
        assert!(directory.is_own_socket(&stat("s")));
        assert!(!directory.is_own_socket(&stat("l")));
        assert!(directory.stat(OsStr::new("none")).unwrap().is_none());
    }
}
