//! What is done to sessions.

pub mod beat;
pub mod exited;
pub mod freeze;
pub mod heal;
pub mod observe;
pub mod restart;
pub mod resume;
pub mod send;
pub mod spawn;
pub mod specify;
pub mod stop;
pub mod wait;
