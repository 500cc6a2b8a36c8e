//! Happening was seen of the guarded units, in its order, and what of it were disturbances.

use serde::Serialize;

use super::unit_state::{Guarded, ManagerKind, StateChange, UnitState};
use crate::model::error::Error;

/// Something that happened while units were guarded.
#[derive(Debug, Clone, PartialEq)]
pub struct Moment {
    /// When it was seen, in microseconds since the boot.
    pub at_us: u64,
    /// Happening it was.
    pub what: Happening,
}

/// Happening can happen.
#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    /// The command began.
    Began {
        /// Its program's name.
        program: String,
    },
    /// A unit changed.
    Changed(Box<Changed>),
    /// A manager tells nothing: it, or its bus, is away.
    Away(ManagerKind),
    /// It is back, and all of its units were looked at.
    Back(ManagerKind),
    /// The command was frozen, at so many percent of pressure.
    Frozen(u64),
    /// The command runs again.
    Thawed,
    /// The command listened although that was denied.
    Listened {
        /// Where.
        address: String,
        /// Its process.
        process: String,
    },
    /// The command moved into another control group: limits and the rest do not hold for it any more.
    Left {
        /// Its control group.
        group: String,
    },
    /// The command ended.
    Ended {
        /// How, in words.
        result: String,
    },
    /// Happening it had left was ended.
    Cleared {
        /// How many processes.
        processes: u64,
    },
}

/// A unit that changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    /// The unit.
    pub unit: Guarded,
    /// How it changed.
    pub change: StateChange,
    /// How it was.
    pub before: UnitState,
    /// How it is.
    pub after: UnitState,
}

impl Changed {
    /// In words, without the unit's name.
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
            StateChange::Done => "did its work and ended".to_owned(),
            StateChange::Reloaded => "read its configuration again".to_owned(),
            StateChange::Stopping => "is being stopped".to_owned(),
            StateChange::Stopped => format!("stopped{process}"),
            StateChange::Failed => {
                let how = after.main_end().map(|end| format!(", {end}")).unwrap_or_default();
                let then = if after.active == "failed" { "" } else { ", and is started again" };
                format!("failed: {}{how}{then}", after.result)
            }
            StateChange::Restarted if after.restarts > before.restarts => {
                format!("failed and was started again by systemd{process}")
            }
            StateChange::Restarted => format!("was restarted{process}"),
            StateChange::MainProcess => format!("has another main process{process}"),
            StateChange::Frozen => "is frozen: it stands still".to_owned(),
            StateChange::Thawed => "runs again after it was frozen".to_owned(),
        }
    }
}

impl Happening {
    /// The word for bots.
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

    /// For people.
    pub fn text(&self) -> String {
        match self {
            Self::Began { program } => format!("{program} began"),
            Self::Changed(changed) => format!("{} {}", changed.unit, changed.words()),
            Self::Away(manager) => format!("the {} manager, or its bus, is away", manager.word()),
            Self::Back(manager) => format!("the {} manager is back", manager.word()),
            Self::Frozen(percent) => format!("the command was frozen at a pressure of {percent} %"),
            Self::Thawed => "the command runs again".to_owned(),
            Self::Listened { address, process } => format!("{process} listened on {address}"),
            Self::Left { group } => format!("the command moved to {group}, where nothing holds for it"),
            Self::Ended { result } => format!("the command ended: {result}"),
            Self::Cleared { processes } => format!("{processes} processes that it had left were ended"),
        }
    }

    /// Whether it is a disturbance.
    pub fn disturbs(&self) -> bool {
        matches!(self, Self::Changed(changed) if changed.change.disturbs())
    }
}

/// A moment for bots; the shape is the same for all.
#[derive(Debug, Clone, Serialize)]
pub struct TimelineRow {
    /// Milliseconds since the command began.
    pub ms: u64,
    /// The word.
    pub event: &'static str,
    /// The unit, where it is about one.
    pub unit: Option<String>,
    /// Whose unit.
    pub manager: Option<ManagerKind>,
    /// Whether it is a disturbance.
    pub disturbs: bool,
    /// The whole for people.
    pub text: String,
}

impl Moment {
    /// For bots and for tables; `began_us` is when the command began.
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

/// A guarded unit, as it was at first and is now.
#[derive(Debug, Clone)]
pub struct Known {
    /// The unit.
    pub unit: Guarded,
    /// When guarding began.
    pub first: UnitState,
    /// As last seen.
    pub last: UnitState,
    /// Whether it was disturbed.
    pub disturbed: bool,
    /// How many of its changes were noted.
    changes: usize,
}

/// All that was seen.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    units: Vec<Known>,
    moments: Vec<Moment>,
    untold: Option<Error>,
}

/// So many changes of one unit are kept: of a unit that fails again and again the first ones matter.
const MOST: usize = 200;

