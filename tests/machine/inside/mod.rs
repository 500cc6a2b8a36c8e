//! Tests that run in a machine as its user, one file per group.

mod ending;
mod errors;
mod incident;
mod machine_facts;

use crate::suite::Test;

pub(crate) fn groups() -> Vec<(&'static str, Vec<Test>)> {
    vec![
        ("machine_facts", machine_facts::tests()),
        ("incident", incident::tests()),
        ("errors", errors::tests()),
        ("ending", ending::tests()),
    ]
}
