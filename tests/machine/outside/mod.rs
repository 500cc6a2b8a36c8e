//! Tests that run on the host against a machine: reboots, power cuts, a
//! second user. One file per group.

mod boots;
mod machine_facts;
mod nix;
mod package;
mod production;
mod readme;

use crate::suite::{Group, group};

pub(crate) fn groups() -> Vec<Group> {
    vec![
        group("machine_facts", machine_facts::tests()),
        group("boots", boots::tests()),
        group("production", production::tests()),
        group("package", package::tests()),
        Group { packages: readme::PACKAGES, ..group("readme", readme::tests()) },
        Group { packages: nix::PACKAGES, ..group("nix", nix::tests()) },
    ]
}
