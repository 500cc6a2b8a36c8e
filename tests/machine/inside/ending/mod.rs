//! Stopping a session ends all of its processes; a session whose program exits leaves nothing either.

mod exited;
mod stopped;

use crate::suite::Test;

pub(crate) fn tests() -> Vec<Test> {
    [stopped::tests(), exited::tests()].into_iter().flatten().collect()
}

const IMMUNE: &str = "trap '' TERM HUP INT; while :; do sleep 1; done";
