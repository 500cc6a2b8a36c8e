//! The problems of a machine, and how to solve each.

use std::path::PathBuf;

use super::{HealthFacts, LITTLE_DISK_SPACE, Problem};
use crate::model::output::legible;
use crate::model::session::State;
use crate::model::session::name::SessionId;
use crate::model::sweep::dead_sockets;
use crate::model::{unit, usage};

/// The timer starts a sweep every 10 minutes; without a sweep for an hour, it does not run.
const LONG_AGO_US: u64 = 3_600_000_000;

/// All problems, the most urgent first.
pub(super) fn problems(facts: &HealthFacts) -> Vec<Problem> {
    let mut problems: Vec<Problem> = facts.configuration.iter().cloned().collect();
    problems.extend(without_socket(facts));
    problems.extend(bad_states(facts));
    problems.extend(lost(facts));
    problems.extend(unreadable_specs(facts));
    problems.extend(facts.unsupervised.iter().map(unsupervised));
    problems.extend(facts.orphans.iter().cloned());
    if !facts.dead.is_empty() {
        problems.push(Problem::new(dead_sockets(facts.dead.len()), "forge sweep"));
    }
    problems.extend(wedged_servers(facts));
    problems.extend(facts.units_failed.iter().map(|unit| {
        Problem::new(
            format!("{unit} failed"),
            format!("systemctl --user status {unit}; then systemctl --user reset-failed {unit}"),
        )
    }));
    problems.extend(idle_sweep_timer(facts));
    problems.extend(little_disk_space(facts));
    if facts.linger == Some(false) {
        problems.push(Problem::new(
            "lingering is off: your sessions end with your last login, and none starts at boot",
            format!("loginctl enable-linger {}", facts.user),
        ));
    }
    problems
}

fn names(ids: &[SessionId]) -> String {
    ids.iter().map(SessionId::as_str).collect::<Vec<_>>().join(", ")
}

fn is_or_are(ids: &[SessionId]) -> &'static str {
    if ids.len() == 1 { "is" } else { "are" }
}

fn without_socket(facts: &HealthFacts) -> Option<Problem> {
    let missing = &facts.missing;
    (!missing.is_empty()).then(|| {
        Problem::new(
            format!("{} {} alive without a socket", names(missing), is_or_are(missing)),
            "forge sweep",
        )
    })
}

fn bad_states(facts: &HealthFacts) -> impl Iterator<Item = Problem> {
    [
        (State::Dead, "dead: the program or the server ended", "forge restart"),
        (State::Wedged, "wedged: the server does not answer", "forge status"),
        (State::Failed, "failed", "forge logs"),
    ]
    .into_iter()
    .filter_map(|(state, what, hint)| {
        let ids: Vec<SessionId> =
            facts.sessions.iter().filter(|(_, other)| *other == state).map(|(id, _)| id.clone()).collect();
        let first = ids.first()?;
        Some(Problem::new(format!("{} {} {what}", names(&ids), is_or_are(&ids)), format!("{hint} {first}")))
    })
}

fn lost(facts: &HealthFacts) -> Option<Problem> {
    let (first, lost) = (facts.lost.first()?, names(&facts.lost));
    let is_one = facts.lost.len() == 1;
    Some(if facts.last_restore.is_some() {
        let them = if is_one { "it" } else { "them" };
        Problem::new(
            format!("{lost} {} not running, and nobody stopped {them}", is_or_are(&facts.lost)),
            format!("forge restart {first} starts it again, forge stop {first} forgets it"),
        )
    } else {
        let have = if is_one { "has" } else { "have" };
        Problem::new(format!("{lost} ran before and {have} not been restored"), "forge restore")
    })
}

fn unreadable_specs(facts: &HealthFacts) -> impl Iterator<Item = Problem> {
    facts.last_restore.iter().flat_map(|restore| &restore.failed).filter_map(|failed| {
        let file = failed.set_aside.as_ref()?;
        Some(Problem::new(
            format!("{} was not restored: forge could not read its file", failed.session),
            format!("look into {0}, start the session again, then: rm '{0}'", file.display()),
        ))
    })
}

fn unsupervised(id: &SessionId) -> Problem {
    Problem::new(
        format!("{id} runs without its supervisor"),
        format!("systemctl --user start {} supervises it again", unit::service(id)),
    )
}

