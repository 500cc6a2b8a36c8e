//! The timeline of a guarded command: the observed events in order, and which of them were disturbances.

use serde::Serialize;

use super::unit_state::{Guarded, ManagerKind, StateChange, UnitState};
use crate::model::error::Error;

/// An event on the timeline.
#[derive(Debug, Clone, PartialEq)]
pub struct Moment {
    /// When forge observed it, in microseconds since the boot.
    pub at_us: u64,
    pub what: Happening,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    Began {
        /// The program's name, without arguments.
        program: String,
    },
    Changed(Box<Changed>),
    /// A manager or its bus does not answer.
    Away(ManagerKind),
    /// The manager answers again, and forge has checked its units.
    Back(ManagerKind),
    /// The command was frozen, at that pressure in percent.
    Frozen(u64),
    Thawed,
    /// The command listened although that is denied.
    Listened {
        address: String,
        process: String,
    },
    /// The command moved into another control group, where its limits do not apply.
    Left {
        group: String,
    },
    Ended {
        result: String,
    },
    /// forge ended the processes that the command had left behind.
    Cleared {
        processes: u64,
    },
}

/// A change of a unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    pub unit: Guarded,
    pub change: StateChange,
    pub before: UnitState,
    pub after: UnitState,
}

impl Changed {
    /// The change for people, without the unit's name.
    pub fn words(&self) -> String {
        let Self { change, before, after, .. } = self;
        let process = match (before.main_pid, after.main_pid) {
            (0, 0) => String::new(),
            (0, pid) => format!(": process {pid}"),
            (pid, 0) => format!(": process {pid} is gone"),
            (pid, next) if pid == next => String::new(),
            (pid, next) => format!(": process {pid}, now {next}"),
        };
        match change {
            StateChange::Started => format!("came up{process}"),
            StateChange::Done => "finished its work".to_owned(),
            StateChange::Reloaded => "read its configuration again".to_owned(),
            StateChange::Stopping => "is being stopped".to_owned(),
            StateChange::Stopped => format!("stopped{process}"),
            StateChange::Failed => {
                let how = after.main_end().map(|end| format!(", {end}")).unwrap_or_default();
                let then = if after.active == "failed" { "" } else { ", and will be started again" };
                format!("failed: {}{how}{then}", after.result)
            }
            StateChange::Restarted if before.is_restarted_by_systemd(after) => {
                format!("failed and was started again by systemd{process}")
            }
            StateChange::Restarted => format!("was restarted{process}"),
            StateChange::MainProcess => format!("has another main process{process}"),
            StateChange::Frozen => "was frozen".to_owned(),
            StateChange::Thawed => "was thawed".to_owned(),
        }
    }
}

impl Happening {
    pub fn word(&self) -> &'static str {
        match self {
            Self::Began { .. } => "began",
            Self::Changed(changed) => changed.change.word(),
            Self::Away(_) => "away",
            Self::Back(_) => "back",
            Self::Frozen(_) => "frozen",
            Self::Thawed => "thawed",
            Self::Listened { .. } => "listened",
            Self::Left { .. } => "left",
            Self::Ended { .. } => "ended",
            Self::Cleared { .. } => "cleared",
        }
    }

    pub fn text(&self) -> String {
        match self {
            Self::Began { program } => format!("{program} started"),
            Self::Changed(changed) => format!("{} {}", changed.unit, changed.words()),
            Self::Away(manager) => format!("the {} manager or its bus does not answer", manager.word()),
            Self::Back(manager) => format!("the {} manager answers again", manager.word()),
            Self::Frozen(percent) => format!("the command was frozen at a pressure of {percent} %"),
            Self::Thawed => "the command runs again".to_owned(),
            Self::Listened { address, process } => format!("{process} listened on {address}"),
            Self::Left { group } => format!("the command moved to {group}, where its limits do not apply"),
            Self::Ended { result } => format!("the command ended: {result}"),
            Self::Cleared { processes } => {
                format!("forge ended {processes} processes that it had left behind")
            }
        }
    }

    pub fn disturbs(&self) -> bool {
        matches!(self, Self::Changed(changed) if changed.change.disturbs())
    }
}

/// An event of the timeline in JSON; the keys are the same for all events.
#[derive(Debug, Clone, Serialize)]
pub struct TimelineRow {
    /// Milliseconds since the command started.
    pub ms: u64,
    pub event: &'static str,
    pub unit: Option<String>,
    pub manager: Option<ManagerKind>,
    pub disturbs: bool,
    /// The event for people.
    pub text: String,
}

impl Moment {
    /// The row for JSON and for tables. `began_us` is the start of the command.
    pub fn row(&self, began_us: u64) -> TimelineRow {
        let unit = match &self.what {
            Happening::Changed(changed) => Some(&changed.unit),
            _ => None,
        };
        TimelineRow {
            ms: self.at_us.saturating_sub(began_us) / 1000,
            event: self.what.word(),
            unit: unit.map(|unit| unit.unit.clone()),
            manager: unit.map(|unit| unit.manager),
            disturbs: self.what.disturbs(),
            text: self.what.text(),
        }
    }
}

/// A guarded unit with its first and last state.
#[derive(Debug, Clone)]
pub struct Known {
    pub unit: Guarded,
    pub first: UnitState,
    pub last: UnitState,
    pub disturbed: bool,
    /// The number of its changes on the timeline.
    changes: usize,
}

/// The guarded units and their events.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    units: Vec<Known>,
    moments: Vec<Moment>,
    unknown: Option<Error>,
}

