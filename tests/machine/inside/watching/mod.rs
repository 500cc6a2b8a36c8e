//! What a supervisor sees of a session that lives: what is left alone, what is healed, what is called
//! stuck, and what comes of that. And the ports that a session needs.

mod alive;
mod ports;

use crate::suite::Test;

pub(crate) fn tests() -> Vec<Test> {
    [alive::tests(), ports::tests()].into_iter().flatten().collect()
}
