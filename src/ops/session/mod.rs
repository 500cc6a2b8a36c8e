//! Operations on one session, or on several that a pattern selects.

pub mod activity_wait;
pub mod beat;
pub mod exited;
pub mod freeze;
pub mod notice;
pub mod observe;
pub mod outside;
pub mod report;
pub mod resume;
pub mod send;
pub mod spawn;
pub mod specify;
pub mod start;
pub mod stop;
pub mod wait;
