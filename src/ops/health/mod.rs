//! The health of the machine and the sessions, and notices of it.

pub mod doctor;
pub mod notify;
pub mod paced;
pub mod probe;
