//! How everything is: the probe's rows, and what is wrong with what to do about it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use serde::Serialize;

use super::output::legible;
use super::session::State;
use super::sweep::{LastSweep, stale_sockets};
use super::time::as_rfc3339;
use super::usage;
use crate::model::session::name::SessionId;
use crate::model::session::restore::Restored;

/// Less room than this for forge's files is a problem: 16 MiB.
pub const LITTLE_ROOM: u64 = 16 << 20;

/// A janitor that comes every 10 minutes and was not seen for this long does not come: an hour.
const LONG_AGO_US: u64 = 3_600_000_000;

/// What was seen of a machine, for [`Probe::of`].
#[derive(Debug, Clone, Default)]
pub struct HealthFacts {
    /// Now, in microseconds since 1970.
    pub now_us: u64,
    /// Sockets without a server.
    pub dead: Vec<PathBuf>,
    /// How many sockets have a server that answers.
    pub live: usize,
    /// Sockets whose server does not answer.
    pub wedged: Vec<PathBuf>,
    /// Sessions whose server lives and whose socket is gone.
    pub missing: Vec<SessionId>,
    /// The sessions.
    pub sessions: Vec<(SessionId, State)>,
    /// Sessions that are to be running and of which nothing is there.
    pub lost: Vec<SessionId>,
    /// Sessions that run without the supervisor that they are to have.
    pub unsupervised: Vec<SessionId>,
    /// What belongs to no session, and how to end it.
    pub orphans: Vec<Problem>,
    /// Units of forge that failed.
    pub units_failed: Vec<String>,
    /// The last sweep of this boot.
    pub last_sweep: Option<LastSweep>,
    /// Since when the janitor's timer is waiting, in microseconds since 1970, where it is.
    pub janitor_since_us: Option<u64>,
    /// The restore of this life of the manager.
    pub last_restore: Option<Restored>,
    /// Out-of-memory kills among all sessions, as far as the kernel counts them.
    pub oom_kills: u64,
    /// Room for forge's files.
    pub state_free_bytes: Option<u64>,
    /// Whether the user's manager lives on without a login; `None` where nobody tells.
    pub linger: Option<bool>,
    /// The user's name.
    pub user: String,
    /// Why the configuration cannot be used.
    pub configuration: Option<Problem>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

impl Problem {
    /// A problem and its remedy.
    pub fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }
}

/// The rows. The shape of their JSON never changes.
#[derive(Debug, Clone, Serialize)]
pub struct Probe {
    /// Whether nothing is wrong.
    pub healthy: bool,
    /// Sockets without a server.
    pub sockets_dead: usize,
    /// Sockets with one.
    pub sockets_live: usize,
    /// Sockets whose server does not answer.
    pub sockets_wedged: usize,
    /// Servers without a socket.
    pub sockets_missing: usize,
    /// How many sessions are in each state; every state is there.
    pub sessions: BTreeMap<&'static str, usize>,
    /// What belongs to no session.
    pub orphans: usize,
    /// Units of forge that failed.
    pub units_failed: Vec<String>,
    /// The last sweep of this boot.
    pub last_sweep: Option<Swept>,
    /// The restore after this boot.
    pub last_restore: Option<RestoredCount>,
    /// Out-of-memory kills among all sessions since the boot.
    pub oom_kills: u64,
    /// Room for forge's files.
    pub state_free_bytes: Option<u64>,
    /// Whether lingering is on.
    pub linger: Option<bool>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// The last sweep.
#[derive(Debug, Clone, Serialize)]
pub struct Swept {
    /// When, in microseconds since 1970.
    #[serde(rename = "at", serialize_with = "as_rfc3339")]
    pub at_us: u64,
    /// How many dead sockets it removed.
    pub removed: usize,
}

/// The last restore.
#[derive(Debug, Clone, Serialize)]
pub struct RestoredCount {
    /// When, in microseconds since 1970.
    #[serde(rename = "at", serialize_with = "as_rfc3339")]
    pub at_us: u64,
    /// How many sessions run again.
    pub restored: usize,
    /// How many do not.
    pub failed: usize,
}

const STATES: [State; 7] = [
    State::Starting,
    State::Running,
    State::Dead,
    State::Wedged,
    State::Stopping,
    State::Failed,
    State::Frozen,
];

impl Probe {
    /// Judges what was seen.
    pub fn of(facts: &HealthFacts) -> Self {
        let problems = problems(facts);
        let count = |state: State| facts.sessions.iter().filter(|(_, other)| *other == state).count();
        Self {
            healthy: problems.is_empty(),
            sockets_dead: facts.dead.len(),
            sockets_live: facts.live,
            sockets_wedged: facts.wedged.len(),
            sockets_missing: facts.missing.len(),
            sessions: STATES.into_iter().map(|state| (state.word(), count(state))).collect(),
            orphans: facts.orphans.len(),
            units_failed: facts.units_failed.clone(),
            last_sweep: facts
                .last_sweep
                .as_ref()
                .map(|sweep| Swept { at_us: sweep.at_us, removed: sweep.removed }),
            last_restore: facts.last_restore.as_ref().map(|restore| RestoredCount {
                at_us: restore.at_us,
                restored: restore.restored.len(),
                failed: restore.failed.len(),
            }),
            oom_kills: facts.oom_kills,
            state_free_bytes: facts.state_free_bytes,
            linger: facts.linger,
            problems,
        }
    }

