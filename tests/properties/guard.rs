//! Guarded units: random states, and snapshots that somebody else wrote.

use forge::model::guard::cause::{Clues, cause};
use forge::model::guard::snapshot::{Snapshot, SnapshotUnit, VERSION};
use forge::model::guard::timeline::{Changed, Timeline};
use forge::model::guard::unit_state::{Guarded, ManagerKind, StateChange, UnitState};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::{has_control, properties, text};

fn manager() -> impl Strategy<Value = ManagerKind> {
    select(vec![ManagerKind::User, ManagerKind::System])
}

fn unit() -> impl Strategy<Value = Guarded> {
    (manager(), "[a-z0-9:_.\\\\-]{0,9}[a-z]")
        .prop_filter_map("no unit", |(manager, name)| Guarded::parse(manager, &name).ok())
}

/// A random state of a unit, in the words of systemd.
fn unit_state() -> impl Strategy<Value = UnitState> {
    let active = select(vec![
        "active",
        "reloading",
        "refreshing",
        "activating",
        "deactivating",
        "inactive",
        "failed",
        "maintenance",
    ]);
    let sub = select(vec![
        "running",
        "exited",
        "dead",
        "auto-restart",
        "start",
        "stop",
        "stop-post",
        "stop-sigterm",
        "failed",
    ]);
    let result = select(vec!["success", "exit-code", "signal", "oom-kill", "watchdog", "timeout"]);
    let numbers = (0..3u32, 0..4u32, [0..4u64, 0..4u64], 0..4i32, select(vec![0, 3, 9, 15]));
    (active, sub, result, "[ab]?", numbers, any::<bool>()).prop_map(
        |(
            active,
            sub,
            result,
            invocation,
            (restarts, main_pid, [start, enter], main_code, main_status),
            frozen,
        )| UnitState {
            load: "loaded".into(),
            active: active.into(),
            sub: sub.into(),
            invocation,
            restarts,
            main_pid,
            main_start_us: start,
            active_enter_us: enter,
            changed_us: start,
            result: result.into(),
            main_code,
            main_status,
            control_group: String::new(),
            frozen,
        },
    )
}

pub(crate) fn snapshot() -> impl Strategy<Value = Snapshot> {
    let units = vec((unit(), unit_state()).prop_map(|(unit, state)| SnapshotUnit { unit, state }), 0..3);
    (text(), text(), any::<u64>(), units).prop_map(|(machine, boot, at_us, units)| Snapshot {
        version: VERSION,
        machine,
        boot,
        at_us,
        units,
    })
}

/// The state of a running unit.
fn running() -> impl Strategy<Value = UnitState> {
    unit_state().prop_map(|state| UnitState {
        active: "active".into(),
        sub: "running".into(),
        frozen: false,
        ..state
    })
}

