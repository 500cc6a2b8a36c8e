//! When to capture the screen of a program that prints: each capture starts a process.

use std::time::Duration;

/// How soon after the first output forge captures the screen although the output goes on, in microseconds. While
/// the output goes on, this delay doubles for each capture, up to the second value.
const BOUND: (u64, u64) = (1_000_000, 4_000_000);

/// The output has stopped if there was none for this part of the bound.
const PARTS: u64 = 4;

/// The shortest time between two captures, in microseconds.
const APART: u64 = 1_000_000;

/// Decides when to capture the screen: once the output has stopped, within bounds. All times are in microseconds
/// since the boot.
#[derive(Debug)]
pub struct CaptureSchedule {
    /// The first output since the last capture.
    first: Option<u64>,
    /// The time of the next decision.
    due: Option<u64>,
    /// The longest time from `first` to the next capture.
    bound: u64,
    /// The time of the last capture.
    last: Option<u64>,
}

impl CaptureSchedule {
    /// A schedule with a capture that is due at once.
    pub fn at_once(now: u64) -> Self {
        Self { first: Some(now), due: Some(now), bound: BOUND.0, last: None }
    }

    /// Whether the caller should wait for output. While a capture is due, output before it changes nothing.
    pub fn waits_for_output(&self) -> bool {
        self.due.is_none()
    }

    /// When to call [`CaptureSchedule::is_time`].
    pub fn due(&self) -> Option<u64> {
        self.due
    }

    pub fn output(&mut self, now: u64) {
        self.first.get_or_insert(now);
        self.due = Some((now + self.bound / PARTS).max(self.last.map_or(0, |last| last + APART)));
    }

    /// Delays the next capture, because the tmux server does not answer or the capture would show nothing new.
    pub fn put_off(&mut self, now: u64, by: Duration) {
        self.first.get_or_insert(now);
        let by = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        self.due = Some(now.saturating_add(by));
    }

    /// Whether to capture the screen now. `more` says whether there was output since the last call, or since the
    /// first output.
    pub fn is_time(&mut self, now: u64, more: bool) -> bool {
        if self.due.is_none_or(|due| now < due) {
            return false;
        }
        let latest = self.first.unwrap_or(now).saturating_add(self.bound);
        if more && now < latest {
            self.due = Some((now + self.bound / PARTS).min(latest));
            return false;
        }
        self.bound = if more { BOUND.1.min(self.bound * 2) } else { BOUND.0 };
        (self.first, self.due, self.last) = (None, None, Some(now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000;

    /// The times of captures by a supervisor that sleeps in between, for a program that prints at those times; and
    /// how often the supervisor wakes up.
    fn captures(outputs: &[u64]) -> (Vec<u64>, usize) {
        let (mut schedule, mut seen, mut wakes, mut at) = (CaptureSchedule::at_once(0), Vec::new(), 0, 0);
        let mut now = 0;
        loop {
            wakes += 1;
            if schedule.waits_for_output() {
                let Some(output) = outputs.get(at) else { return (seen, wakes) };
                now = now.max(*output);
                at += 1;
                schedule.output(now);
            } else {
                now = schedule.due().unwrap();
                let more = outputs.get(at).is_some_and(|output| *output <= now);
                at += outputs[at..].iter().take_while(|output| **output <= now).count();
                if schedule.is_time(now, more) {
                    seen.push(now);
                }
            }
        }
    }

    #[test]
    fn one_burst_is_captured_once_it_is_over() {
        let (seen, _) = captures(&[10 * S, 10 * S + 1000, 10 * S + 2000]);
        assert_eq!(seen, [0, 10 * S + S / 2]);
        let (seen, _) = captures(&[10 * S]);
        assert_eq!(seen, [0, 10 * S + S / 4]);
    }

    #[test]
    fn a_program_that_always_prints_costs_few_captures() {
        let outputs: Vec<u64> = (0..6000).map(|n| 10 * S + n * S / 100).collect();
        let (seen, wakes) = captures(&outputs);
        assert!(seen.len() <= 20 && wakes < 120, "{} captures, {wakes} wakes in 60 s", seen.len());
        assert!(seen.windows(2).all(|pair| pair[1] - pair[0] >= APART), "{seen:?}");
        assert!(*seen.last().unwrap() >= *outputs.last().unwrap(), "the last output is seen");
    }

    #[test]
    fn captures_are_a_second_apart() {
        // The output stops after each burst, and the bursts are close together.
        let outputs: Vec<u64> = (0..100).map(|n| 10 * S + n * S * 4 / 10).collect();
        let (seen, _) = captures(&outputs);
        assert!(seen.windows(2).all(|pair| pair[1] - pair[0] >= APART), "{seen:?}");
        assert!(seen.len() > 20 && *seen.last().unwrap() >= *outputs.last().unwrap());
    }
}
