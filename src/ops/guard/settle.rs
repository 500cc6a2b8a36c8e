//! Checks of the units that wait for changes in progress, before a command begins and after its end.
//!
//! The check at the end waits for changes in progress, so that forge does not call a unit undisturbed that
//! was killed in the last millisecond and whose manager has not noticed yet.

use std::time::Duration;

use crate::model::error::{Error, Result};
use crate::model::guard::timeline::{Changed, Timeline};
use crate::model::guard::unit_state::{Guarded, UnitState};
use crate::sys::clock::{Deadline, boot_us, pause};
use crate::sys::journal;
use crate::sys::proc::is_ending;
use crate::sys::systemd::unit_watch::{BRIEFLY, ObservedUnit, PATIENTLY, UnitReader};

/// How long a manager may take to notice a change. A busy manager answers later, and forge waits for its
/// answer.
const NOTICE: Duration = Duration::from_secs(5);

/// How long forge waits for a disturbed unit to be up again, so that the report can say so.
const UP_AGAIN: Duration = Duration::from_secs(1);

/// The first pause between two checks. The kernel reports the end of a process only to its parent.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// The longest pause between two checks. The pause doubles each time.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// How long forge waits, before the command begins, for a unit that is going down.
const GOING_DOWN: Duration = Duration::from_secs(5);

/// Records the states of the units, and reports changes.
pub(super) trait ChangeRecorder {
    fn timeline(&mut self) -> &mut Timeline;

    /// Reports a change of a unit at once.
    fn report_change(&mut self, changed: &Changed);

    /// Records the state of a unit, and reports the change if there is one.
    fn record_state(&mut self, at_us: u64, unit: &Guarded, state: UnitState) {
        if let Some(changed) = self.timeline().update(at_us, unit, state) {
            self.report_change(&changed);
        }
    }
}

/// Waits up to 5 seconds, before a command begins, while a unit is going down: the command does not cause
/// that.
///
/// # Errors
/// `Kind::Bus` when a manager cannot be reached.
pub(super) fn wait_while_going_down(units: &[Guarded], mut readings: Vec<ObservedUnit>) -> Result<()> {
    let deadline = Deadline::after(GOING_DOWN);
    let mut reader = UnitReader::new(units)?;
    let is_moving =
        |reading: &ObservedUnit| reading.state.is_going_down() || (reading.has_job && reading.state.is_up());
    while let Some(at) = readings.iter().position(is_moving) {
        if deadline.passed() {
            break;
        }
        journal::progress!(
            "waiting up to {} s for {}, which is going down",
            deadline.left().as_secs(),
            units[at]
        );
        // The wait is short and rare, so forge reads again after a pause instead of waiting for events.
        pause(FIRST_PAUSE);
        readings = reader.observe(BRIEFLY)?;
    }
    Ok(())
}

/// Checks the units until no change is in progress, and records their final states.
///
/// # Errors
/// `Kind::Bus` when a manager cannot be reached; `Kind::Failed` when a change of an undisturbed unit is still
/// in progress after 5 seconds.
pub(super) fn wait_until_settled(recorder: &mut impl ChangeRecorder) -> Result<()> {
    let units: Vec<Guarded> = recorder.timeline().units().iter().map(|known| known.unit.clone()).collect();
    if units.is_empty() {
        return Ok(());
    }
    let (noticed, up_again) = (Deadline::after(NOTICE), Deadline::after(UP_AGAIN));
    let mut reader = UnitReader::new(&units)?;
    let mut readings = reader.observe(PATIENTLY)?;
    let mut wait = FIRST_PAUSE;
    loop {
        record_states(recorder, &units, &readings);
        // Check at least twice: a change that was requested just before shows at the second check.
        readings = reader.observe(PATIENTLY)?;
        record_states(recorder, &units, &readings);
        let is_done = recorder.timeline().units().iter().zip(&readings).all(|(known, reading)| {
            let deadline = if known.disturbed { up_again } else { noticed };
            deadline.passed() || is_settled(reading, &known.first)
        });
        if is_done {
            break;
        }
        pause(wait);
        wait = (wait * 2).min(LONGEST_PAUSE);
    }
    for (unit, reading) in units.iter().zip(&readings) {
        if let Some(changed) = recorder.timeline().update_last(boot_us(), unit, &reading.state) {
            recorder.report_change(&changed);
        }
    }
    // A change in progress whose end forge did not see may be a disturbance.
    let moving = recorder
        .timeline()
        .units()
        .iter()
        .zip(&readings)
        .find(|(known, reading)| !known.disturbed && !is_settled(reading, &known.first));
    match moving {
        Some((known, reading)) if reading.has_job => {
            Err(Error::failed(format!("systemd still has a job for {}", known.unit))
                .hint("see 'systemctl --user list-jobs' and 'systemctl list-jobs'"))
        }
        Some((known, reading)) => Err(Error::failed(format!(
            "{} is still changing: {}",
            known.unit,
            reading.state.active_and_sub()
        ))),
        None => Ok(()),
    }
}

fn record_states(recorder: &mut impl ChangeRecorder, units: &[Guarded], readings: &[ObservedUnit]) {
    for (unit, reading) in units.iter().zip(readings) {
        recorder.record_state(boot_us(), unit, reading.state.clone());
    }
}

/// Whether a unit is at rest: it has no job, its state is not changing, and its main process is not about to
/// end. A unit that is still in the changing state in which the guard found it counts as at rest.
fn is_settled(reading: &ObservedUnit, first: &UnitState) -> bool {
    let ObservedUnit { state, has_job } = reading;
    let is_moving = state.is_settling() && state != first;
    let is_ending = state.main_pid != 0 && is_ending(state.main_pid);
    !has_job && !is_moving && !is_ending
}
