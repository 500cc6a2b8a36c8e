//! Tests that run in a virtual machine as its user, one file per group. They need the kernel's resource
//! controllers, which a container does not have.

mod clock;
mod controllers;
mod cpu;
mod guarding;
mod memory;

use crate::suite::{Group, group};

/// The deadline of each test. An emulated machine is slow, and two of them share the processors.
const LIMIT_S: u64 = 600;

pub(crate) fn groups() -> Vec<Group> {
    let groups = [
        group("controllers", controllers::tests()),
        group("cpu", cpu::tests()),
        group("clock", clock::tests()),
        group("memory", memory::tests()),
        group("guarding", guarding::tests()),
    ];
    let slower = |of: Group| group(of.name, of.tests.into_iter().map(|test| test.limit_s(LIMIT_S)).collect());
    groups.map(slower).into()
}
