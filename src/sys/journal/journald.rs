//! Whether journald takes records.
//!
//! One that stands still (stopped, or its disk hangs) takes none, and once its queue is full a send(2)
//! to it waits without a deadline: tracing-journald's does. So it is looked first whether there is
//! room. That somebody else takes the last of it in between is possible, and then only journald's own
//! return helps.

use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::sys::clock::Deadline;
use crate::sys::poll::{Interest, ready};

/// Where journald takes records.
const SOCKET: &str = "/run/systemd/journal/socket";

/// How long a full queue may take to have room, once: who has waited in vain does not wait again.
const PATIENCE: Duration = Duration::from_secs(2);

/// journald, as seen by who has something for it.
#[derive(Debug)]
pub(super) struct Journald {
    socket: UnixDatagram,
    accepts: AtomicBool,
}

impl Journald {
    /// Looks for it; `None` where it takes nothing.
    pub(super) fn find() -> Option<Self> {
        let it = Self { socket: UnixDatagram::unbound().ok()?, accepts: AtomicBool::new(true) };
        it.is_accepting().then_some(it)
    }

    /// Whether it takes the next record.
    pub(super) fn is_accepting(&self) -> bool {
        let patience = if self.was_accepting() { PATIENCE } else { Duration::ZERO };
        // Anew each time: it may be another one by now.
        let accepts = self.socket.connect(SOCKET).is_ok()
            && ready(&[(self.socket.as_fd(), Interest::Write)], Deadline::after(patience))[0];
        self.accepts.store(accepts, Ordering::Relaxed);
        accepts
    }

    /// What the last look showed.
    pub(super) fn was_accepting(&self) -> bool {
        self.accepts.load(Ordering::Relaxed)
    }
}
