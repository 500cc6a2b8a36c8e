//! The way to journald: its native protocol, by a socket that holds nobody up for long.
//!
//! A journald that stands still (stopped, or its disk hangs) takes nothing, and once its queue is full
//! a plain send(2) to it waits without a deadline.

use std::fmt::Debug;
use std::io::{Error, ErrorKind, Result, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use libsystemd::logging::connected_to_journal;
use nix::poll::PollFlags;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::clock::Deadline;
use super::process::ready;

/// Where journald takes records.
const SOCKET: &str = "/run/systemd/journal/socket";

/// How long a full queue may take to have room, once: who has waited in vain does not wait again.
const PATIENCE: Duration = Duration::from_secs(2);

/// No value is longer: a record is to fit into one datagram.
const LONGEST: usize = 8192;

/// The connection to journald.
pub(super) struct Journald {
    socket: Mutex<UnixDatagram>,
    stands_still: AtomicBool,
}

impl Journald {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub(super) fn open() -> Result<Self> {
        Ok(Self { socket: Mutex::new(connect()?), stands_still: AtomicBool::new(false) })
    }

    fn send(&self, record: &[u8]) -> Result<()> {
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        let patience = if self.stands_still.load(Ordering::Relaxed) { Duration::ZERO } else { PATIENCE };
        let deadline = Deadline::after(patience);
        let mut is_another = false;
        loop {
            let sent = socket.send(record).map(drop);
            let error = sent.as_ref().err().map(Error::kind);
            match error {
                Some(ErrorKind::Interrupted) => {}
                Some(ErrorKind::WouldBlock) if !deadline.passed() => {
                    ready(&[(socket.as_fd(), PollFlags::POLLOUT)], deadline);
                }
                Some(ErrorKind::ConnectionRefused | ErrorKind::NotConnected) if !is_another => {
                    // Perhaps there is another one now.
                    is_another = true;
                    *socket = connect()?;
                }
                error => {
                    self.stands_still.store(error == Some(ErrorKind::WouldBlock), Ordering::Relaxed);
                    return sent;
                }
            }
        }
    }
}

fn connect() -> Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect(SOCKET)?;
    Ok(socket)
}

impl<S: Subscriber> Layer<S> for Journald {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let priority = match *event.metadata().level() {
            Level::ERROR => "3",
            Level::WARN => "4",
            _ => "6",
        };
        let mut record = Record::default();
        record.put("PRIORITY", priority);
        record.put("SYSLOG_IDENTIFIER", "forge");
        event.record(&mut record);
        if let Err(error) = self.send(&record.bytes)
            // Standard error may lead to the same journald.
            && !connected_to_journal()
        {
            let _ = writeln!(std::io::stderr(), "forge: {} (not in the journal: {error})", record.message);
        }
    }
}

/// One record, as journald takes it: each field is its name, the length of its value, and that.
#[derive(Default)]
struct Record {
    bytes: Vec<u8>,
    message: String,
}

impl Record {
    fn put(&mut self, name: &str, value: &str) {
        let fits = |end: &usize| value.is_char_boundary(*end);
        let value = &value[..(0..=value.len().min(LONGEST)).rev().find(fits).unwrap_or(0)];
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(b'\n');
        self.bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(b'\n');
    }
}

impl Visit for Record {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        }
        self.put(&field.name().to_ascii_uppercase(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}
