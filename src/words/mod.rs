//! Pure types and decisions: nothing in this band does I/O.

pub mod command;
pub mod condition;
pub mod environment;
pub mod error;
pub mod event;
pub mod guard;
pub mod health;
pub mod limits;
pub mod name;
pub mod notice;
pub mod order;
pub mod prompts;
pub mod restore;
pub mod resume;
pub mod screen;
pub mod session;
pub mod shown;
pub mod socket;
pub mod spec;
pub mod supervision;
pub mod time;
pub mod tmux_says;
pub mod typing;
pub mod unit;
pub mod unit_file;
pub mod usage;
