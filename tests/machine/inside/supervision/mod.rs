//! Sessions under a supervisor that systemd runs: start, adoption, reload, stop.

mod replaced;
mod restarting;
mod running;
mod starting;
mod stopping;

use crate::suite::Test;
use crate::support::nothing_left_of;

pub(crate) fn tests() -> Vec<Test> {
    [starting::tests(), stopping::tests(), replaced::tests(), restarting::tests(), running::tests()]
        .into_iter()
        .flatten()
        .collect()
}

/// Asserts that nothing of the session runs and its specification is kept.
#[track_caller]
fn nothing_left_of_but_the_file(name: &str) {
    let _ = std::fs::remove_file(format!(".local/state/forge/sessions/{name}.json"));
    nothing_left_of(name);
}
