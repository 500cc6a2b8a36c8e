//! The process of a guarded command: signals to it, and its end. The guard is its parent.

use std::time::Duration;

use crate::model::error::Result;
use crate::model::session::End;
use crate::sys::clock::{boot_us, micros, now_us};
use crate::sys::process::{self, ChildEvent};
use crate::sys::signals::{self, Signal};

/// How long a program may take to restore its terminal's settings before it stops.
const BEFORE_STOP: Duration = Duration::from_secs(5);

/// The process of a guarded command.
#[derive(Debug)]
pub(super) struct Child {
    pid: u32,
    /// When the command began, in microseconds since 1970.
    began_at_us: u64,
    /// When the user last pressed the key that stops a job (Ctrl-Z), in microseconds since the boot.
    stop_key_us: Option<u64>,
}

impl Child {
    pub(super) fn new(pid: u32, began_at_us: u64) -> Self {
        Self { pid, began_at_us, stop_key_us: None }
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn signal(&self, signal: Signal) {
        process::signal_child(self.pid, signal);
    }

    /// Remembers that the user pressed the key that stops a job.
    pub(super) fn stop_key_pressed(&mut self) {
        self.stop_key_us = Some(boot_us());
    }

    /// Continues the process (SIGCONT).
    pub(super) fn resume(&mut self) {
        self.stop_key_us = None;
        self.signal(Signal::SIGCONT);
    }

    /// Collects the process's changes of state without waiting. Returns how the process ended, if it did.
    ///
    /// # Errors
    /// `Kind::Failed` when the kernel refuses.
    pub(super) fn reap(&mut self) -> Result<Option<End>> {
        while let Some(event) = process::child_event(self.pid)? {
            match event {
                ChildEvent::Stopped(signal) => self.stop_guard_too(signal),
                ChildEvent::Ended { status, signal } => {
                    let (since_us, at_us) = (self.began_at_us, now_us());
                    return Ok(Some(End { since_us, at_us, status, signal, over: true, cause: None }));
                }
            }
        }
        Ok(None)
    }

    /// Stops the guard after its command was stopped by `signal`, if the terminal stopped it: the shell knows
    /// only the guard as its job. A program that first restores its terminal's settings stops itself by
    /// SIGSTOP soon after the key. A SIGSTOP without the key comes from another process, which may continue
    /// the command alone; the guard then goes on.
    fn stop_guard_too(&self, signal: Signal) {
        let is_from_terminal = matches!(signal, Signal::SIGTSTP | Signal::SIGTTIN | Signal::SIGTTOU);
        let is_soon_after_key =
            self.stop_key_us.is_some_and(|at| boot_us().saturating_sub(at) < micros(BEFORE_STOP));
        if is_from_terminal || is_soon_after_key {
            // Returns when the shell continues the guard, which then continues the command.
            signals::stop_self();
        }
    }
}
