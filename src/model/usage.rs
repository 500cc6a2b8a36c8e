//! Resources that a session used, and numbers for people.

use serde::{Deserialize, Serialize};

/// The resources that a session's slice used, as far as the kernel counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time, in microseconds (`cpu.stat`).
    pub cpu_usec: Option<u64>,
    /// The highest memory use, in bytes (`memory.peak`).
    pub memory_peak: Option<u64>,
    /// The run time, in microseconds.
    pub duration_usec: Option<u64>,
}

/// A duration for people: `3s`, `4m 5s`, `2h 3m`, `5d 2h`.
pub fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    if days > 0 {
        format!("{days}d {}h", hours % 24)
    } else if hours > 0 {
        format!("{hours}h {}m", minutes % 60)
    } else if minutes > 0 {
        format!("{minutes}m {}s", seconds % 60)
    } else {
        format!("{seconds}s")
    }
}

/// A size for people, in powers of 1024 as systemd prints them: `812.0K`, `1.5G`.
pub fn size(bytes: u64) -> String {
    let mut tenths = bytes.saturating_mul(10);
    let mut unit = 0;
    while tenths >= 10_240 && unit < 4 {
        tenths /= 1024;
        unit += 1;
    }
    match ["B", "K", "M", "G", "T"][unit] {
        "B" => format!("{bytes}B"),
        unit => format!("{}.{}{unit}", tenths / 10, tenths % 10),
    }
}

/// CPU time for people: `15ms`, `2.3s`, `4m 5s`.
pub fn cpu(usec: u64) -> String {
    match usec {
        0..1_000_000 => format!("{}ms", usec / 1000),
        1_000_000..60_000_000 => format!("{}.{}s", usec / 1_000_000, usec / 100_000 % 10),
        _ => duration(usec / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people_are_short() {
        assert_eq!(duration(59), "59s");
        assert_eq!(duration(3_725), "1h 2m");
        assert_eq!(duration(200_000), "2d 7h");
        assert_eq!(size(900), "900B");
        assert_eq!(size(1536), "1.5K");
        assert_eq!(size(3 << 30), "3.0G");
        assert_eq!(cpu(15_400), "15ms");
        assert_eq!(cpu(2_340_000), "2.3s");
    }
}
