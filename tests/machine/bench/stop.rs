//! The end of a session and of all its processes.

use super::rounds::{Signs, finish, in_turns, millis, start, timed};
use super::{Goal, Row, Unit, Way};
use crate::support::{forge, processes_in, run, slice_of, systemctl, wait_until};
use std::path::Path;
use std::time::{Duration, Instant};

pub(super) fn rows(rounds: usize) -> Vec<Row> {
    [10, 200].map(|processes| row(processes, rounds)).into()
}

/// A session with this many processes beside its server and its shell.
fn begin(processes: usize) {
    let signs = Signs::new();
    let program =
        format!("for i in $(seq {processes}); do sleep 100000 & done; echo > /tmp/signs; exec sleep 100000");
    let argv = ["forge", "-q", "spawn", "tree", "--", "sh", "-c", &program];
    let child = start(&argv);
    signs.wait(1);
    finish(child, "forge spawn");
    assert!(processes_in(&slice_of("tree")).len() > processes);
}

/// Removes the files that forge keeps of a session ended by others.
fn forget() {
    forge(&["-q", "stop", "tree"]);
    run(&["rm", "-f", "/tmp/tmux-1000/spawn-tree", "/tmp/tmux-1000/spawn-tree.lock"]).ok();
}

/// A removed slice counts as empty.
fn is_empty(slice: &str) -> bool {
    let events = Path::new("/sys/fs/cgroup").join(slice.trim_start_matches('/')).join("cgroup.events");
    std::fs::read_to_string(events).map_or(true, |text| text.contains("populated 0"))
}

fn row(processes: usize, rounds: usize) -> Row {
    let slice = slice_of("tree");
    let [forge, peer, floor] = in_turns(
        rounds,
        &mut [
            &mut || {
                begin(processes);
                let took = timed(&["forge", "-q", "stop", "tree"]);
                assert_eq!(processes_in(&slice), Vec::<u32>::new());
                took
            },
            &mut || {
                begin(processes);
                let took = timed(&["systemctl", "--user", "stop", "forge-tree.slice"]);
                forget();
                took
            },
            &mut || {
                begin(processes);
                let kill =
                    Path::new("/sys/fs/cgroup").join(slice.trim_start_matches('/')).join("cgroup.kill");
                let begin = Instant::now();
                std::fs::write(kill, "1").expect("cgroup.kill");
                while !is_empty(&slice) {
                    std::thread::sleep(Duration::from_micros(100));
                }
                let took = millis(begin);
                systemctl(&["stop", "forge-tree.slice"]);
                wait_until(Duration::from_secs(20), "the slice to go", || processes_in(&slice).is_empty());
                forget();
                took
            },
        ],
    );
    Row {
        what: "stop".to_owned(),
        size: format!("{processes} processes"),
        unit: Unit::Milliseconds,
        forge,
        peer: Some(Way::new("systemctl --user stop SLICE", peer)),
        floor: Some(Way::new("cgroup.kill", floor)),
        goals: vec![Goal::OfPeer(1.0)],
    }
}
