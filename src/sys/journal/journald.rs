//! Whether journald accepts records.
//!
//! A journald that is stopped, or whose disk hangs, accepts none. Once its queue is full, a send(2) to it waits
//! without a deadline, and tracing-journald uses send(2). So forge first checks whether the queue is full.
//! Another process may fill the queue in between; then forge waits until journald runs again.

use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::sys::clock::Deadline;
use crate::sys::poll::{Interest, ready};

/// journald's socket.
const SOCKET: &str = "/run/systemd/journal/socket";

/// How long forge waits for a full queue. After one wait in vain, forge does not wait again.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Journald {
    socket: UnixDatagram,
    accepts: AtomicBool,
}

impl Journald {
    /// `None` if journald does not run, or accepts no records.
    pub(super) fn find() -> Option<Self> {
        let it = Self { socket: UnixDatagram::unbound().ok()?, accepts: AtomicBool::new(true) };
        it.is_accepting().then_some(it)
    }

    /// Whether journald accepts the next record. Waits up to 2 seconds, unless an earlier wait was in vain.
    pub(super) fn is_accepting(&self) -> bool {
        let patience = if self.was_accepting() { PATIENCE } else { Duration::ZERO };
        // Connect again each time: journald may have been restarted.
        let accepts = self.socket.connect(SOCKET).is_ok()
            && ready(&[(self.socket.as_fd(), Interest::Write)], Deadline::after(patience))[0];
        self.accepts.store(accepts, Ordering::Relaxed);
        accepts
    }

    /// The result of the last [`Self::is_accepting`].
    pub(super) fn was_accepting(&self) -> bool {
        self.accepts.load(Ordering::Relaxed)
    }
}
