//! The time of typing a text into a program.

use super::rounds::{in_turns, millis, timed};
use super::{Goal, Row, Unit, Way};
use crate::support::{forge, spawn};
use std::time::{Duration, Instant};

/// A comment for the shell, so that only the typing is measured.
const TEXT: &str = "# forty bytes of a text that is typed in";

pub(super) fn rows(rounds: usize) -> Vec<Row> {
    let (_session, _) = spawn("typed", &[], &["bash", "--norc"]);
    let tmux = |arguments: &[&str]| timed(&[&["tmux", "-N", "-L", "spawn-typed"], arguments].concat());
    let typed = || {
        tmux(&["send-keys", "-t", "=typed:", "-l", "--", TEXT]);
        tmux(&["send-keys", "-t", "=typed:", "Enter"]);
    };
    // The shell draws its prompt before the next turn begins; that is not measured.
    let after_a_pause = |way: &dyn Fn()| {
        std::thread::sleep(Duration::from_millis(50));
        let begin = Instant::now();
        way();
        millis(begin)
    };
    let [ours, peer, floor] = in_turns(
        rounds,
        &mut [
            &mut || {
                after_a_pause(&|| {
                    forge(&["-q", "send", "typed", TEXT]).ok();
                })
            },
            &mut || {
                after_a_pause(&|| {
                    typed();
                    tmux(&["capture-pane", "-p", "-t", "=typed:"]);
                })
            },
            &mut || after_a_pause(&typed),
        ],
    );
    vec![Row {
        what: "send".to_owned(),
        size: format!("{} bytes to bash", TEXT.len()),
        unit: Unit::Milliseconds,
        forge: ours,
        peer: Some(Way::new("tmux send-keys, send-keys Enter, capture-pane", peer)),
        floor: Some(Way::new("tmux send-keys, send-keys Enter", floor)),
        goals: vec![Goal::OfPeer(3.0)],
    }]
}