/// At most this many changes of one unit are kept; of a unit that keeps failing, the first changes matter.
const MOST: usize = 200;

impl Timeline {
    pub fn new(units: impl IntoIterator<Item = (Guarded, UnitState)>) -> Self {
        let known = |(unit, first): (Guarded, UnitState)| Known {
            unit,
            last: first.clone(),
            first,
            disturbed: false,
            changes: 0,
        };
        Self { units: units.into_iter().map(known).collect(), ..Self::default() }
    }

    pub fn units(&self) -> &[Known] {
        &self.units
    }

    pub fn moments(&self) -> &[Moment] {
        &self.moments
    }

    pub fn push(&mut self, at_us: u64, what: Happening) {
        self.moments.push(Moment { at_us, what });
    }

    /// Updates the state of a unit. Returns the change, if it matters.
    pub fn update(&mut self, at_us: u64, unit: &Guarded, now: UnitState) -> Option<Changed> {
        let known = self.units.iter_mut().find(|known| known.unit == *unit)?;
        let change = known.last.change(&now);
        let before = std::mem::replace(&mut known.last, now.clone());
        let changed = Changed { unit: unit.clone(), change: change?, before, after: now };
        known.disturbed |= changed.change.disturbs();
        known.changes += 1;
        if known.changes <= MOST {
            self.push(at_us, Happening::Changed(Box::new(changed.clone())));
        }
        Some(changed)
    }

    /// Updates the state of a unit at the end, and compares it with its first state too. Returns a
    /// disturbance that no earlier change showed.
    pub fn update_last(&mut self, at_us: u64, unit: &Guarded, now: &UnitState) -> Option<Changed> {
        let changed = self.update(at_us, unit, now.clone());
        if changed.as_ref().is_some_and(|changed| changed.change.disturbs()) {
            return changed;
        }
        let known = self.units.iter_mut().find(|known| known.unit == *unit && !known.disturbed)?;
        let change = known.first.change(now).filter(|change| change.disturbs())?;
        known.disturbed = true;
        let changed = Changed { unit: unit.clone(), change, before: known.first.clone(), after: now.clone() };
        self.push(at_us, Happening::Changed(Box::new(changed.clone())));
        Some(changed)
    }

    /// Records that the state of the units is unknown, so that they do not count as undisturbed.
    pub fn set_unknown(&mut self, why: Error) {
        self.unknown = Some(why);
    }

    /// Why the state of the units is unknown, if it is.
    pub fn unknown(&self) -> Option<&Error> {
        self.unknown.as_ref()
    }

    /// Whether a unit was disturbed, or may have been because its state is unknown.
    pub fn is_disturbed(&self) -> bool {
        self.unknown.is_some() || self.units.iter().any(|known| known.disturbed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(invocation: &str, pid: u32) -> UnitState {
        UnitState {
            active: "active".into(),
            invocation: invocation.into(),
            main_pid: pid,
            result: "success".into(),
            ..UnitState::default()
        }
    }

    fn unit() -> Guarded {
        Guarded::parse(ManagerKind::User, "web").unwrap()
    }

    #[test]
    fn a_restart_is_recorded_in_its_steps() {
        let mut timeline = Timeline::new([(unit(), running("a", 7))]);
        let stopping = UnitState { active: "deactivating".into(), ..running("a", 7) };
        assert_eq!(timeline.update(1, &unit(), stopping).unwrap().words(), "is being stopped");
        assert!(timeline.is_disturbed());
        let again = timeline.update(2, &unit(), running("b", 8)).unwrap();
        assert_eq!(again.words(), "was restarted: process 7, now 8");
        assert_eq!(timeline.update(3, &unit(), running("b", 8)), None);
        assert_eq!(timeline.moments().len(), 2);
        let row = timeline.moments()[0].row(0);
        assert_eq!((row.event, row.disturbs), ("stopping", true));
        let row = timeline.moments()[1].row(0);
        assert_eq!((row.event, row.unit.as_deref(), row.disturbs), ("restarted", Some("web.service"), true));
    }

    #[test]
    fn a_change_that_no_step_showed_is_found_at_the_end() {
        let mut timeline = Timeline::new([(unit(), running("a", 7))]);
        assert!(timeline.update_last(1, &unit(), &running("a", 7)).is_none() && !timeline.is_disturbed());
        assert!(timeline.update_last(2, &unit(), &running("b", 7)).is_some() && timeline.is_disturbed());
        // And a change that no single step showed.
        let mut timeline = Timeline::new([(unit(), running("a", 7))]);
        let no_pid = UnitState { active: "reloading".into(), main_pid: 0, ..running("a", 7) };
        assert!(timeline.update(1, &unit(), no_pid).is_none());
        assert!(timeline.update_last(2, &unit(), &running("a", 9)).is_some() && timeline.is_disturbed());
    }

    #[test]
    fn an_unknown_state_counts_as_disturbed() {
        let mut timeline = Timeline::new([(unit(), running("a", 7))]);
        timeline.set_unknown(Error::failed("the bus is away"));
        assert!(timeline.is_disturbed() && !timeline.moments().iter().any(|moment| moment.what.disturbs()));
    }

    #[test]
    fn of_many_changes_the_first_are_kept() {
        let mut timeline = Timeline::new([(unit(), running("0", 1))]);
        for run in 1..2000u32 {
            timeline.update(u64::from(run), &unit(), running(&run.to_string(), run));
        }
        assert_eq!(timeline.moments().len(), MOST);
        assert_eq!(timeline.moments()[0].at_us, 1);
    }
}
