//! Observes sessions: asks the manager which ones exist, then examines each.
//!
//! forge keeps no list of its own: a session exists while the manager has its units or its cgroup has
//! processes.

mod activity;
mod describe;
mod facts;
mod list;
mod select;

pub(super) use activity::was_shown;
pub use activity::{ObservedActivity, activities, activity};
pub use describe::{describe, describe_all};
pub use facts::current_condition;
pub use list::{ObservedSession, all, one};
pub use select::{existing, matching, matching_or_kept};
