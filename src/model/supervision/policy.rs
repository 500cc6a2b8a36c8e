//! The policy after the end of a session's program: whether, when and how often to start it again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// When a session is started again after its program ended; the words are those of `Restart=`
/// (systemd.service(5)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    Never,
    /// After an end that systemd would not call clean.
    #[default]
    OnFailure,
    Always,
}

/// The next step after the end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The session ended cleanly and is not started again.
    Over,
    /// The session failed and is not started again.
    Failed,
    /// The session is started again.
    Again,
}

impl Restart {
    pub fn after(self, clean: bool) -> Next {
        match (self, clean) {
            (Self::Always, _) | (Self::OnFailure, false) => Next::Again,
            (_, true) => Next::Over,
            (Self::Never, false) => Next::Failed,
        }
    }
}

/// systemd's settings for how often a unit may start, applied to a sliding window: that many failures
/// within that interval, wherever the interval begins. (systemd's own window begins again after its end,
/// and counts starts by hand too.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breaker {
    /// `StartLimitBurst=`
    pub burst: u32,
    /// `StartLimitIntervalSec=`
    pub interval: Duration,
}

impl Breaker {
    /// Whether a failure at that time still counts; the times are in microseconds since the boot.
    pub fn counts(self, failure_boot_us: u64, now_boot_us: u64) -> bool {
        Duration::from_micros(now_boot_us.saturating_sub(failure_boot_us)) < self.interval
    }

    /// Whether these failures are too many. As for systemd, 0 in either setting turns the limit off.
    pub fn is_open(self, failures_boot_us: &[u64], now_boot_us: u64) -> bool {
        let recent = failures_boot_us.iter().filter(|failure| self.counts(**failure, now_boot_us)).count();
        self.burst > 0 && !self.interval.is_zero() && recent >= self.burst as usize
    }
}

/// The pauses before restarts: the first is the unit's `RestartSec=`, and they grow to `longest` in
/// `steps` steps. systemd can do this from version 254 on (`RestartMaxDelaySec=`, `RestartSteps=`); forge
/// computes the pauses itself so that one unit works with all versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delays {
    pub first: Duration,
    pub steps: u32,
    pub longest: Duration,
}

/// `first` is the `RestartSec=` of `units/user/forge-spawn@.service`.
pub const DELAYS: Delays =
    Delays { first: Duration::from_secs(1), steps: 5, longest: Duration::from_secs(60) };

impl Delays {
    /// The pause before the `n`th restart in a row, by systemd's own formula
    /// (`service_restart_usec_next` in its source).
    pub fn before(self, n: u32) -> Duration {
        if n <= 1 {
            self.first
        } else if self.first.is_zero() || self.first >= self.longest {
            // It cannot grow.
            self.first
        } else if n > self.steps {
            self.longest
        } else {
            let growth = self.longest.as_secs_f64() / self.first.as_secs_f64();
            self.first.mul_f64(growth.powf(f64::from(n - 1) / f64::from(self.steps)))
        }
    }
}

/// The exit statuses of a supervisor, which the settings of `forge-spawn@.service` refer to. A supervisor
/// that fails with an error exits with the status of `model::error::Kind`: 1, 2, 3 (something is missing) or
/// 4 (a deadline passed). After 3, 4 and any status that is not listed here, systemd restarts the supervisor,
/// as after a failure.
pub mod status {
    /// The session ended and is not started again.
    pub const OVER: u8 = 0;
    /// The session ended cleanly and is started again (`EX_TEMPFAIL` of sysexits.h(3)).
    pub const AGAIN: u8 = 75;
    /// The session failed and is started again.
    pub const FAILED: u8 = 1;
    /// The session failed and is not started again.
    pub const FOR_GOOD: u8 = 5;
    /// The configuration is not valid.
    const CONFIG: u8 = 2;

    /// Whether systemd starts another supervisor after one that ended with that status. `None`: a signal
    /// ended it, or it ended in another unexpected way.
    pub fn is_followed(status: Option<u8>) -> bool {
        !matches!(status, Some(OVER | FOR_GOOD | CONFIG))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_breaker_counts_within_a_sliding_window() {
        let breaker = Breaker { burst: 3, interval: s(10) };
        let at = |seconds: &[u64]| seconds.iter().map(|s| s * 1_000_000).collect::<Vec<_>>();
        assert!(!breaker.is_open(&at(&[1, 2]), 2_000_000));
        assert!(breaker.is_open(&at(&[1, 2, 3]), 3_000_000));
        // Three within ten seconds, across any border.
        assert!(breaker.is_open(&at(&[1, 8, 9, 14]), 14_000_000));
        assert!(!breaker.is_open(&at(&[1, 5, 11]), 11_000_000), "the first is ten seconds old");
        assert!(!Breaker { burst: 0, ..breaker }.is_open(&at(&[1, 1, 1]), 1));
        assert!(!Breaker { interval: s(0), ..breaker }.is_open(&at(&[1, 1, 1]), 1_000_000));
    }

    #[test]
    fn the_exit_statuses_agree_with_the_unit() {
        let unit = include_str!("../../../units/user/forge-spawn@.service");
        let statuses = |key: &str| -> Vec<u8> {
            let line = unit.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            line.split(' ').filter_map(|word| word.parse().ok()).collect()
        };
        for status in statuses("RestartForceExitStatus=") {
            assert!(status::is_followed(Some(status)), "{status}");
        }
        for status in [statuses("RestartPreventExitStatus="), vec![status::OVER]].concat() {
            assert!(!status::is_followed(Some(status)), "{status}");
        }
        assert!(status::is_followed(None), "one that was killed");
    }

    #[test]
    fn delays_grow_by_the_formula_of_systemd() {
        let millis: Vec<u128> = (0..8).map(|n| DELAYS.before(n).as_millis()).collect();
        assert_eq!(millis, [1000, 1000, 2267, 5143, 11665, 26455, 60000, 60000]);
        for first in [s(0), s(60), s(100)] {
            assert_eq!(Delays { first, ..DELAYS }.before(9), first, "it cannot grow");
        }
        let unit = include_str!("../../../units/user/forge-spawn@.service");
        for line in [
            format!("\nRestartSec={}s\n", DELAYS.first.as_secs()),
            format!("\nSuccessExitStatus={}\n", status::AGAIN),
            format!(
                "\nRestartForceExitStatus={} SIGTERM SIGINT SIGHUP {} 3 4 ",
                status::AGAIN,
                status::FAILED
            ),
            format!("\nRestartPreventExitStatus=2 {}\n", status::FOR_GOOD),
        ] {
            assert!(unit.contains(&line), "the unit lacks {line}");
        }
    }

    #[test]
    fn restart_follows_the_policy_of_systemd() {
        for (restart, clean, next) in [
            (Restart::Never, true, Next::Over),
            (Restart::Never, false, Next::Failed),
            (Restart::OnFailure, true, Next::Over),
            (Restart::OnFailure, false, Next::Again),
            (Restart::Always, true, Next::Again),
            (Restart::Always, false, Next::Again),
        ] {
            assert_eq!(restart.after(clean), next, "{restart:?} {clean}");
        }
    }
}
