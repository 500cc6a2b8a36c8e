//! Tests that run in a machine as its user, one file per group.

mod activity;
mod asking;
mod audit;
mod by_hand;
mod crashes;
mod ending;
mod errors;
pub(crate) mod guarding;
mod health;
mod incident;
mod input_box;
mod killed;
mod known_agents;
mod machine_facts;
mod many;
mod notices;
mod outside_work;
mod sockets;
mod supervision;
mod typing;
mod units;
mod watch_over;
mod watching;

use crate::suite::{Group, group};

pub(crate) fn groups() -> Vec<Group> {
    let groups = vec![
        group("machine_facts", machine_facts::tests()),
        // The longest group starts early; the others run beside it.
        group("guarding", guarding::tests()),
        group("incident", incident::tests()),
        group("errors", errors::tests()),
        group("input_box", input_box::tests()),
        group("sockets", sockets::tests()),
        group("ending", ending::tests()),
        group("by_hand", by_hand::tests()),
        group("known_agents", known_agents::tests()),
        group("audit", audit::tests()),
        group("many", many::tests()),
        group("killed", killed::tests()),
        group("units", units::tests()),
        group("health", health::tests()),
        group("notices", notices::tests()),
        group("outside_work", outside_work::tests()),
        group("supervision", supervision::tests()),
        group("crashes", crashes::tests()),
        group("watching", watching::tests()),
        group("asking", asking::tests()),
        group("activity", activity::tests()),
        group("watch_over", watch_over::tests()),
    ];
    groups.into_iter().chain(typing::groups()).collect()
}
