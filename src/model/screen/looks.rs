//! When the screen of a program that prints is worth a look: each look is a process.

use std::time::Duration;

/// How soon after the first output the screen is looked at although the output goes on. While it does,
/// the next look comes twice as late each time, up to the second.
const BOUND: (u64, u64) = (1_000_000, 4_000_000);

/// This part of the bound without output is taken for rest.
const PARTS: u64 = 4;

/// The shortest time between two looks.
const APART: u64 = 1_000_000;

/// Decides when to look: once the output has come to rest, within bounds. All times are in microseconds
/// since the boot.
#[derive(Debug)]
pub struct LookSchedule {
    /// The first output that no look has seen, as it was noticed.
    first: Option<u64>,
    /// When to decide.
    due: Option<u64>,
    /// How long after `first` the screen is looked at in any case.
    bound: u64,
    /// The last look.
    last: Option<u64>,
}

impl LookSchedule {
    /// With a look that is due at once.
    pub fn at_once(now: u64) -> Self {
        Self { first: Some(now), due: Some(now), bound: BOUND.0, last: None }
    }

    /// Whether output is waited for. While a look is due, the next output changes nothing before that.
    pub fn waits_for_output(&self) -> bool {
        self.due.is_none()
    }

    /// When [`LookSchedule::is_time`] is to be asked.
    pub fn due(&self) -> Option<u64> {
        self.due
    }

    /// There was output.
    pub fn output(&mut self, now: u64) {
        self.first.get_or_insert(now);
        self.due = Some((now + self.bound / PARTS).max(self.last.map_or(0, |last| last + APART)));
    }

    /// A look would tell nothing now, as that of a server that does not answer: the next comes later.
    pub fn put_off(&mut self, now: u64, by: Duration) {
        self.first.get_or_insert(now);
        let by = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        self.due = Some(now.saturating_add(by));
    }

    /// Whether to look now. `more`: there was output since it was asked last, or since the first.
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

    /// The looks at a program that prints at those times, as a supervisor that sleeps in between has them;
    /// and how often that wakes up.
    fn looks(outputs: &[u64]) -> (Vec<u64>, usize) {
        let (mut looks, mut seen, mut wakes, mut at) = (LookSchedule::at_once(0), Vec::new(), 0, 0);
        let mut now = 0;
        loop {
            wakes += 1;
            if looks.waits_for_output() {
                let Some(output) = outputs.get(at) else { return (seen, wakes) };
                now = now.max(*output);
                at += 1;
                looks.output(now);
            } else {
                now = looks.due().unwrap();
                let more = outputs.get(at).is_some_and(|output| *output <= now);
                at += outputs[at..].iter().take_while(|output| **output <= now).count();
                if looks.is_time(now, more) {
                    seen.push(now);
                }
            }
        }
    }

    #[test]
    fn one_burst_is_seen_once_it_is_over() {
        let (seen, _) = looks(&[10 * S, 10 * S + 1000, 10 * S + 2000]);
        assert_eq!(seen, [0, 10 * S + S / 2]);
        let (seen, _) = looks(&[10 * S]);
        assert_eq!(seen, [0, 10 * S + S / 4]);
    }

    #[test]
    fn a_program_that_always_prints_costs_few_looks() {
        let outputs: Vec<u64> = (0..6000).map(|n| 10 * S + n * S / 100).collect();
        let (seen, wakes) = looks(&outputs);
        assert!(seen.len() <= 20 && wakes < 120, "{} looks, {wakes} wakes in 60 s", seen.len());
        assert!(seen.windows(2).all(|pair| pair[1] - pair[0] >= APART), "{seen:?}");
        assert!(*seen.last().unwrap() >= *outputs.last().unwrap(), "the last output is seen");
    }

    #[test]
    fn looks_are_a_second_apart() {
        // Each burst comes to rest, and they are close together.
        let outputs: Vec<u64> = (0..100).map(|n| 10 * S + n * S * 4 / 10).collect();
        let (seen, _) = looks(&outputs);
        assert!(seen.windows(2).all(|pair| pair[1] - pair[0] >= APART), "{seen:?}");
        assert!(seen.len() > 20 && *seen.last().unwrap() >= *outputs.last().unwrap());
    }
}
