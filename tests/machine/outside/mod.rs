//! Tests that run on the host against a machine: reboots, power cuts, a
//! second user. One file per group.

mod boots;
mod hostile;
mod machine_facts;
mod production;

use crate::suite::Test;

pub(crate) fn groups() -> Vec<(&'static str, Vec<Test>)> {
    vec![
        ("machine_facts", machine_facts::tests()),
        ("hostile", hostile::tests()),
        ("boots", boots::tests()),
        ("production", production::tests()),
    ]
}
