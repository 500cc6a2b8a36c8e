//! Resource limits of a session. systemd applies them to the session's slice: tmux may move panes out of the
//! scope of the server, but never out of the slice.

use serde::{Deserialize, Serialize};

use crate::model::error::{Error, Result};
use crate::model::time::times;

/// The limits of one session; `None` means no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// `MemoryMax=`: above this limit the kernel kills processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_max: Option<Size>,
    /// `MemoryHigh=`: above this limit the kernel slows the session down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_high: Option<Size>,
    /// `CPUWeight=`, 1 to 10000; the default of every unit is 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_weight: Option<u64>,
    /// `CPUQuota=`: percent of one CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_quota: Option<Percent>,
    /// `IOWeight=`, 1 to 10000. A user manager accepts it, but it has no effect unless the administrator
    /// delegates the io controller to that manager.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_weight: Option<u64>,
    /// `TasksMax=`: processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks_max: Option<u64>,
}

impl Limits {
    /// These limits, with `defaults` for those that are not set.
    #[must_use]
    pub fn or(self, defaults: &Self) -> Self {
        Self {
            memory_max: self.memory_max.or(defaults.memory_max),
            memory_high: self.memory_high.or(defaults.memory_high),
            cpu_weight: self.cpu_weight.or(defaults.cpu_weight),
            cpu_quota: self.cpu_quota.or(defaults.cpu_quota),
            io_weight: self.io_weight.or(defaults.io_weight),
            tasks_max: self.tasks_max.or(defaults.tasks_max),
        }
    }

    /// The limits as unit properties, with the names and units of org.freedesktop.systemd1(5).
    pub fn properties(&self) -> Vec<(&'static str, u64)> {
        [
            ("MemoryMax", self.memory_max.map(|size| size.0)),
            ("MemoryHigh", self.memory_high.map(|size| size.0)),
            ("CPUWeight", self.cpu_weight),
            // 1 % of a CPU is 10 ms of CPU time a second.
            ("CPUQuotaPerSecUSec", self.cpu_quota.map(|percent| percent.0.saturating_mul(10_000))),
            ("IOWeight", self.io_weight),
            ("TasksMax", self.tasks_max),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }

    /// The cgroup controllers that these limits need.
    pub fn controllers(&self) -> Vec<&'static str> {
        let needed = [
            ("memory", self.memory_max.is_some() || self.memory_high.is_some()),
            ("cpu", self.cpu_weight.is_some() || self.cpu_quota.is_some()),
            ("io", self.io_weight.is_some()),
            ("pids", self.tasks_max.is_some()),
        ];
        needed.into_iter().filter_map(|(name, needed)| needed.then_some(name)).collect()
    }

    /// Checks the values' ranges, so that the error has the option's name and not systemd's.
    ///
    /// # Errors
    /// `Kind::Usage` for a value that is out of range.
    pub fn check(&self) -> Result<()> {
        for (name, weight) in [("cpu-weight", self.cpu_weight), ("io-weight", self.io_weight)] {
            if let Some(weight) = weight
                && !(1..=10_000).contains(&weight)
            {
                return Err(Error::usage(format!("{name} is {weight}: use 1 to 10000; the default is 100")));
            }
        }
        for (name, value) in [
            ("memory-max", self.memory_max.map(|size| size.0)),
            ("memory-high", self.memory_high.map(|size| size.0)),
            ("cpu-quota", self.cpu_quota.map(|percent| percent.0)),
            ("tasks-max", self.tasks_max),
        ] {
            if value == Some(0) {
                return Err(Error::usage(format!("{name} is 0: no program could run with that")));
            }
        }
        Ok(())
    }
}

/// A number of bytes, written as systemd.resource-control(5) does: `512M`, `1.5G`; the suffixes are powers
/// of 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "NumberOrText", into = "u64")]
pub struct Size(pub u64);

impl std::str::FromStr for Size {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
            "" | "B" => 0,
            "K" => 10,
            "M" => 20,
            "G" => 30,
            "T" => 40,
            "P" => 50,
            "E" => 60,
            _ => u32::MAX,
        };
        1u64.checked_shl(shift).and_then(|unit| times(digits, unit)).map(Self).ok_or_else(|| {
            Error::usage(format!(
                "'{}' is not a valid size: use bytes or a size such as 512M or 2G (K, M, G, T; base 1024)",
                text.escape_debug()
            ))
        })
    }
}

impl From<Size> for u64 {
    fn from(size: Size) -> Self {
        size.0
    }
}

/// Percent of one CPU; `50%` and `50` are the same, `200%` is two CPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "NumberOrText", into = "u64")]
pub struct Percent(pub u64);

impl std::str::FromStr for Percent {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        text.strip_suffix('%').unwrap_or(text).parse().map(Self).map_err(|_| {
            let text = text.escape_debug();
            Error::usage(format!("'{text}' is not a valid percentage: use a number such as 50% or 200%"))
        })
    }
}

impl From<Percent> for u64 {
    fn from(percent: Percent) -> Self {
        percent.0
    }
}

/// The forms of a [`Size`] or a [`Percent`] in a configuration file.
#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(u64),
    Text(String),
}

impl TryFrom<NumberOrText> for Size {
    type Error = Error;

    fn try_from(value: NumberOrText) -> Result<Self> {
        match value {
            NumberOrText::Number(number) => Ok(Self(number)),
            NumberOrText::Text(text) => text.parse(),
        }
    }
}

impl TryFrom<NumberOrText> for Percent {
    type Error = Error;

    fn try_from(value: NumberOrText) -> Result<Self> {
        match value {
            NumberOrText::Number(number) => Ok(Self(number)),
            NumberOrText::Text(text) => text.parse(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_parsed_as_by_systemd() {
        assert_eq!("512M".parse::<Size>().unwrap(), Size(512 << 20));
        assert_eq!("2g".parse::<Size>().unwrap(), Size(2 << 30));
        assert_eq!("1000".parse::<Size>().unwrap(), Size(1000));
        assert_eq!("1.5G".parse::<Size>().unwrap(), Size(3 << 29));
        for bad in ["", "M", "-1", "1X", "1.", "99999999999T"] {
            assert!(bad.parse::<Size>().unwrap_err().message.contains("base 1024"), "{bad}");
        }
    }

    #[test]
    fn each_limit_overrides_its_default() {
        let defaults = Limits { memory_max: Some(Size(1)), tasks_max: Some(5), ..Limits::default() };
        let own = Limits { tasks_max: Some(9), ..Limits::default() };
        let both = own.or(&defaults);
        assert_eq!((both.memory_max, both.tasks_max), (Some(Size(1)), Some(9)));
    }

    #[test]
    fn properties_have_the_units_of_systemd() {
        let limits =
            Limits { cpu_quota: Some(Percent(50)), memory_max: Some(Size(1 << 20)), ..Limits::default() };
        assert_eq!(limits.properties(), [("MemoryMax", 1 << 20), ("CPUQuotaPerSecUSec", 500_000)]);
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        let limits = Limits { cpu_weight: Some(0), ..Limits::default() };
        assert!(limits.check().unwrap_err().message.contains("cpu-weight is 0"));
        let limits = Limits { memory_max: Some(Size(0)), ..Limits::default() };
        assert!(limits.check().unwrap_err().message.contains("memory-max is 0"));
    }
}
