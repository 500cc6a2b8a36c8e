//! Freezing a guarded command while production is under pressure.

use super::cleanup::thaw;
use crate::model::error::Result;
use crate::model::event::{Event, Subject};
use crate::model::guard::pressure::{Brake, Move};
use crate::model::guard::timeline::Happening;
use crate::sys::cgroup::Cgroup;
use crate::sys::clock::boot_us;
use crate::sys::journal::{self, told};
use crate::sys::systemd::Manager;

/// The freezing of one command. Both ways return what was done, where something was.
#[derive(Debug)]
pub(super) struct Freezing {
    id: String,
    slice: String,
    group: Cgroup,
    brake: Brake,
    /// Since when it is frozen, in microseconds since the boot.
    since: Option<u64>,
    total_us: u64,
    times: u64,
}

impl Freezing {
    /// From so many percent of pressure on.
    pub(super) fn new(percent: u64, id: String, slice: &str, group: &Cgroup) -> Self {
        let (slice, group) = (slice.to_owned(), group.clone());
        Self { id, slice, group, brake: Brake::new(percent), since: None, total_us: 0, times: 0 }
    }

    /// How often it was frozen.
    pub(super) fn times(&self) -> u64 {
        self.times
    }

    /// For how long altogether, in milliseconds.
    pub(super) fn total_ms(&self) -> u64 {
        self.total_us / 1000
    }

    /// Freezes or thaws, now that the pressure is so many percent.
    ///
    /// # Errors
    /// When it stays frozen.
    pub(super) fn judge(&mut self, percent: u64) -> Result<Option<Happening>> {
        if self.brake.is_on() && !self.group.is_frozen() {
            // Somebody thawed it, who had a reason.
            return Ok(self.released());
        }
        match self.brake.judge(boot_us(), percent) {
            Some(Move::Freeze) => Ok(self.freeze(percent)),
            Some(Move::Thaw) => self.thaw(),
            None => Ok(None),
        }
    }

    fn freeze(&mut self, percent: u64) -> Option<Happening> {
        // A new connection: the bus may be another one since the beginning.
        if let Err(error) = Manager::connect().and_then(|manager| manager.freeze(&self.slice)) {
            told!("the command cannot be frozen: {error}");
            // Half frozen it would come to stand still later, with nobody who knows that he has to thaw it.
            if let Err(error) = thaw(&self.slice, &self.group) {
                told!("the command stays frozen: {error}");
            }
            self.brake.release(boot_us());
            return None;
        }
        self.since = Some(boot_us());
        self.times += 1;
        let subject = Subject::Guarded(self.id.clone());
        journal::record(&Event::Frozen { subject, pressure: Some(percent) });
        told!("the command is frozen: the pressure on what is guarded is {percent} %");
        Some(Happening::Frozen(percent))
    }

    /// Lets it run where it is frozen, and leaves it running for a while.
    ///
    /// # Errors
    /// When it stays frozen.
    pub(super) fn thaw(&mut self) -> Result<Option<Happening>> {
        if self.since.is_none() {
            return Ok(None);
        }
        thaw(&self.slice, &self.group)?;
        journal::record(&Event::Thawed { subject: Subject::Guarded(self.id.clone()) });
        Ok(self.released())
    }

    fn released(&mut self) -> Option<Happening> {
        let now = boot_us();
        self.brake.release(now);
        self.total_us += now.saturating_sub(self.since.take()?);
        Some(Happening::Thawed)
    }
}
