//! How the machine and the sessions are, and who is sent a notice of it.

pub mod doctor;
pub mod notify;
pub mod probe;
