//! Decisions of a supervisor for random histories, also with clocks that go back.

use std::time::Duration;

use forge::model::supervision::{Breaker, DELAYS, Delays, Next, Restart, Silence};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::properties;
use crate::store::{rules, watched};

const S: u64 = 1_000_000;

properties! {
    #[test]
    fn the_breaker_opens_when_enough_failures_lie_within_any_window(
        gaps in vec(0..20 * S, 1..30),
        burst in 1..6u32,
        interval in 1..60u64,
    ) {
        let breaker = Breaker { burst, interval: Duration::from_secs(interval) };
        let (mut now, mut all, mut kept) = (0u64, Vec::new(), Vec::<u64>::new());
        for gap in gaps {
            now += gap;
            all.push(now);
            // The supervisor keeps only these.
            kept.retain(|failure| breaker.counts(*failure, now));
            kept.push(now);
            let within = all.iter().filter(|at| now - **at < interval * S).count();
            prop_assert_eq!(breaker.is_open(&all, now), within >= burst as usize);
            prop_assert_eq!(breaker.is_open(&kept, now), breaker.is_open(&all, now));
            prop_assert!(!breaker.is_open(&kept, now + interval * S), "one interval later no failure counts");
        }
        for off in [Breaker { burst: 0, ..breaker }, Breaker { interval: Duration::ZERO, ..breaker }] {
            prop_assert!(!off.is_open(&all, now));
        }
    }

    #[test]
    fn a_clock_of_another_boot_hides_no_failure_and_makes_no_panic(failures in vec(any::<u64>(), 0..9), now: u64, burst: u32, interval: u64) {
        let breaker = Breaker { burst, interval: Duration::from_micros(interval) };
        let open = breaker.is_open(&failures, now);
        prop_assert!(!open || failures.len() >= burst as usize);
        // A failure with a time in the future counts, like a recent one.
        let future = vec![u64::MAX; burst.min(50) as usize];
        prop_assert!(burst == 0 || burst > 50 || interval == 0 || breaker.is_open(&future, now));
    }

    #[test]
    fn pauses_grow_and_stop_at_the_longest(first in 0..200_000_000u64, steps in 0..50u32, longest in 0..1_000_000_000u64, n in 0..100u32) {
        let delays = Delays { first: Duration::from_micros(first), steps, longest: Duration::from_micros(longest) };
        let cap = delays.first.max(delays.longest);
        let (pause, next) = (delays.before(n), delays.before(n.saturating_add(1)));
        prop_assert!(delays.first <= pause && pause <= next && next <= cap, "{:?} then {:?}", pause, next);
        let last = delays.before(u32::MAX);
        prop_assert_eq!(last, if first == 0 { delays.first } else { cap });
    }

    #[test]
    fn any_first_pause_is_accepted(first: u64, n: u32) {
        let delays = Delays { first: Duration::from_micros(first), ..DELAYS };
        prop_assert!(delays.before(n) >= delays.first);
        prop_assert!(delays.before(n) <= delays.first.max(delays.longest));
    }

    #[test]
    fn silence_is_reported_once_nudged_once_and_ends_nothing_too_early(rules in rules(), mut silence in 0..3000u64) {
        let stuck_after = rules.stuck_after;
        let restart_after = rules.stuck_restart_after.filter(|_| rules.restart != Restart::Never);
        let (mut reported, mut nudged, mut steps) = (false, false, 0);
        // The supervisor sleeps until the next deadline each time.
        loop {
            steps += 1;
            prop_assert!(steps < 8, "the supervisor does not come to rest");
            let silent = Duration::from_secs(silence);
            match rules.after_silence(silent, reported, nudged) {
                Silence::Until(whole) => {
                    prop_assert!(whole > silent, "the deadline has passed");
                    prop_assert!(Some(whole) == stuck_after || Some(whole) == restart_after);
                    if whole.as_secs() > 1 << 60 { break }
                    silence = whole.as_secs();
                }
                Silence::Never => {
                    prop_assert!(stuck_after.is_none() || restart_after.is_none());
                    break;
                }
                Silence::Report => {
                    prop_assert!(!reported && stuck_after.is_some_and(|after| silent >= after));
                    reported = true;
                }
                Silence::Nudge => {
                    prop_assert!(reported && !nudged && rules.nudge_text.is_some());
                    nudged = true;
                }
                Silence::Restart => {
                    prop_assert!(stuck_after.is_some() && restart_after.is_some_and(|after| silent >= after), "too early");
                    break;
                }
            }
        }
        prop_assert_eq!(rules.patience().is_none(), rules.restart == Restart::Never);
    }

    #[test]
    fn changed_rules_restart_the_silence(watched in watched(), rules in rules(), now: u64) {
        let mut terms = watched.terms.clone();
        terms.rules = rules;
        let under = watched.with_terms(&terms, now);
        prop_assert_eq!(&under.terms, &terms);
        prop_assert_eq!((&under.mark, under.since_boot_us, under.wedged_boot_us), (&watched.mark, watched.since_boot_us, watched.wedged_boot_us));
        if terms.rules == watched.terms.rules {
            prop_assert_eq!((under.sign_boot_us, under.reported), (watched.sign_boot_us, watched.reported));
        } else {
            prop_assert_eq!((under.sign_boot_us, under.reported, under.nudged), (now, false, false));
        }
    }

    #[test]
    fn a_failure_is_never_called_over_and_a_clean_end_never_a_failure(
        restart in select(vec![Restart::Never, Restart::OnFailure, Restart::Always]), clean: bool,
    ) {
        let next = restart.after(clean);
        prop_assert!(next != Next::Over || clean);
        prop_assert!(next != Next::Failed || !clean);
        prop_assert_eq!(restart == Restart::Never, next != Next::Again && restart.after(!clean) != Next::Again);
    }
}
