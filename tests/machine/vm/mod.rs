//! Tests that run in a virtual machine as its user, one file per group: what a container cannot
//! show, since it has none of the kernel's controllers.

mod controllers;
mod cpu;
mod guarding;
mod memory;

use crate::suite::Test;

/// The deadline of each. An emulated machine is slow, and two of them share the processors.
const LIMIT_S: u64 = 600;

pub(crate) fn groups() -> Vec<(&'static str, Vec<Test>)> {
    let groups = [
        ("controllers", controllers::tests()),
        ("cpu", cpu::tests()),
        ("memory", memory::tests()),
        ("guarding", guarding::tests()),
    ];
    groups.map(|(name, tests)| (name, tests.into_iter().map(|test| test.limit_s(LIMIT_S)).collect())).into()
}
