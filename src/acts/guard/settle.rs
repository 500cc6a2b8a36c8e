//! The look at the end: what has begun is waited for, so that a unit that was killed in the last
//! millisecond is not called undisturbed because its manager has not noticed yet.

use std::time::Duration;

use crate::hands::clock::{Deadline, boot_us, pause};
use crate::hands::process::is_ending;
use crate::hands::systemd::witness::{self, Look, PATIENTLY};
use crate::words::error::Result;
use crate::words::guard::ledger::{Changed, Ledger};
use crate::words::guard::witness::{Guarded, Witness};

/// How long a manager may take to notice. One that is busy answers later, and is waited for longer.
const NOTICED: Duration = Duration::from_secs(5);

/// How long a unit that was disturbed may take to be up again: that is for the report alone.
const UP_AGAIN: Duration = Duration::from_secs(1);

/// The pause between two looks: a process that is about to end tells nobody but its parent.
const AGAIN: Duration = Duration::from_millis(5);

/// Looks until nothing moves any more, and notes the end; `tell` gets each change.
///
/// # Errors
/// When a manager cannot be reached.
pub(super) fn settle(ledger: &mut Ledger, mut tell: impl FnMut(&Changed)) -> Result<()> {
    let units: Vec<Guarded> = ledger.units().iter().map(|known| known.unit.clone()).collect();
    if units.is_empty() {
        return Ok(());
    }
    let (noticed, up_again) = (Deadline::after(NOTICED), Deadline::after(UP_AGAIN));
    let mut looks = witness::look(&units, PATIENTLY)?;
    loop {
        // At least twice: what was asked for just before comes before the second look.
        looks = {
            note(ledger, &units, &looks, &mut tell);
            witness::look(&units, PATIENTLY)?
        };
        note(ledger, &units, &looks, &mut tell);
        let is_done = ledger.units().iter().zip(&looks).all(|(known, look)| {
            let late = if known.disturbed { up_again } else { noticed };
            late.passed() || is_settled(look, &known.first)
        });
        if is_done {
            break;
        }
        pause(AGAIN);
    }
    for (unit, look) in units.iter().zip(&looks) {
        if let Some(changed) = ledger.see_last(boot_us(), unit, &look.witness) {
            tell(&changed);
        }
    }
    Ok(())
}

fn note(ledger: &mut Ledger, units: &[Guarded], looks: &[Look], tell: &mut impl FnMut(&Changed)) {
    for (unit, look) in units.iter().zip(looks) {
        if let Some(changed) = ledger.see(boot_us(), unit, look.witness.clone()) {
            tell(&changed);
        }
    }
}

/// Whether a unit stays as it is unless somebody does something. One that was on its way from the
/// beginning need not arrive.
fn is_settled(look: &Look, first: &Witness) -> bool {
    let Look { witness, has_job } = look;
    let is_moving = witness.is_settling() && witness != first;
    let is_ending = witness.main_pid != 0 && is_ending(witness.main_pid);
    !has_job && !is_moving && !is_ending
}
