//! What goes wrong around forge: system calls that fail, a machine that has no room, another user
//! who means harm, and much of everything at once. One file per group.
//!
//! Each has a short form, which is part of the usual tests, and a long one: `make test-faults`.

use crate::suite::Group;

/// What `cargo test` runs.
pub(crate) fn groups() -> Vec<Group> {
    vec![]
}

/// The long form.
pub(crate) fn long_groups() -> Vec<Group> {
    vec![]
}
