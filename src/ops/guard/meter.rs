//! What is measured of a guarded command and around it: pressure, and what the command has used.

use super::pressure_on;
use crate::model::guard::pressure::Pressure;
use crate::model::guard::report::Peaks;
use crate::model::guard::timeline::Known;
use crate::sys::cgroup::Cgroup;
use crate::sys::psi::{Gauge, Whose};

/// Measures from look to look.
#[derive(Debug)]
pub(super) struct Meter {
    group: Cgroup,
    gauge: Gauge,
    /// The highest pressures so far.
    pub(super) peaks: Peaks,
    /// CPU time of all that the command started, in microseconds.
    pub(super) cpu_usec: Option<u64>,
    /// The most memory that it had, in bytes.
    pub(super) memory_peak: Option<u64>,
    /// How many of it the kernel killed for want of memory.
    pub(super) oom_kills: Option<u64>,
}

impl Meter {
    /// For the command in that group.
    pub(super) fn new(group: &Cgroup) -> Self {
        Self {
            group: group.clone(),
            gauge: Gauge::default(),
            peaks: Peaks::default(),
            cpu_usec: None,
            memory_peak: None,
            oom_kills: None,
        }
    }

    /// Looks at all of it; returns the pressure on the units, or on the machine where there are none, in
    /// percent.
    pub(super) fn look(&mut self, units: &[Known]) -> u64 {
        self.use_so_far();
        let higher = |peak: Option<Pressure>, now: Option<Pressure>| match (peak, now) {
            (Some(peak), Some(now)) => Some(peak.max(now)),
            (peak, now) => peak.or(now),
        };
        let host = self.gauge.look(&Whose::Host);
        let command = self.gauge.look(&Whose::Group(self.group.control_group()));
        let on_units = pressure_on(units, &mut self.gauge);
        self.peaks = Peaks {
            host: higher(self.peaks.host, host),
            units: higher(self.peaks.units, on_units),
            command: higher(self.peaks.command, command),
        };
        on_units.or(host).unwrap_or_default().highest()
    }

    /// The pressure on the units since the last look, or on the machine where there are none.
    pub(super) fn pressure(&mut self, units: &[Known]) -> Pressure {
        let on_units = pressure_on(units, &mut self.gauge);
        on_units.or_else(|| self.gauge.look(&Whose::Host)).unwrap_or_default()
    }

    /// Looks at what it has used. A command that may leave processes has no group any more when the last
    /// of them has ended.
    pub(super) fn use_so_far(&mut self) {
        let usage = self.group.usage(None);
        self.cpu_usec = self.cpu_usec.max(usage.cpu_usec);
        self.memory_peak = self.memory_peak.max(usage.memory_peak.or_else(|| self.group.memory()));
        self.oom_kills = self.oom_kills.max(self.group.counted_oom_kills());
    }
}
