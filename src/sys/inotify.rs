//! Watches on files: inotify(7).

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::clock::Deadline;
use super::poll::readable;
use crate::model::error::{Result, Trying};

/// A watch. It is readable while it has events that have not been drained.
#[derive(Debug)]
pub struct FileWatch(Inotify);

impl FileWatch {
    /// Watches a directory for files that appear or are written.
    ///
    /// # Errors
    /// `Failed` if the kernel refuses.
    pub fn in_directory(path: &Path) -> Result<Self> {
        Self::of(path, AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CLOSE_WRITE)
    }

    /// Watches a directory for files that are created.
    ///
    /// # Errors
    /// `Failed` if the kernel refuses.
    pub fn of_new_files(path: &Path) -> Result<Self> {
        Self::of(path, AddWatchFlags::IN_CREATE)
    }

    /// Watches a file for writes. The file may be a terminal: then its program's output counts.
    ///
    /// # Errors
    /// `Failed` if the kernel refuses.
    pub fn of_file(path: &Path) -> Result<Self> {
        Self::of(path, AddWatchFlags::IN_MODIFY)
    }

    /// Watches a terminal for its program's output, and for reads by the program.
    ///
    /// # Errors
    /// `Failed` if the kernel refuses.
    pub fn of_terminal(path: &Path) -> Result<Self> {
        Self::of(path, AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_ACCESS)
    }

    /// Watches a file for changes of its extended attributes, among others.
    ///
    /// # Errors
    /// `Failed` if the kernel refuses.
    pub fn of_attributes(path: &Path) -> Result<Self> {
        Self::of(path, AddWatchFlags::IN_ATTRIB)
    }

    fn of(path: &Path, what: AddWatchFlags) -> Result<Self> {
        let doing = || format!("cannot watch {}", path.display());
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).trying(doing())?;
        inotify.add_watch(path, what).trying(doing())?;
        Ok(Self(inotify))
    }

    /// Removes the pending events.
    pub fn drain(&self) {
        self.has_changed();
    }

    /// Removes the pending events. Returns whether there were any.
    pub fn has_changed(&self) -> bool {
        self.0.read_events().is_ok_and(|events| !events.is_empty())
    }

    /// Waits for an event and drains the watch. Returns false if the deadline passes first.
    pub fn wait(&self, deadline: Deadline) -> bool {
        let changed = readable(&[self.as_fd()], deadline)[0];
        self.drain();
        changed
    }
}

impl AsFd for FileWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
