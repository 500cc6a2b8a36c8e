//! A supervisor's watch over a running session: signs of life, repairs, stuck sessions and ports.

mod alive;
mod ports;

use crate::suite::Test;

pub(crate) fn tests() -> Vec<Test> {
    [alive::tests(), ports::tests()].into_iter().flatten().collect()
}
