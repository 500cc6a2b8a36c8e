//! Measurements of a guarded command: the pressure on the machine, the units and the command, and the
//! command's usage.

use super::pressure_on;
use crate::model::guard::pressure::Pressure;
use crate::model::guard::report::Peaks;
use crate::model::guard::timeline::Known;
use crate::sys::cgroup::Cgroup;
use crate::sys::psi::{Gauge, Whose};

#[derive(Debug)]
pub(super) struct Meter {
    group: Cgroup,
    gauge: Gauge,
    /// The highest pressure so far.
    pub(super) peaks: Peaks,
    /// CPU time of the command and all processes that it started, in microseconds.
    pub(super) cpu_usec: Option<u64>,
    /// The peak of its memory, in bytes.
    pub(super) memory_peak: Option<u64>,
    /// The number of its processes that the kernel killed because memory ran out.
    pub(super) oom_kills: Option<u64>,
}

impl Meter {
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

    /// Updates all measurements. Returns the pressure on the units, or on the machine where no unit is
    /// guarded, in percent.
    pub(super) fn measure(&mut self, units: &[Known]) -> u64 {
        self.measure_usage();
        let higher = |peak: Option<Pressure>, now: Option<Pressure>| match (peak, now) {
            (Some(peak), Some(now)) => Some(peak.max(now)),
            (peak, now) => peak.or(now),
        };
        let host = self.gauge.sample(&Whose::Host);
        let command = self.gauge.sample(&Whose::Group(self.group.control_group()));
        let on_units = pressure_on(units, &mut self.gauge);
        self.peaks = Peaks {
            host: higher(self.peaks.host, host),
            units: higher(self.peaks.units, on_units),
            command: higher(self.peaks.command, command),
        };
        on_units.or(host).unwrap_or_default().highest()
    }

    /// The pressure since the last measurement: on the units, or on the machine where no unit is guarded.
    pub(super) fn pressure(&mut self, units: &[Known]) -> Pressure {
        let on_units = pressure_on(units, &mut self.gauge);
        on_units.or_else(|| self.gauge.sample(&Whose::Host)).unwrap_or_default()
    }

    /// Updates the usage. Keeps the last values when the group is gone: with `--leave-children`, systemd
    /// removes the group at the end of its last process.
    pub(super) fn measure_usage(&mut self) {
        let usage = self.group.usage(None);
        self.cpu_usec = self.cpu_usec.max(usage.cpu_usec);
        self.memory_peak = self.memory_peak.max(usage.memory_peak.or_else(|| self.group.memory()));
        self.oom_kills = self.oom_kills.max(self.group.counted_oom_kills());
    }
}
