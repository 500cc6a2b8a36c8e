//! Pressure: the share of time in which processes waited for CPU, memory or disk (PSI, the kernel's
//! `accounting/psi.rst`), and when forge freezes processes because of it.

use std::time::Duration;

use serde::Serialize;

/// How long the processes of a group have waited for a resource so far, in microseconds: the `some` totals.
/// The total of a resource that the kernel does not count is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub cpu: u64,
    pub memory: u64,
    pub io: u64,
}

/// The share of time in which processes waited, in percent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Pressure {
    pub cpu: u64,
    pub memory: u64,
    pub io: u64,
}

impl Totals {
    /// The pressure since an earlier measurement, `elapsed_us` ago.
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
    pub fn highest(self) -> u64 {
        self.cpu.max(self.memory).max(self.io)
    }

    /// The maximum of each resource.
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    Freeze,
    Thaw,
}

/// Decides when to freeze and when to thaw.
///
/// It freezes after some time of pressure and thaws after a longer time with less than half of that
/// pressure, so that it does not flutter. It never freezes for long, so that frozen work finishes however
/// long the pressure lasts.
#[derive(Debug, Clone)]
pub struct Brake {
    /// The pressure that it reacts to, in percent.
    percent: u64,
    /// Since when the pressure calls for the other state, in microseconds since the boot.
    other_side_since: Option<u64>,
    frozen_since: Option<u64>,
    /// When the processes were last thawed in spite of the pressure, or by somebody else.
    released: Option<u64>,
}

impl Brake {
    /// Freeze after this much time of pressure.
    const FREEZE_AFTER: Duration = Duration::from_secs(2);
    /// Thaw after this much time of low pressure.
    const THAW_AFTER: Duration = Duration::from_secs(5);
    /// The longest time to stay frozen.
    const LONGEST: Duration = Duration::from_secs(60);
    /// How long the processes then run, whatever the pressure.
    const RUNS: Duration = Duration::from_secs(15);

    pub fn new(percent: u64) -> Self {
        Self { percent, other_side_since: None, frozen_since: None, released: None }
    }

    /// Whether the processes are frozen.
    pub fn is_on(&self) -> bool {
        self.frozen_since.is_some()
    }

    /// The next move, given the present pressure in percent.
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

    /// The processes were thawed, by forge or somebody else; they keep running for a while.
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
    fn totals_are_parsed_and_become_percent() {
        let text = "some avg10=1.00 avg60=0.00 avg300=0.00 total=1500000\nfull avg10=0 total=7\n";
        assert_eq!(total(text), Some(1_500_000));
        assert_eq!(total(""), None);
        let earlier = Totals { cpu: 1_000_000, ..Totals::default() };
        let now = Totals { cpu: 1_500_000, io: 900, ..earlier };
        assert_eq!(now.since(earlier, S), Pressure { cpu: 50, memory: 0, io: 0 });
        assert_eq!(earlier.since(now, S), Pressure::default(), "a group that was created again");
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
    fn the_brake_does_not_flutter() {
        let mut brake = Brake::new(40);
        assert_eq!(moves(&mut brake, [90, 0, 90, 90, 0, 90, 0]), []);
        // It stays frozen above half of the pressure, and one measurement below is not enough.
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
    fn processes_that_somebody_thawed_keep_running() {
        let mut brake = Brake::new(40);
        assert_eq!(moves(&mut brake, [100, 100, 100]), [(2, Move::Freeze)]);
        brake.release(3 * S);
        assert!(!brake.is_on());
        let next = (4..40).find(|second| brake.judge(second * S, 100).is_some());
        assert_eq!(next, Some(18));
    }
}
