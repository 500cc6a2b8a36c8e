//! Many sessions: a hundred started at once, and listing those that exist.

use super::rounds::{Signs, clear, finish, grow_to, in_turns, millis, start, timed};
use super::spawn::{bare_argv, end_servers, forge_argv, systemd_run_argv};
use super::sweep::FLOOR;
use super::{Goal, Row, Unit, Way};
use crate::support::systemctl;
use std::process::Child;
use std::time::Instant;

/// The way in which a user would list sessions without forge.
const LOOP: &str = r#"for s in /tmp/tmux-1000/spawn-*; do timeout 2 tmux -S "$s" list-sessions; done"#;

pub(super) fn rows(rounds: usize) -> Vec<Row> {
    let mut rows = vec![at_once(10, rounds), at_once(100, rounds)];
    for sessions in [20, 100, 300] {
        grow_to(sessions);
        rows.extend(looks(sessions, rounds));
    }
    clear();
    rows
}

fn labels(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("bench-{number}")).collect()
}

/// From the first command until the last program runs and the last command has returned.
fn crowd(commands: impl Iterator<Item = Vec<String>>, signs: &Signs) -> f64 {
    let begin = Instant::now();
    let children: Vec<Child> = commands.map(|argv| start(&argv)).collect();
    signs.wait(children.len());
    for child in children {
        finish(child, "one of many");
    }
    millis(begin)
}

fn at_once(count: usize, rounds: usize) -> Row {
    let (signs, labels) = (Signs::new(), labels(count));
    let [forge, peer, floor] = in_turns(
        rounds,
        &mut [
            &mut || {
                let took = crowd(labels.iter().map(|label| forge_argv(label)), &signs);
                clear();
                took
            },
            &mut || {
                let took = crowd(labels.iter().map(|label| systemd_run_argv(label)), &signs);
                end_servers(&labels);
                systemctl(&["stop", "bench-*.slice"]);
                took
            },
            &mut || {
                let took = crowd(labels.iter().map(|label| bare_argv(label)), &signs);
                end_servers(&labels);
                took
            },
        ],
    );
    Row {
        what: "spawns at once, until all are up".to_owned(),
        size: format!("{count} sessions"),
        unit: Unit::Milliseconds,
        forge,
        peer: Some(Way::new("systemd-run --scope tmux", peer)),
        floor: Some(Way::new("tmux alone", floor)),
        goals: vec![],
    }
}

fn looks(sessions: usize, rounds: usize) -> Vec<Row> {
    let [list, probe, each, asked] = in_turns(
        rounds,
        &mut [
            &mut || timed(&["forge", "-q", "list"]),
            &mut || timed(&["forge", "-q", "probe"]),
            &mut || timed(&["sh", "-c", LOOP]),
            // With nothing to sweep, a sweep only asks all servers.
            &mut || timed(&[FLOOR, "/tmp/tmux-1000"]),
        ],
    );
    let row = |what: &str, forge: Vec<f64>| Row {
        what: what.to_owned(),
        size: format!("{sessions} sessions"),
        unit: Unit::Milliseconds,
        forge,
        peer: Some(Way::new("one tmux list-sessions per server", each.clone())),
        floor: Some(Way::new("a question to each server, in C", asked.clone())),
        goals: vec![Goal::AtMost(50.0)],
    };
    vec![row("list", list), row("probe", probe)]
}