properties! {
    #[test]
    fn an_unchanged_state_is_not_a_change(state in unit_state(), times in 1..5usize, unit in unit()) {
        let mut timeline = Timeline::new([(unit.clone(), state.clone())]);
        for at in 0..times {
            prop_assert_eq!(timeline.update(at as u64, &unit, state.clone()), None);
        }
        prop_assert_eq!(timeline.update_last(9, &unit, &state), None);
        prop_assert!(!timeline.is_disturbed() && timeline.moments().is_empty());
    }

    #[test]
    fn another_run_of_a_unit_is_always_a_disturbance(
        before in running(), after in unit_state(), between in vec(unit_state(), 0..6),
    ) {
        let after = UnitState { invocation: "another".into(), ..after };
        prop_assert!(before.change(&after).is_some_and(StateChange::disturbs), "{:?}", before.change(&after));
        let unit = Guarded::parse(ManagerKind::User, "web").unwrap();
        let mut timeline = Timeline::new([(unit.clone(), before)]);
        for (at, state) in (1..).zip(between) {
            timeline.update(at, &unit, state);
        }
        timeline.update_last(99, &unit, &after);
        prop_assert!(timeline.is_disturbed());
    }

    #[test]
    fn the_end_of_a_running_unit_is_always_a_disturbance(before in running(), after in unit_state()) {
        let change = before.change(&after);
        if matches!(after.active.as_str(), "inactive" | "failed" | "deactivating") || after.frozen {
            prop_assert!(change.is_some_and(StateChange::disturbs), "{:?}", change);
        }
    }

    #[test]
    fn each_disturbance_is_recorded(states in vec(unit_state(), 1..40), unit in unit()) {
        let mut timeline = Timeline::new([(unit.clone(), states[0].clone())]);
        let (mut disturbed, mut changes) = (false, 0);
        for (at, state) in (0..).zip(&states) {
            let before = timeline.units()[0].last.clone();
            let changed = timeline.update(at, &unit, state.clone());
            prop_assert_eq!(changed.as_ref().map(|changed| changed.change), before.change(state));
            if let Some(changed) = changed {
                changes += 1;
                disturbed |= changed.change.disturbs();
                prop_assert_eq!((&changed.before, &changed.after), (&before, state));
                check_texts(&changed)?;
            }
            prop_assert_eq!(timeline.is_disturbed(), disturbed);
        }
        prop_assert_eq!(timeline.moments().len(), changes);
        prop_assert!(timeline.moments().is_sorted_by_key(|moment| moment.at_us));
        let other = Guarded { unit: format!("x{}", unit.unit), ..unit };
        prop_assert_eq!(timeline.update(0, &other, states[0].clone()), None, "the unit is not guarded");
    }

    #[test]
    fn any_name_is_a_valid_unit_name_or_refused(manager in manager(), name in text()) {
        match Guarded::parse(manager, &name) {
            Ok(guarded) => {
                prop_assert!(guarded.unit.len() <= 255 && !guarded.unit.contains(['/', '*', '?', '[', ' ']));
                let typed = format!("{name}.service");
                prop_assert!(guarded.unit == name || guarded.unit == typed);
                prop_assert_eq!(Guarded::parse(manager, &guarded.unit).unwrap(), guarded);
            }
            Err(error) => prop_assert!(error.hint.is_some() && !has_control(&error.message)),
        }
    }

    #[test]
    fn a_snapshot_has_valid_unit_names_only(snapshot in snapshot(), name in text(), cut: Index) {
        let json = serde_json::to_string(&snapshot).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Snapshot>(&json).unwrap(), &snapshot);
        prop_assert!(serde_json::from_slice::<Snapshot>(&json.as_bytes()[..cut.index(json.len())]).is_err());
        let Some(first) = snapshot.units.first() else { return Ok(()) };
        // Somebody changes the name in the file.
        let quoted = |name: &str| format!("\"unit\":{}", serde_json::to_string(name).unwrap());
        let changed = json.replace(&quoted(&first.unit.unit), &quoted(&name));
        if let Ok(read) = serde_json::from_str::<Snapshot>(&changed) {
            for unit in read.units {
                let named = Guarded::parse(unit.unit.manager, &unit.unit.unit);
                prop_assert_eq!(named, Ok(unit.unit));
            }
        }
    }

    #[test]
    fn a_snapshot_is_of_one_boot_of_one_machine(snapshot in snapshot(), machine in text(), boot in text(), version: u32) {
        let read = Snapshot { version, ..snapshot };
        match read.is_of(&machine, &boot) {
            Ok(same) => prop_assert!(version == VERSION && read.machine == machine && same == (read.boot == boot)),
            Err(error) => {
                prop_assert!(version != VERSION || read.machine != machine);
                prop_assert!(error.hint.is_some());
            }
        }
    }
}

/// The texts for a change are printable, and a cause has evidence.
fn check_texts(changed: &Changed) -> Result<(), TestCaseError> {
    prop_assert!(!changed.words().is_empty() && !has_control(&changed.words()));
    for oom_kills in [0, 2] {
        let cause = cause(changed, &Clues { oom_kills, ..Clues::default() });
        prop_assert!(
            cause.likely.starts_with("not known") || cause.because.iter().any(|why| !why.is_empty())
        );
    }
    Ok(())
}
