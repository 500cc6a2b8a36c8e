//! Pure types and decisions: nothing in this band does I/O.

pub mod command;
pub mod environment;
pub mod error;
pub mod event;
pub mod limits;
pub mod name;
pub mod ready;
pub mod session;
pub mod shown;
pub mod socket;
pub mod spec;
pub mod tmux_says;
pub mod typing;
pub mod unit;
pub mod usage;
