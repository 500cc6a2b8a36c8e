//! A sweep of dead sockets with live servers among them.

use super::rounds::{in_turns, timed};
use super::spawn::end_servers;
use super::{Goal, Row, Unit, Way};
use crate::support::{self, socket, tmux};
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixListener;

/// The same system calls in C.
pub(super) const FLOOR: &str = "/usr/lib/forge-tests/sweep";

/// The usual recommendation: a tmux client for every socket.
const RECIPE: &str = r#"for s in /tmp/tmux-1000/*; do
    [ -S "$s" ] && ! timeout 2 tmux -S "$s" list-sessions >/dev/null 2>&1 && rm -f "$s"
done; true"#;

const LIVE: usize = 20;

pub(super) fn rows(rounds: usize) -> Vec<Row> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create("/tmp/tmux-1000").expect("the directory");
    let live: Vec<String> = (0..LIVE).map(|number| format!("live-{number}")).collect();
    for label in &live {
        tmux(label, &["new-session", "-d", "sleep 100000"]).ok();
    }
    let rows = [10, 1_000, 10_000].map(|dead| row(dead, rounds));
    end_servers(&live);
    rows.into()
}

/// Dead sockets, as crashed servers leave them, and a journal that has stored all its records.
fn plant(dead: usize) {
    for number in 0..dead {
        drop(UnixListener::bind(socket(&format!("dead-{number}"))).expect("a socket"));
    }
    support::journal_catches_up();
}

/// One sweep, which must leave the live servers alone.
fn swept(dead: usize, argv: &[&str]) -> f64 {
    plant(dead);
    let took = timed(argv);
    let sockets = |entry: &fs::DirEntry| !entry.file_name().to_string_lossy().ends_with(".lock");
    let left = fs::read_dir("/tmp/tmux-1000").expect("the directory").flatten().filter(sockets).count();
    assert_eq!(left, LIVE, "sockets after {}", argv.join(" "));
    // The next sweep finds no lock files except its own.
    let _ = support::shell("rm -f /tmp/tmux-1000/*.lock");
    took
}

fn row(dead: usize, rounds: usize) -> Row {
    // Each takes a minute at 10,000 with little variation, so it does not run in every round.
    let every = if dead > 1_000 { 10 } else { 1 };
    let mut turn = 0;
    let [forge, floor, recipe] = in_turns(
        rounds,
        &mut [
            &mut || Some(swept(dead, &["forge", "-q", "sweep"])),
            &mut || Some(swept(dead, &[FLOOR, "/tmp/tmux-1000"])),
            &mut || {
                turn += 1;
                (turn % every == 0).then(|| swept(dead, &["sh", "-c", RECIPE]))
            },
        ],
    );
    let values = |way: Vec<Option<f64>>| way.into_iter().flatten().collect::<Vec<f64>>();
    Row {
        what: "sweep".to_owned(),
        size: format!("{dead} dead, {LIVE} live"),
        unit: Unit::Milliseconds,
        forge: values(forge),
        peer: Some(Way::new("a shell loop with one tmux command per socket", values(recipe))),
        floor: Some(Way::new("the same system calls in C", values(floor))),
        goals: vec![Goal::OfPeer(0.01), Goal::OfFloor(1.3)],
    }
}
