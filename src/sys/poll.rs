//! Waiting for several file descriptors at once: poll(2) with a deadline.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};

use super::clock::Deadline;
use crate::model::error::{Error, Result, Trying};

/// The event to wait for on a file descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Data to read, or end of file.
    Read,
    /// The descriptor accepts data.
    Write,
    /// An exceptional condition (`POLLPRI`): the kernel raises it on files of cgroups and of `/proc`
    /// that change.
    Change,
}

impl Interest {
    fn flags(self) -> PollFlags {
        match self {
            Self::Read => PollFlags::POLLIN,
            Self::Write => PollFlags::POLLOUT,
            Self::Change => PollFlags::POLLPRI,
        }
    }
}

/// Waits until at least one descriptor has data to read or is at its end. Returns one flag per
/// descriptor; all are false if the deadline passes first.
pub fn readable(fds: &[BorrowedFd<'_>], deadline: Deadline) -> Vec<bool> {
    let fds: Vec<_> = fds.iter().map(|fd| (*fd, Interest::Read)).collect();
    ready(&fds, deadline)
}

/// Waits until at least one descriptor is ready for its [`Interest`], or has an error. Returns one
/// flag per descriptor; all are false if the deadline passes first.
pub fn ready(fds: &[(BorrowedFd<'_>, Interest)], deadline: Deadline) -> Vec<bool> {
    loop {
        let mut polled: Vec<PollFd<'_>> =
            fds.iter().map(|(fd, interest)| PollFd::new(*fd, interest.flags())).collect();
        match poll(&mut polled, deadline.poll_timeout()) {
            Err(Errno::EINTR) => {}
            Ok(0) | Err(_) if !deadline.passed() => {}
            _ => return polled.iter().map(|fd| fd.any().unwrap_or(false)).collect(),
        }
    }
}

/// Runs `work` on a thread of its own. Until it ends, calls `on_readable` each time `fd` has data.
///
/// # Errors
/// `Failed` if the thread cannot be started, or panics.
pub fn run_while_polling<T: Send>(
    fd: BorrowedFd<'_>,
    work: impl FnOnce() -> T + Send,
    mut on_readable: impl FnMut(),
) -> Result<T> {
    let (done, at_work) = UnixStream::pair().trying("cannot make a pair of sockets")?;
    std::thread::scope(|scope| {
        let work = || {
            let _closed_at_the_end = at_work;
            work()
        };
        let thread = std::thread::Builder::new().spawn_scoped(scope, work).trying("cannot start a thread")?;
        let forever = Deadline::after(Duration::MAX);
        while !readable(&[done.as_fd(), fd], forever)[0] {
            on_readable();
        }
        thread.join().map_err(|_| Error::failed("a thread panicked"))
    })
}