fn wedged_servers(facts: &HealthFacts) -> Option<Problem> {
    // The sessions' own servers are among the bad states already.
    let is_of_a_session = |socket: &PathBuf| {
        let name = socket.file_name().unwrap_or_default().to_string_lossy();
        facts.sessions.iter().any(|(id, _)| unit::socket(id) == name)
    };
    let wedged: Vec<&PathBuf> = facts.wedged.iter().filter(|socket| !is_of_a_session(socket)).collect();
    let first = wedged.first()?;
    Some(Problem::new(
        format!("{} tmux servers do not answer, the first on {}", wedged.len(), legible(first)),
        "check whether they are stopped (ps, state T); nothing of forge touches them",
    ))
}

fn idle_sweep_timer(facts: &HealthFacts) -> Option<Problem> {
    let since = facts.sweep_timer_since_us?;
    let last = facts.last_sweep.as_ref().map_or(since, |sweep| sweep.at_us.max(since));
    (facts.now_us.saturating_sub(last) > LONG_AGO_US).then(|| {
        Problem::new(
            "the sweep's timer is on, but there was no sweep for over an hour",
            "systemctl --user status forge-tmux-socket-sweep.timer forge-tmux-socket-sweep.service",
        )
    })
}

fn little_disk_space(facts: &HealthFacts) -> Option<Problem> {
    let free = facts.state_free_bytes.filter(|free| *free < LITTLE_DISK_SPACE)?;
    Some(Problem::new(
        format!("only {} left for forge's files", usage::size(free)),
        "free disk space in your home directory: forge cannot start a session without writing its file",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::health::Probe;

    fn id(name: &str) -> SessionId {
        SessionId::from_name(name).unwrap()
    }

    #[test]
    fn a_machine_without_problems_is_healthy() {
        let facts = HealthFacts {
            sessions: vec![(id("a"), State::Running), (id("b"), State::Frozen)],
            live: 2,
            linger: Some(true),
            state_free_bytes: Some(1 << 30),
            ..HealthFacts::default()
        };
        let probe = Probe::of(&facts);
        assert!(probe.healthy, "{:?}", probe.problems);
        assert_eq!((probe.sessions["running"], probe.sessions["dead"]), (1, 0));
        let json = serde_json::to_value(&probe).unwrap();
        for key in ["last_sweep", "last_restore", "problems", "units_failed"] {
            assert!(json.get(key).is_some(), "{key} is always there");
        }
    }

    #[test]
    fn each_problem_has_its_hint() {
        let long_ago = 10 * LONG_AGO_US;
        let base = HealthFacts { now_us: long_ago, ..HealthFacts::default() };
        for (facts, what, hint) in [
            (HealthFacts { dead: vec!["/tmp/x".into()], ..base.clone() }, "1 dead socket", "forge sweep"),
            (HealthFacts { missing: vec![id("a")], ..base.clone() }, "a is alive", "forge sweep"),
            (
                HealthFacts { sessions: vec![(id("a"), State::Dead)], ..base.clone() },
                "a is dead",
                "forge restart a",
            ),
            (
                HealthFacts { sessions: vec![(id("a"), State::Wedged)], ..base.clone() },
                "wedged",
                "forge status a",
            ),
            (
                HealthFacts { lost: vec![id("a"), id("b")], ..base.clone() },
                "a, b ran before",
                "forge restore",
            ),
            (
                HealthFacts { unsupervised: vec![id("a")], ..base.clone() },
                "without its supervisor",
                "start forge-spawn@a",
            ),
            (HealthFacts { wedged: vec!["/tmp/x".into()], ..base.clone() }, "/tmp/x", "nothing of forge"),
            (HealthFacts { units_failed: vec!["u".into()], ..base.clone() }, "u failed", "status u"),
            (HealthFacts { sweep_timer_since_us: Some(1), ..base.clone() }, "no sweep", ".timer"),
            (HealthFacts { state_free_bytes: Some(5), ..base.clone() }, "only 5B", "free disk space"),
            (
                HealthFacts { linger: Some(false), user: "ada".into(), ..base.clone() },
                "lingering",
                "enable-linger ada",
            ),
        ] {
            let probe = Probe::of(&facts);
            assert_eq!(probe.problems.len(), 1, "{:?}", probe.problems);
            assert!(!probe.healthy);
            let problem = &probe.problems[0];
            assert!(problem.what.contains(what) && problem.hint.contains(hint), "{problem:?}");
        }
    }
}
