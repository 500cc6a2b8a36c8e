//! Pressure: how much of the time somebody waited for CPU, memory or disk (PSI, the kernel's
//! `accounting/psi.rst`), and when that is reason to freeze what weighs on others.

use std::time::Duration;

use serde::Serialize;

/// How long everything of a group together has waited for a resource so far, in microseconds: the
/// `some` totals. A resource that the kernel does not count has waited for nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// For a CPU.
    pub cpu: u64,
    /// For memory.
    pub memory: u64,
    /// For a disk.
    pub io: u64,
}

/// A share of time in which something waited, in percent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Pressure {
    /// For a CPU.
    pub cpu: u64,
    /// For memory.
    pub memory: u64,
    /// For a disk.
    pub io: u64,
}

impl Totals {
    /// The pressure since an earlier look, which was so long ago.
    pub fn since(self, earlier: Self, elapsed_us: u64) -> Pressure {
        let share =
            |now: u64, then: u64| (now.saturating_sub(then).saturating_mul(100) / elapsed_us.max(1)).min(100);
        Pressure {
            cpu: share(self.cpu, earlier.cpu),
            memory: share(self.memory, earlier.memory),
            io: share(self.io, earlier.io),
        }
    }
}

impl Pressure {
    /// The highest of the three.
    pub fn highest(self) -> u64 {
        self.cpu.max(self.memory).max(self.io)
    }

    /// The higher of each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            cpu: self.cpu.max(other.cpu),
            memory: self.memory.max(other.memory),
            io: self.io.max(other.io),
        }
    }
}

/// Reads the `some` total of a pressure file.
pub fn total(text: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix("some "))?
        .split_ascii_whitespace()
        .find_map(|field| field.strip_prefix("total="))?
        .parse()
        .ok()
}

/// What is to be done about the pressure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// Freeze.
    Freeze,
    /// Let run again.
    Thaw,
}

/// When to freeze and when to thaw.
///
/// Frozen after a while of pressure and thawed after a longer one with less than half of it, so that
/// it does not flutter; and never frozen for long, so that what is frozen comes to its end however
/// long the pressure lasts.
#[derive(Debug, Clone)]
pub struct Brake {
    /// From what pressure on, in percent.
    percent: u64,
    /// Since when the pressure is on the other side, in microseconds since the boot.
    other_side_since: Option<u64>,
    frozen_since: Option<u64>,
    /// Since when it runs although there may be pressure.
    released: Option<u64>,
}

impl Brake {
    /// So long there must be pressure.
    const FREEZE_AFTER: Duration = Duration::from_secs(2);
    /// So long there must be little.
    const THAW_AFTER: Duration = Duration::from_secs(5);
    /// So long it may be frozen at a stretch.
    const LONGEST: Duration = Duration::from_secs(60);
    /// So long it then runs, whatever the pressure.
    const RUNS: Duration = Duration::from_secs(15);

    /// A brake for pressure from so many percent on.
    pub fn new(percent: u64) -> Self {
        Self { percent, other_side_since: None, frozen_since: None, released: None }
    }

    /// Whether it has things frozen.
    pub fn is_on(&self) -> bool {
        self.frozen_since.is_some()
    }

    /// What is to be done, now that the pressure is so many percent.
    pub fn judge(&mut self, now_us: u64, percent: u64) -> Option<Move> {
        let lasted = |since: u64, long| Duration::from_micros(now_us.saturating_sub(since)) >= long;
        let (is_other_side, after) = match self.frozen_since {
            None => (percent >= self.percent, Self::FREEZE_AFTER),
            Some(_) => (percent * 2 < self.percent, Self::THAW_AFTER),
        };
        let since = is_other_side.then(|| *self.other_side_since.get_or_insert(now_us));
        self.other_side_since = since;
        let is_time = since.is_some_and(|since| lasted(since, after));
        match self.frozen_since {
            None if is_time && self.released.is_none_or(|since| lasted(since, Self::RUNS)) => {
                self.frozen_since = Some(now_us);
                self.other_side_since = None;
                Some(Move::Freeze)
            }
            Some(frozen) if lasted(frozen, Self::LONGEST) => {
                self.release(now_us);
                Some(Move::Thaw)
            }
            Some(_) if is_time => {
                self.frozen_since = None;
                self.other_side_since = None;
                Some(Move::Thaw)
            }
            _ => None,
        }
    }

    /// What was frozen runs, whoever thawed it, and is left running for a while.
    pub fn release(&mut self, now_us: u64) {
        self.frozen_since = None;
        self.other_side_since = None;
        self.released = Some(now_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000;

    #[test]
    fn totals_are_read_and_become_percent() {
        let text = "some avg10=1.00 avg60=0.00 avg300=0.00 total=1500000\nfull avg10=0 total=7\n";
        assert_eq!(total(text), Some(1_500_000));
        assert_eq!(total(""), None);
        let earlier = Totals { cpu: 1_000_000, ..Totals::default() };
        let now = Totals { cpu: 1_500_000, io: 900, ..earlier };
        assert_eq!(now.since(earlier, S), Pressure { cpu: 50, memory: 0, io: 0 });
        assert_eq!(earlier.since(now, S), Pressure::default(), "a group that was made anew");
        assert_eq!(now.since(Totals::default(), 0).highest(), 100);
    }

    /// The moves at a pressure for each second.
    fn moves(brake: &mut Brake, pressures: impl IntoIterator<Item = u64>) -> Vec<(u64, Move)> {
        (0..)
            .zip(pressures)
            .filter_map(|(second, percent)| Some((second, brake.judge(second * S, percent)?)))
            .collect()
    }

    #[test]
    fn it_does_not_flutter() {
        let mut brake = Brake::new(40);
        assert_eq!(moves(&mut brake, [90, 0, 90, 90, 0, 90, 0]), []);
        // It goes on above half of it, and one look below is not enough.
        let around = [50, 50, 50, 30, 30, 0, 0, 30, 0, 0, 0, 0, 0, 0];
        assert_eq!(moves(&mut Brake::new(40), around), [(2, Move::Freeze), (13, Move::Thaw)]);
    }

    #[test]
    fn nothing_is_frozen_for_long() {
        let moves = moves(&mut Brake::new(40), std::iter::repeat_n(100, 160));
        assert_eq!(
            moves,
            [(2, Move::Freeze), (62, Move::Thaw), (77, Move::Freeze), (137, Move::Thaw), (152, Move::Freeze)]
        );
    }

    #[test]
    fn what_somebody_thawed_is_left_running() {
        let mut brake = Brake::new(40);
        assert_eq!(moves(&mut brake, [100, 100, 100]), [(2, Move::Freeze)]);
        brake.release(3 * S);
        assert!(!brake.is_on());
        let next = (4..40).find(|second| brake.judge(second * S, 100).is_some());
        assert_eq!(next, Some(18));
    }
}
