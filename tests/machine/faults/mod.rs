//! What goes wrong around forge: system calls that fail, a machine that has no room, another user
//! who means harm, and much of everything at once. One file per group.
//!
//! Each has a short form, which is part of the usual tests, and a long one: `make test-faults`.

mod bystanders;
mod calls;
mod hostile;
mod inject;
mod left;
mod soak;

use crate::suite::{Group, group};

/// What `cargo test` runs.
pub(crate) fn groups() -> Vec<Group> {
    vec![group("soak", soak::tests()), group("calls", calls::tests()), group("hostile", hostile::tests())]
}

/// The long form.
pub(crate) fn long_groups() -> Vec<Group> {
    vec![
        group("calls", calls::long_tests()),
        group("soak", soak::long_tests()),
        group("hostile", hostile::long_tests()),
    ]
}
