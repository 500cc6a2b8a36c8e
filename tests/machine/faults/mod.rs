//! What goes wrong around forge: system calls that fail, a machine that has no room, what stands
//! still, another user who means harm, texts typed into programs at the wrong moment, and much of everything at
//! once. One file per group.
//!
//! Each has a short form, which is part of the usual tests, and nearly all have a long one: `make
//! test-faults`.

mod around;
mod calls;
mod hostile;
mod scarce;
mod soak;
mod standstill;
mod typing;
mod versions;

use crate::suite::{Group, group};

/// What `cargo test` runs.
pub(crate) fn groups() -> Vec<Group> {
    vec![
        group("standstill", standstill::tests()),
        group("soak", soak::tests()),
        group("typing_at_random", typing::tests()),
        group("calls", calls::tests()),
        group("scarce", scarce::tests()),
        group("hostile", hostile::tests()),
        group("versions", versions::tests()),
    ]
}

/// The long form.
pub(crate) fn long_groups() -> Vec<Group> {
    vec![
        group("calls", calls::long_tests()),
        group("soak", soak::long_tests()),
        group("typing_at_random", typing::long_tests()),
        group("standstill", standstill::long_tests()),
        group("scarce", scarce::long_tests()),
        group("hostile", hostile::long_tests()),
    ]
}
