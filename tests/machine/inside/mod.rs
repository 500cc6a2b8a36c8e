//! Tests that run in a machine as its user, one file per group.

mod audit;
mod by_hand;
mod crashes;
mod ending;
mod errors;
pub(crate) mod guarding;
mod health;
mod incident;
mod killed;
mod machine_facts;
mod many;
mod notices;
mod sockets;
mod supervision;
mod units;
mod watch_over;
mod watching;

use crate::suite::Test;

pub(crate) fn groups() -> Vec<(&'static str, Vec<Test>)> {
    vec![
        ("machine_facts", machine_facts::tests()),
        // The longest one early: the others go on beside it.
        ("guarding", guarding::tests()),
        ("incident", incident::tests()),
        ("errors", errors::tests()),
        ("sockets", sockets::tests()),
        ("ending", ending::tests()),
        ("by_hand", by_hand::tests()),
        ("audit", audit::tests()),
        ("many", many::tests()),
        ("killed", killed::tests()),
        ("units", units::tests()),
        ("health", health::tests()),
        ("notices", notices::tests()),
        ("supervision", supervision::tests()),
        ("crashes", crashes::tests()),
        ("watching", watching::tests()),
        ("watch_over", watch_over::tests()),
    ]
}