impl Ledger {
    /// A ledger of units as they are now.
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

    /// The units.
    pub fn units(&self) -> &[Known] {
        &self.units
    }

    /// Happening happened, in its order.
    pub fn moments(&self) -> &[Moment] {
        &self.moments
    }

    /// Notes something.
    pub fn note(&mut self, at_us: u64, what: Happening) {
        self.moments.push(Moment { at_us, what });
    }

    /// Notes how a unit looks; returns what of it changed, where that matters.
    pub fn see(&mut self, at_us: u64, unit: &Guarded, now: UnitState) -> Option<Changed> {
        let known = self.units.iter_mut().find(|known| known.unit == *unit)?;
        let change = known.last.change(&now);
        let before = std::mem::replace(&mut known.last, now.clone());
        let changed = Changed { unit: unit.clone(), change: change?, before, after: now };
        known.disturbed |= changed.change.disturbs();
        known.changes += 1;
        if known.changes <= MOST {
            self.note(at_us, Happening::Changed(Box::new(changed.clone())));
        }
        Some(changed)
    }

    /// Notes how a unit looks at the end, which is compared with how it was at first too; returns a
    /// disturbance that nothing showed before.
    pub fn see_last(&mut self, at_us: u64, unit: &Guarded, now: &UnitState) -> Option<Changed> {
        let changed = self.see(at_us, unit, now.clone());
        if changed.as_ref().is_some_and(|changed| changed.change.disturbs()) {
            return changed;
        }
        let known = self.units.iter_mut().find(|known| known.unit == *unit && !known.disturbed)?;
        let change = known.first.change(now).filter(|change| change.disturbs())?;
        known.disturbed = true;
        let changed = Changed { unit: unit.clone(), change, before: known.first.clone(), after: now.clone() };
        self.note(at_us, Happening::Changed(Box::new(changed.clone())));
        Some(changed)
    }

    /// Notes that it cannot be told how the units are: that is no reason to call them undisturbed.
    pub fn cannot_tell(&mut self, why: Error) {
        self.untold = Some(why);
    }

    /// Why it cannot be told how the units are, where it cannot.
    pub fn untold(&self) -> Option<&Error> {
        self.untold.as_ref()
    }

    /// Whether a unit was disturbed, or it cannot be told.
    pub fn is_disturbed(&self) -> bool {
        self.untold.is_some() || self.units.iter().any(|known| known.disturbed)
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
    fn a_restart_is_told_in_its_steps() {
        let mut ledger = Ledger::new([(unit(), running("a", 7))]);
        let stopping = UnitState { active: "deactivating".into(), ..running("a", 7) };
        assert_eq!(ledger.see(1, &unit(), stopping).unwrap().words(), "is being stopped");
        assert!(ledger.is_disturbed());
        let again = ledger.see(2, &unit(), running("b", 8)).unwrap();
        assert_eq!(again.words(), "was restarted: process 7, now 8");
        assert_eq!(ledger.see(3, &unit(), running("b", 8)), None);
        assert_eq!(ledger.moments().len(), 2);
        let row = ledger.moments()[0].row(0);
        assert_eq!((row.event, row.disturbs), ("stopping", true));
        let row = ledger.moments()[1].row(0);
        assert_eq!((row.event, row.unit.as_deref(), row.disturbs), ("restarted", Some("web.service"), true));
    }

    #[test]
    fn what_was_never_seen_is_found_at_the_end() {
        let mut ledger = Ledger::new([(unit(), running("a", 7))]);
        assert!(ledger.see_last(1, &unit(), &running("a", 7)).is_none() && !ledger.is_disturbed());
        assert!(ledger.see_last(2, &unit(), &running("b", 7)).is_some() && ledger.is_disturbed());
        // And a change that no single step showed.
        let mut ledger = Ledger::new([(unit(), running("a", 7))]);
        let no_pid = UnitState { active: "reloading".into(), main_pid: 0, ..running("a", 7) };
        assert!(ledger.see(1, &unit(), no_pid).is_none());
        assert!(ledger.see_last(2, &unit(), &running("a", 9)).is_some() && ledger.is_disturbed());
    }

    #[test]
    fn not_to_know_is_no_health() {
        let mut ledger = Ledger::new([(unit(), running("a", 7))]);
        ledger.cannot_tell(Error::failed("the bus is away"));
        assert!(ledger.is_disturbed() && !ledger.moments().iter().any(|moment| moment.what.disturbs()));
    }

    #[test]
    fn of_a_unit_without_end_the_beginning_is_kept() {
        let mut ledger = Ledger::new([(unit(), running("0", 1))]);
        for run in 1..2000u32 {
            ledger.see(u64::from(run), &unit(), running(&run.to_string(), run));
        }
        assert_eq!(ledger.moments().len(), MOST);
        assert_eq!(ledger.moments()[0].at_us, 1);
    }
}
