//! Pressure stall information (PSI) of the machine and of control groups.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::cgroup::Cgroup;
use super::clock::boot_us;
use crate::model::guard::pressure::{Pressure, Totals, total};

const HOST: &str = "/proc/pressure";

/// Whether this kernel measures pressure (`psi=1`).
pub fn is_measured() -> bool {
    totals(|resource| Path::new(HOST).join(resource)).is_some()
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    /// The whole machine.
    Host,
    /// A control group's, by its path in the hierarchy.
    Group(String),
}

impl Whose {
    fn totals(&self) -> Option<Totals> {
        match self {
            Self::Host => totals(|resource| Path::new(HOST).join(resource)),
            Self::Group(path) => {
                let group = Cgroup::new(path);
                totals(|resource| group.file(&format!("{resource}.pressure")))
            }
        }
    }
}

/// `None` if the kernel measures none of the three.
fn totals(file: impl Fn(&str) -> PathBuf) -> Option<Totals> {
    let read = |resource| total(&std::fs::read_to_string(file(resource)).ok()?);
    let (cpu, memory, io) = (read("cpu"), read("memory"), read("io"));
    (cpu.is_some() || memory.is_some() || io.is_some()).then(|| Totals {
        cpu: cpu.unwrap_or(0),
        memory: memory.unwrap_or(0),
        io: io.unwrap_or(0),
    })
}

/// Measures the pressure between two samples. The kernel's own triggers would make sampling unnecessary, but
/// before Linux 6.5 only root may use them.
#[derive(Debug, Default)]
pub struct Gauge {
    last: BTreeMap<Whose, (u64, Totals)>,
}

impl Gauge {
    /// The pressure since the last sample; `None` for the first sample, or if the kernel does not measure it.
    pub fn sample(&mut self, whose: &Whose) -> Option<Pressure> {
        let (now, totals) = (boot_us(), whose.totals()?);
        let (then, earlier) = self.last.insert(whose.clone(), (now, totals))?;
        Some(totals.since(earlier, now.saturating_sub(then)))
    }
}

/// The number of out-of-memory kills since boot.
pub fn oom_kills() -> u64 {
    let text = std::fs::read_to_string("/proc/vmstat").unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
}
