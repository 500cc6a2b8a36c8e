//! Faults around forge: failing system calls, full disks, stopped services, a hostile user, texts typed at
//! the wrong moment, and a churn of everything at once. One file per group.
//!
//! Each has a short form in the usual tests, and nearly all have a long one: `make test-faults`.

mod around;
mod calls;
mod hostile;
mod scarce;
mod soak;
mod standstill;
mod typing;
mod versions;

use crate::suite::{Group, group};

/// The groups that `cargo test` runs.
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

/// The groups that `make test-faults` runs.
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
