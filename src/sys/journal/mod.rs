//! Structured records in the journal, with the identifier `forge`.
//!
//! Events and debug output (`-v`) both go through tracing. `model::event` has the records.

mod journald;

use std::convert::Infallible;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::Level as TracingLevel;
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use super::clock::Deadline;
use super::command;
use crate::model::error::{Error, Kind, Result};
use crate::model::event::{Event, TARGET};
use crate::model::guard::unit_state::{Guarded, ManagerKind};
use crate::model::session::name::SessionId;
use journald::Journald;

/// Prints a progress line for a waiting user, if standard error is a terminal.
macro_rules! progress {
    ($($text:tt)*) => { tracing::info!(target: "progress", $($text)*) };
}
pub(crate) use progress;

/// Prints a line on standard error at once, unless forge prints errors only. It never waits for the reader.
macro_rules! inform {
    ($($text:tt)*) => { $crate::sys::journal::print_line(format!($($text)*), false) };
}
pub(crate) use inform;

/// Prints an error on standard error at once. It never waits for the reader.
macro_rules! alarm {
    ($($text:tt)*) => { $crate::sys::journal::print_line(format!($($text)*), true) };
}
pub(crate) use alarm;

/// Whether forge prints more than errors.
static PRINTS_MORE: AtomicBool = AtomicBool::new(false);

/// The lines that have not been read yet. A thread of its own writes them, because a pipe that nobody reads, or a
/// terminal that the user stopped (Ctrl-S), blocks the writer.
static WRITER: Mutex<Option<StderrWriter>> = Mutex::new(None);

struct StderrWriter {
    lines: SyncSender<String>,
    thread: JoinHandle<()>,
}

/// The number of lines that may wait to be read. Further lines are in the journal only.
const WAITING: usize = 1000;

pub(crate) fn print_line(line: String, is_error: bool) {
    if !is_error && !PRINTS_MORE.load(Ordering::Relaxed) {
        return;
    }
    let Ok(mut writer) = WRITER.lock() else { return };
    if writer.is_none() {
        let (lines, waiting) = sync_channel::<String>(WAITING);
        let write = move || {
            for line in waiting {
                // The reader may be gone; that is no reason to end.
                let _ = writeln!(std::io::stderr(), "forge: {line}");
            }
        };
        let thread = std::thread::Builder::new().name("stderr".to_owned()).spawn(write);
        *writer = thread.ok().map(|thread| StderrWriter { lines, thread });
    }
    if let Some(writer) = writer.as_ref() {
        let _ = writer.lines.try_send(line);
    }
}

/// Waits until all lines on standard error have been read. Call it before printing something else.
pub fn flush_stderr() {
    let writer = WRITER.lock().ok().and_then(|mut writer| writer.take());
    if let Some(StderrWriter { lines, thread }) = writer {
        drop(lines);
        let _ = thread.join();
    }
}

/// Opens the journal for forge's events. Without a journal, events go to standard error.
///
/// The flags enable further lines on standard error: `verbose` each step (`-v`), `progress` the lines that
/// [`progress!`] prints during a wait, `informs` the lines that [`inform!`] prints at once.
pub fn open(verbose: bool, progress: bool, informs: bool) {
    PRINTS_MORE.store(informs, Ordering::Relaxed);
    let is_event = |metadata: &tracing::Metadata<'_>| metadata.target() == TARGET;
    let journald = Journald::find().map(Arc::new);
    let layer = journald.as_ref().and_then(|_| tracing_journald::layer().ok());
    let journald = journald.filter(|_| layer.is_some());
    let last_state = journald.clone();
    let journal = layer.map(|layer| {
        layer
            .with_syslog_identifier("forge".to_owned())
            .with_field_prefix(None)
            .with_priority_mappings(PriorityMappings {
                info: Priority::Informational,
                ..PriorityMappings::new()
            })
            .with_filter(dynamic_filter_fn(move |metadata, _| {
                is_event(metadata) && last_state.as_ref().is_some_and(|journald| journald.was_accepting())
            }))
    });
    // tracing asks this filter before the journal's. It checks journald for both.
    let stderr = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .with_level(false)
        .without_time()
        .with_filter(dynamic_filter_fn(move |metadata, _| {
            if is_event(metadata) {
                // If standard error leads to the same journald, writing to it would block forge too.
                !journald.as_ref().is_some_and(|journald| journald.is_accepting()) && !is_stderr()
            } else if metadata.target() == "progress" {
                progress
            } else {
                verbose
                    && metadata.target().starts_with("forge::")
                    && *metadata.level() <= TracingLevel::DEBUG
            }
        }));
    // A second call in one process changes nothing.
    let _ = tracing_subscriber::registry().with(journal).with(stderr).try_init();
}

pub fn record(event: &Event) {
    event.record();
}

/// Whether standard error is connected to the journal, as in a service.
pub fn is_stderr() -> bool {
    libsystemd::logging::connected_to_journal()
}

/// The maximum number of lines of a unit's journal in one report.
const LINES: u32 = 30;

/// The lines of a unit's journal between two points in time, in microseconds since 1970: the last [`LINES`] at
/// most. Empty if the user may not read them, or journalctl does not answer within 10 seconds.
pub fn around(unit: &Guarded, from: u64, until: u64) -> Vec<String> {
    let at = |us: u64| format!("@{}.{:06}", us / 1_000_000, us % 1_000_000);
    let mut command = Command::new("journalctl");
    command.args(["--quiet", "--no-pager", "--output=short-precise", &format!("--lines={LINES}")]);
    command.args([format!("--since={}", at(from)), format!("--until={}", at(until))]);
    match unit.manager {
        ManagerKind::User => command.args(["--user", &format!("--user-unit={}", unit.unit)]),
        ManagerKind::System => command.arg(format!("--unit={}", unit.unit)),
    };
    let read = command::run(&mut command, Deadline::after(Duration::from_secs(10)));
    let text = read.map(|output| output.stdout).unwrap_or_default();
    // The report already contains forge's own records of the unit.
    text.lines().filter(|line| !line.contains(" forge[")).map(ToOwned::to_owned).collect()
}

/// Replaces this process by journalctl, which prints forge's records: those of one session, or all. It prints
/// only records that this user's processes wrote (journald sets `_UID` from the kernel's credentials), because
/// every user can write records with the identifier `forge`.
///
/// # Errors
/// `Missing` if journalctl cannot be run.
pub fn show(
    uid: u32,
    session: Option<&SessionId>,
    lines: u32,
    follow: bool,
    json: bool,
) -> Result<Infallible> {
    let mut command = Command::new("journalctl");
    command.args(["--quiet", "--no-pager", &format!("--lines={lines}")]);
    if json {
        // --all: large fields are null without it.
        command.args(["--output=json", "--all"]);
    } else {
        command.arg("--output=short-iso");
    }
    if follow {
        command.arg("--follow");
    }
    command.args(["SYSLOG_IDENTIFIER=forge", &format!("_UID={uid}")]);
    if let Some(session) = session {
        command.arg(format!("FORGE_SESSION={session}"));
    }
    Err(command.exec()).map_err(|error: std::io::Error| {
        Error::new(Kind::Missing, format!("cannot run journalctl: {error}")).hint("it is a part of systemd")
    })
}
