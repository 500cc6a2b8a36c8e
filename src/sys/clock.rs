//! Time: deadlines by the clock that never jumps, and timestamps by the one that people read.

use std::time::{Duration, Instant, SystemTime};

use nix::poll::PollTimeout;
use nix::time::{ClockId, clock_gettime};

/// A point in time after which waiting makes no sense. It is not moved by a change of the
/// system's date.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    /// That long from now.
    pub fn after(duration: Duration) -> Self {
        // A century stands for "never": adding more could overflow.
        const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);
        Self(Instant::now() + duration.min(NEVER))
    }

    /// That moment, in microseconds since the boot.
    pub fn at_boot_us(moment: u64) -> Self {
        Self::after(Duration::from_micros(moment.saturating_sub(boot_us())))
    }

    /// The time left; zero if the deadline has passed.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether it passed.
    pub fn passed(self) -> bool {
        self.left().is_zero()
    }

    /// The earlier of two.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }

    /// The time left, for poll(2). Rounded up, so that a wait of less than a millisecond does not spin.
    pub fn poll_timeout(self) -> PollTimeout {
        let millis = self.left().as_micros().div_ceil(1000);
        PollTimeout::try_from(i32::try_from(millis).unwrap_or(i32::MAX)).unwrap_or(PollTimeout::MAX)
    }
}

/// Now, in microseconds since 1970.
pub fn now_us() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, micros)
}

/// A duration in microseconds, at most `u64::MAX`.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Now, in microseconds since the boot. A change of the date does not affect it. The time that the machine
/// sleeps does not count: no program gives a sign of life meanwhile.
pub fn boot_us() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |now| micros(now.into()))
}

/// Milliseconds since then.
pub fn millis_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// A timestamp for people: local time, to the second.
pub fn local(us: u64) -> String {
    i64::try_from(us)
        .ok()
        .and_then(|us| jiff::Timestamp::from_microsecond(us).ok())
        .map_or_else(String::new, |at| {
            at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
        })
}

/// Waits for nothing but time. Only for pacing what offers no event; say at the call which.
pub fn pause(duration: Duration) {
    let deadline = Deadline::after(duration);
    while !deadline.passed() {
        // A signal may end it early: then the rest is waited for.
        let _ = nix::poll::poll(&mut [], deadline.poll_timeout());
    }
}