    /// The rows for people: a name, and what there is.
    pub fn rows(&self, ago: impl Fn(u64) -> String) -> Vec<(&'static str, String)> {
        let unknown = || "not known".to_owned();
        let sessions: Vec<String> = STATES
            .iter()
            .filter_map(|state| {
                let count = *self.sessions.get(state.word())?;
                (count > 0).then(|| format!("{count} {}", state.word()))
            })
            .collect();
        vec![
            (
                "sockets",
                format!(
                    "{} dead, {} live, {} wedged, {} missing",
                    self.sockets_dead, self.sockets_live, self.sockets_wedged, self.sockets_missing
                ),
            ),
            ("sessions", if sessions.is_empty() { "none".to_owned() } else { sessions.join(", ") }),
            ("orphans", self.orphans.to_string()),
            (
                "failed units",
                if self.units_failed.is_empty() { "none".to_owned() } else { self.units_failed.join(", ") },
            ),
            (
                "last sweep",
                self.last_sweep.as_ref().map_or_else(
                    || "none in this boot".to_owned(),
                    |sweep| format!("{}, {} removed", ago(sweep.at_us), stale_sockets(sweep.removed)),
                ),
            ),
            (
                "last restore",
                self.last_restore.as_ref().map_or_else(
                    || "none in this boot".to_owned(),
                    |restore| {
                        format!(
                            "{}, {} restored, {} failed",
                            ago(restore.at_us),
                            restore.restored,
                            restore.failed
                        )
                    },
                ),
            ),
            ("out-of-memory kills", self.oom_kills.to_string()),
            (
                "room for state",
                self.state_free_bytes.map_or_else(unknown, |bytes| format!("{} free", usage::size(bytes))),
            ),
            ("lingering", self.linger.map_or_else(unknown, |on| if on { "on" } else { "off" }.to_owned())),
        ]
    }

