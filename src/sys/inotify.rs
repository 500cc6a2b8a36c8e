//! FileWatch of files, as the kernel tells them: inotify(7).

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::clock::Deadline;
use super::poll::readable;
use crate::model::error::{Result, Trying};

/// FileWatch since it was made, or since they were last taken.
#[derive(Debug)]
pub struct FileWatch(Inotify);

impl FileWatch {
    /// Files that appear in a directory, or are written there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn in_directory(path: &Path) -> Result<Self> {
        Self::of(path, AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CLOSE_WRITE)
    }

    /// What is written to a file. A terminal is one too: what its program prints.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn of_file(path: &Path) -> Result<Self> {
        Self::of(path, AddWatchFlags::IN_MODIFY)
    }

    /// What is written to a terminal, and what its program reads from it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn of_terminal(path: &Path) -> Result<Self> {
        Self::of(path, AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_ACCESS)
    }

    fn of(path: &Path, what: AddWatchFlags) -> Result<Self> {
        let doing = || format!("cannot watch {}", path.display());
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).trying(doing())?;
        inotify.add_watch(path, what).trying(doing())?;
        Ok(Self(inotify))
    }

    /// Takes those that there were.
    pub fn take(&self) {
        self.came();
    }

    /// The same; says whether there were any.
    pub fn came(&self) -> bool {
        self.0.read_events().is_ok_and(|events| !events.is_empty())
    }

    /// Waits for one; `false` when the deadline came first.
    pub fn wait(&self, deadline: Deadline) -> bool {
        let changed = readable(&[self.as_fd()], deadline)[0];
        self.take();
        changed
    }
}

impl AsFd for FileWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
