//! A session under a supervisor: started, adopted, reloaded, stopped; and all that by systemd.

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

/// Nothing of it runs; how to start it again is still known.
#[track_caller]
fn nothing_left_of_but_the_file(name: &str) {
    let _ = std::fs::remove_file(format!(".local/state/forge/sessions/{name}.json"));
    nothing_left_of(name);
}
