//! Freezing of a guarded command while the guarded units, or the machine, are under pressure.

use super::cleanup::thaw;
use crate::model::error::Result;
use crate::model::event::{Event, Subject};
use crate::model::guard::pressure::{Brake, Move};
use crate::model::guard::timeline::Happening;
use crate::sys::cgroup::Cgroup;
use crate::sys::clock::boot_us;
use crate::sys::journal::{self, inform};
use crate::sys::systemd::Manager;

/// The freezer of one guarded command. Its functions return what happened to the command, if anything did.
#[derive(Debug)]
pub(super) struct Freezing {
    id: String,
    slice: String,
    group: Cgroup,
    brake: Brake,
    /// When the command was frozen, in microseconds since the boot.
    frozen_at: Option<u64>,
    total_us: u64,
    times: u64,
}

impl Freezing {
    /// Freezes the command when the pressure is at least `percent`.
    pub(super) fn new(percent: u64, id: String, slice: &str, group: &Cgroup) -> Self {
        let (slice, group) = (slice.to_owned(), group.clone());
        Self { id, slice, group, brake: Brake::new(percent), frozen_at: None, total_us: 0, times: 0 }
    }

    /// How often the command was frozen.
    pub(super) fn times(&self) -> u64 {
        self.times
    }

    /// For how long the command was frozen in total, in milliseconds.
    pub(super) fn total_ms(&self) -> u64 {
        self.total_us / 1000
    }

    /// Freezes or thaws the command as the current pressure requires.
    ///
    /// # Errors
    /// When the command stays frozen: the error of [`thaw`].
    pub(super) fn apply(&mut self, percent: u64) -> Result<Option<Happening>> {
        if self.brake.is_on() && !self.group.is_frozen() {
            // Another process thawed the command. forge does not freeze it again at once.
            return Ok(self.released());
        }
        match self.brake.judge(boot_us(), percent) {
            Some(Move::Freeze) => Ok(self.freeze(percent)),
            Some(Move::Thaw) => self.thaw(),
            None => Ok(None),
        }
    }

    fn freeze(&mut self, percent: u64) -> Option<Happening> {
        // A new connection, because the bus may have restarted since the start.
        if let Err(error) = Manager::connect().and_then(|manager| manager.freeze(&self.slice)) {
            inform!("could not freeze the command: {error}");
            // The kernel may still complete the freeze later, when nothing would thaw the command.
            if let Err(error) = thaw(&self.slice, &self.group) {
                inform!("the command stays frozen: {error}");
            }
            self.brake.release(boot_us());
            return None;
        }
        self.frozen_at = Some(boot_us());
        self.times += 1;
        let subject = Subject::Guarded(self.id.clone());
        journal::record(&Event::Frozen { subject, pressure: Some(percent) });
        inform!("the command is frozen: the pressure on the guarded units is {percent} %");
        Some(Happening::Frozen(percent))
    }

    /// Thaws the command if it is frozen. forge then does not freeze it again for a while.
    ///
    /// # Errors
    /// When the command stays frozen: the error of [`thaw`].
    pub(super) fn thaw(&mut self) -> Result<Option<Happening>> {
        if self.frozen_at.is_none() {
            return Ok(None);
        }
        thaw(&self.slice, &self.group)?;
        journal::record(&Event::Thawed { subject: Subject::Guarded(self.id.clone()) });
        Ok(self.released())
    }

    fn released(&mut self) -> Option<Happening> {
        let now = boot_us();
        self.brake.release(now);
        self.total_us += now.saturating_sub(self.frozen_at.take()?);
        Some(Happening::Thawed)
    }
}
