//! Looks that wait, before a command begins and after its end.
//!
//! The look at the end: what has begun is waited for, so that a unit that was killed in the last
//! millisecond is not called undisturbed because its manager has not noticed yet.

use std::time::Duration;

use crate::model::error::{Error, Result};
use crate::model::guard::timeline::{Changed, Ledger};
use crate::model::guard::unit_state::{Guarded, UnitState};
use crate::sys::clock::{Deadline, boot_us, pause};
use crate::sys::journal;
use crate::sys::proc::is_ending;
use crate::sys::systemd::unit_watch::{BRIEFLY, Looker, ObservedUnit, PATIENTLY};

/// How long a manager may take to notice. One that is busy answers later, and is waited for longer.
const NOTICED: Duration = Duration::from_secs(5);

/// How long a unit that was disturbed may take to be up again: that is for the report alone.
const UP_AGAIN: Duration = Duration::from_secs(1);

/// The pause between two looks: a process that is about to end tells nobody but its parent.
const AGAIN: Duration = Duration::from_millis(5);

/// It grows to this.
const LONGEST: Duration = Duration::from_millis(200);

/// How long a unit that is going down before the command begins may take to be up again, or down.
const AT_REST: Duration = Duration::from_secs(5);

/// Who settles: it has a ledger, and tells of changes.
pub(super) trait Settling {
    /// The ledger.
    fn ledger(&mut self) -> &mut Ledger;
    /// Tells of a change, at once.
    fn tell(&mut self, changed: &Changed);

    /// Notes how a unit looks, and tells what changed.
    fn look_at(&mut self, at_us: u64, unit: &Guarded, witness: UnitState) {
        if let Some(changed) = self.ledger().see(at_us, unit, witness) {
            self.tell(&changed);
        }
    }
}

/// Waits, before a command begins, while a unit is going down: that is not the command's doing.
///
/// # Errors
/// When a manager cannot be reached.
pub(super) fn come_to_rest(units: &[Guarded], mut looks: Vec<ObservedUnit>) -> Result<()> {
    let deadline = Deadline::after(AT_REST);
    let mut looker = Looker::new(units)?;
    let is_moving =
        |look: &ObservedUnit| look.witness.is_going_down() || (look.has_job && look.witness.is_up());
    while let Some(at) = looks.iter().position(is_moving) {
        if deadline.passed() {
            break;
        }
        journal::progress!("waiting up to {} s for {} to come to rest", deadline.left().as_secs(), units[at]);
        pause(AGAIN);
        looks = looker.look(BRIEFLY)?;
    }
    Ok(())
}

/// Looks until nothing moves any more, and notes the end.
///
/// # Errors
/// When a manager cannot be reached, or a unit does not come to rest.
pub(super) fn settle(settling: &mut impl Settling) -> Result<()> {
    let units: Vec<Guarded> = settling.ledger().units().iter().map(|known| known.unit.clone()).collect();
    if units.is_empty() {
        return Ok(());
    }
    let (noticed, up_again) = (Deadline::after(NOTICED), Deadline::after(UP_AGAIN));
    let mut looker = Looker::new(&units)?;
    let mut looks = looker.look(PATIENTLY)?;
    let mut again = AGAIN;
    loop {
        note(settling, &units, &looks);
        // At least twice: what was asked for just before comes before the second look.
        looks = looker.look(PATIENTLY)?;
        note(settling, &units, &looks);
        let is_done = settling.ledger().units().iter().zip(&looks).all(|(known, look)| {
            let late = if known.disturbed { up_again } else { noticed };
            late.passed() || is_settled(look, &known.first)
        });
        if is_done {
            break;
        }
        pause(again);
        again = (again * 2).min(LONGEST);
    }
    for (unit, look) in units.iter().zip(&looks) {
        if let Some(changed) = settling.ledger().see_last(boot_us(), unit, &look.witness) {
            settling.tell(&changed);
        }
    }
    // What has begun and was not seen to end is not nothing.
    let moving = settling
        .ledger()
        .units()
        .iter()
        .zip(&looks)
        .find(|(known, look)| !known.disturbed && !is_settled(look, &known.first));
    match moving {
        Some((known, look)) if look.has_job => {
            Err(Error::failed(format!("systemd still has a job for {}", known.unit))
                .hint("see 'systemctl --user list-jobs' and 'systemctl list-jobs'"))
        }
        Some((known, look)) => {
            Err(Error::failed(format!("{} is on its way: {}", known.unit, look.witness.state())))
        }
        None => Ok(()),
    }
}

fn note(settling: &mut impl Settling, units: &[Guarded], looks: &[ObservedUnit]) {
    for (unit, look) in units.iter().zip(looks) {
        settling.look_at(boot_us(), unit, look.witness.clone());
    }
}

/// Whether a unit stays as it is unless somebody does something. One that was on its way from the
/// beginning need not arrive.
fn is_settled(look: &ObservedUnit, first: &UnitState) -> bool {
    let ObservedUnit { witness, has_job } = look;
    let is_moving = witness.is_settling() && witness != first;
    let is_ending = witness.main_pid != 0 && is_ending(witness.main_pid);
    !has_job && !is_moving && !is_ending
}
