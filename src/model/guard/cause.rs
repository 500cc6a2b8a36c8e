//! The likely cause of a disturbance, with its evidence.

use serde::Serialize;

use super::pressure::Pressure;
use super::timeline::Changed;
use super::unit_state::StateChange;

/// The facts around a disturbance.
#[derive(Debug, Clone, Default)]
pub struct Clues {
    /// The processes of the guarded command (and the command itself) whose arguments name the unit or its
    /// main process, and a tool that acts on units or processes.
    pub acting: Vec<String>,
    /// The pressure on the unit at that moment, or on the machine if the unit's own is unknown.
    pub pressure: Pressure,
    /// The number of out-of-memory kills on this machine since the command started.
    pub oom_kills: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// The likely cause; `not known` without evidence.
    pub likely: String,
    /// The evidence.
    pub because: Vec<String>,
}

/// Pressure from this percentage on may be the reason for a timeout.
const HIGH: u64 = 30;

pub fn cause(first: &Changed, clues: &Clues) -> Cause {
    let unit = &first.unit;
    let after = &first.after;
    let because = |likely: &str, because: &[&str]| Cause {
        likely: likely.to_owned(),
        because: because.iter().map(|reason| (*reason).to_owned()).collect(),
    };
    let result = format!("systemd's result for {unit} is {}", after.result);
    let killed = format!("the kernel killed {} processes because memory ran out", clues.oom_kills);
    let pressure = format!(
        "at that moment the pressure was {} % for CPU, {} % for memory, {} % for disks",
        clues.pressure.cpu, clues.pressure.memory, clues.pressure.io
    );
    if after.result == "oom-kill" {
        return because("it was out of memory", &[&result, &pressure]);
    }
    if !clues.acting.is_empty() {
        let acting = format!(
            "its arguments name {unit} or its process, and a tool such as systemctl or kill: {}",
            clues.acting.join(", ")
        );
        return because("the guarded command itself", &[&acting]);
    }
    if matches!(after.result.as_str(), "watchdog" | "timeout") && clues.pressure.highest() >= HIGH {
        return because("it was too slow under pressure", &[&result, &pressure]);
    }
    let ended = after.main_end().map(|end| format!("its main process ended with {end}"));
    match (first.change, after.main_code) {
        (StateChange::Failed | StateChange::Restarted, 2)
            if after.main_status == 9 && clues.oom_kills > 0 =>
        {
            because("it was out of memory", &[&ended.unwrap_or_default(), &killed])
        }
        (StateChange::Failed, 1 | 3) => {
            because("it failed by itself", &[&ended.unwrap_or_default(), &result])
        }
        (StateChange::Failed, 2) => {
            because("not known: somebody or something killed it", &[&ended.unwrap_or_default()])
        }
        (StateChange::Frozen, _) => {
            because("not known: somebody froze it", &["its processes are alive and frozen"])
        }
        (StateChange::Stopping, _) => because(
            "not known: somebody asked systemd to stop or restart it",
            &["it was being stopped, and had not failed"],
        ),
        _ => because("not known", &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::guard::unit_state::{Guarded, ManagerKind, UnitState};

    fn changed(change: StateChange, result: &str, code: i32, status: i32) -> Changed {
        let unit = Guarded::parse(ManagerKind::User, "web").unwrap();
        let after =
            UnitState { result: result.into(), main_code: code, main_status: status, ..UnitState::default() };
        Changed { unit, change, before: UnitState::default(), after }
    }

    #[test]
    fn no_cause_is_named_without_evidence() {
        let clues = Clues::default();
        let likely = |changed: &Changed, clues: &Clues| cause(changed, clues).likely;
        let stopped = changed(StateChange::Stopping, "success", 0, 0);
        assert!(likely(&stopped, &clues).starts_with("not known"));
        let killed = changed(StateChange::Failed, "signal", 2, 9);
        assert!(likely(&killed, &clues).starts_with("not known"));
        assert_eq!(likely(&changed(StateChange::Restarted, "success", 0, 0), &clues), "not known");
        let watchdog = changed(StateChange::Failed, "watchdog", 2, 6);
        assert!(likely(&watchdog, &clues).starts_with("not known"));
        let pressed = Clues { pressure: Pressure { cpu: 80, memory: 0, io: 0 }, ..Clues::default() };
        assert_eq!(likely(&watchdog, &pressed), "it was too slow under pressure");
        assert!(likely(&killed, &pressed).starts_with("not known"));
        assert_eq!(likely(&killed, &Clues { oom_kills: 1, ..clues }), "it was out of memory");
        assert_eq!(likely(&changed(StateChange::Failed, "exit-code", 1, 3), &pressed), "it failed by itself");
        let acting = Clues { acting: vec!["systemctl".into()], ..Clues::default() };
        assert_eq!(likely(&stopped, &acting), "the guarded command itself");
        assert!(cause(&stopped, &acting).because[0].contains("systemctl"));
    }
}