    /// The rows as Prometheus reads them (text format 0.0.4).
    pub fn metrics(&self) -> String {
        let mut text = String::new();
        let mut metric = |name: &str, kind: &str, help: &str, samples: &[(String, Option<u64>)]| {
            let known: Vec<_> =
                samples.iter().filter_map(|(labels, value)| Some((labels, (*value)?))).collect();
            if known.is_empty() {
                return;
            }
            let _ = writeln!(text, "# HELP forge_{name} {help}\n# TYPE forge_{name} {kind}");
            for (labels, value) in known {
                let _ = writeln!(text, "forge_{name}{labels} {value}");
            }
        };
        let one = |value: u64| vec![(String::new(), Some(value))];
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let label = |name: &str, value: &str| format!("{{{name}=\"{value}\"}}");
        metric("healthy", "gauge", "Whether nothing is wrong.", &one(u64::from(self.healthy)));
        metric("problems", "gauge", "How many things are wrong.", &one(count(self.problems.len())));
        let sockets = [
            ("dead", self.sockets_dead),
            ("live", self.sockets_live),
            ("wedged", self.sockets_wedged),
            ("missing", self.sockets_missing),
        ]
        .map(|(state, sockets)| (label("state", state), Some(count(sockets))));
        metric("sockets", "gauge", "tmux sockets by state.", &sockets);
        let sessions: Vec<_> = self
            .sessions
            .iter()
            .map(|(state, sessions)| (label("state", state), Some(count(*sessions))))
            .collect();
        metric("sessions", "gauge", "Sessions by state.", &sessions);
        metric("orphans", "gauge", "What belongs to no session.", &one(count(self.orphans)));
        metric("units_failed", "gauge", "Units of forge that failed.", &one(count(self.units_failed.len())));
        let sweep = self.last_sweep.as_ref();
        metric(
            "last_sweep_timestamp_seconds",
            "gauge",
            "When the last sweep ended.",
            &[(String::new(), sweep.map(|sweep| sweep.at_us / 1_000_000))],
        );
        metric(
            "last_sweep_removed",
            "gauge",
            "Dead sockets that the last sweep removed.",
            &[(String::new(), sweep.map(|sweep| count(sweep.removed)))],
        );
        let restore = self.last_restore.as_ref();
        metric(
            "last_restore_timestamp_seconds",
            "gauge",
            "When the restore after the boot ended.",
            &[(String::new(), restore.map(|restore| restore.at_us / 1_000_000))],
        );
        metric(
            "last_restore_sessions",
            "gauge",
            "Sessions in the restore after the boot, by result.",
            &[
                (label("result", "restored"), restore.map(|restore| count(restore.restored))),
                (label("result", "failed"), restore.map(|restore| count(restore.failed))),
            ],
        );
        metric("oom_kills_total", "counter", "Out-of-memory kills among the sessions.", &one(self.oom_kills));
        metric(
            "state_free_bytes",
            "gauge",
            "Room for forge's files.",
            &[(String::new(), self.state_free_bytes)],
        );
        metric(
            "linger",
            "gauge",
            "Whether the user's manager lives on without a login.",
            &[(String::new(), self.linger.map(u64::from))],
        );
        text
    }
}

/// What is wrong, the most urgent first.
#[allow(clippy::too_many_lines, reason = "one place for each thing that can be wrong")]
fn problems(facts: &HealthFacts) -> Vec<Problem> {
    let mut problems: Vec<Problem> = facts.configuration.iter().cloned().collect();
    let names = |ids: &[SessionId]| ids.iter().map(SessionId::as_str).collect::<Vec<_>>().join(", ");
    let verb = |count: usize| if count == 1 { "is" } else { "are" };
    if !facts.missing.is_empty() {
        problems.push(Problem::new(
            format!("{} {} alive without a socket", names(&facts.missing), verb(facts.missing.len())),
            "forge sweep",
        ));
    }
    let stated = |state: State| -> Vec<SessionId> {
        facts.sessions.iter().filter(|(_, other)| *other == state).map(|(id, _)| id.clone()).collect()
    };
    for (state, what, hint) in [
        (State::Dead, "dead: the program or the server ended", "forge restart"),
        (State::Wedged, "wedged: the server does not answer", "forge status"),
        (State::Failed, "failed", "forge logs"),
    ] {
        let ids = stated(state);
        if let Some(first) = ids.first() {
            problems.push(Problem::new(
                format!("{} {} {what}", names(&ids), verb(ids.len())),
                format!("{hint} {first}"),
            ));
        }
    }
    if let Some(first) = facts.lost.first() {
        let lost = names(&facts.lost);
        problems.push(if facts.last_restore.is_some() {
            Problem::new(
                format!(
                    "{lost} {} not running, and nobody stopped {}",
                    verb(facts.lost.len()),
                    if facts.lost.len() == 1 { "it" } else { "them" }
                ),
                format!("forge restart {first} starts it again, forge stop {first} forgets it"),
            )
        } else {
            Problem::new(
                format!(
                    "{lost} ran before and {} not been restored",
                    if facts.lost.len() == 1 { "has" } else { "have" }
                ),
                "forge restore",
            )
        });
    }
    for failed in facts.last_restore.iter().flat_map(|restore| &restore.failed) {
        if let Some(file) = &failed.set_aside {
            problems.push(Problem::new(
                format!("{} was not restored: its file could not be read", failed.session),
                format!("look into {0}, start the session anew, then: rm '{0}'", file.display()),
            ));
        }
    }
    for id in &facts.unsupervised {
        let service = super::unit::service(id);
        problems.push(Problem::new(
            format!("{id} runs without its supervisor"),
            format!("systemctl --user start {service} has it looked after again"),
        ));
    }
    problems.extend(facts.orphans.iter().cloned());
    if !facts.dead.is_empty() {
        problems.push(Problem::new(stale_sockets(facts.dead.len()), "forge sweep"));
    }
    let known: Vec<&PathBuf> = facts
        .wedged
        .iter()
        .filter(|socket| {
            // Those of sessions are told above.
            let name = socket.file_name().unwrap_or_default().to_string_lossy();
            !facts.sessions.iter().any(|(id, _)| super::unit::socket(id) == name)
        })
        .collect();
    if let Some(first) = known.first() {
        problems.push(Problem::new(
            format!("{} tmux servers do not answer, the first on {}", known.len(), legible(first)),
            "look whether they are stopped (ps, state T); nothing of forge touches them",
        ));
    }
    for unit in &facts.units_failed {
        problems.push(Problem::new(
            format!("{unit} failed"),
            format!("systemctl --user status {unit}; then systemctl --user reset-failed {unit}"),
        ));
    }
    if let Some(since) = facts.janitor_since_us {
        let last = facts.last_sweep.as_ref().map_or(since, |sweep| sweep.at_us.max(since));
        if facts.now_us.saturating_sub(last) > LONG_AGO_US {
            problems.push(Problem::new(
                "the janitor's timer is on, and there was no sweep for over an hour",
                "systemctl --user status forge-tmux-socket-sweep.timer forge-tmux-socket-sweep.service",
            ));
        }
    }
    if let Some(free) = facts.state_free_bytes.filter(|free| *free < LITTLE_ROOM) {
        problems.push(Problem::new(
            format!("only {} left for forge's files", usage::size(free)),
            "make room on the disk of your home: a session cannot start without its file",
        ));
    }
    if facts.linger == Some(false) {
        problems.push(Problem::new(
            "lingering is off: your sessions end with your last login, and none starts at boot",
            format!("loginctl enable-linger {}", facts.user),
        ));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> SessionId {
        SessionId::from_name(name).unwrap()
    }

    #[test]
    fn nothing_wrong_is_healthy() {
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
    fn each_thing_that_is_wrong_says_what_to_do() {
        let long_ago = 10 * LONG_AGO_US;
        let base = HealthFacts { now_us: long_ago, ..HealthFacts::default() };
        for (facts, what, hint) in [
            (HealthFacts { dead: vec!["/tmp/x".into()], ..base.clone() }, "1 stale socket", "forge sweep"),
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
            (HealthFacts { janitor_since_us: Some(1), ..base.clone() }, "no sweep", ".timer"),
            (HealthFacts { state_free_bytes: Some(5), ..base.clone() }, "only 5B", "make room"),
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

    #[test]
    fn metrics_name_what_is_known_and_nothing_else() {
        let text =
            Probe::of(&HealthFacts { live: 3, linger: Some(true), ..HealthFacts::default() }).metrics();
        assert!(text.contains("\nforge_sockets{state=\"live\"} 3\n"), "{text}");
        assert!(text.contains("# TYPE forge_healthy gauge\nforge_healthy 1\n"), "{text}");
        assert!(!text.contains("last_sweep"), "{text}");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with("forge_") && value.parse::<u64>().is_ok(), "{line}");
        }
    }
}
