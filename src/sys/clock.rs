//! Time: deadlines by the monotonic clock, which never jumps, and timestamps by the system's date.

use std::time::{Duration, Instant, SystemTime};

use nix::poll::PollTimeout;
use nix::time::{ClockId, clock_gettime};

/// A point in time at which a wait ends. A change of the system's date does not move it.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    /// The deadline that is `duration` from now.
    pub fn after(duration: Duration) -> Self {
        // A century stands for "never": adding more could overflow.
        const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);
        Self(Instant::now() + duration.min(NEVER))
    }

    /// The deadline at `moment`, in microseconds since the boot ([`boot_us`]).
    pub fn at_boot_us(moment: u64) -> Self {
        Self::after(Duration::from_micros(moment.saturating_sub(boot_us())))
    }

    /// The time left; zero if the deadline has passed.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    pub fn passed(self) -> bool {
        self.left().is_zero()
    }

    /// The earlier of two deadlines.
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

/// The current time in microseconds since 1970.
pub fn now_us() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, micros)
}

/// A duration in microseconds, at most `u64::MAX`.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The current time in microseconds since the boot. A change of the date does not affect it. Time during which
/// the machine sleeps does not count, because no program gives a sign of life meanwhile.
pub fn boot_us() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |now| micros(now.into()))
}

/// The milliseconds since `start`.
pub fn millis_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Formats microseconds since 1970 as local time, to the second. Empty if the time is out of range.
pub fn local(us: u64) -> String {
    i64::try_from(us)
        .ok()
        .and_then(|us| jiff::Timestamp::from_microsecond(us).ok())
        .map_or_else(String::new, |at| {
            at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
        })
}

/// Sleeps. Use it only to pace a poll of something that reports no event, and name that thing at the call.
pub fn pause(duration: Duration) {
    let deadline = Deadline::after(duration);
    while !deadline.passed() {
        // A signal may end the poll early; the loop waits for the rest.
        let _ = nix::poll::poll(&mut [], deadline.poll_timeout());
    }
}
