//! Pure types and decisions. Nothing in this module does I/O.

pub mod error;
pub mod event;
pub mod guard;
pub mod health;
pub mod internal_command;
pub mod notice;
pub mod output;
pub mod process;
pub mod screen;
pub mod session;
pub mod similar;
pub mod supervision;
pub mod sweep;
pub mod time;
pub mod tmux;
pub mod unit;
pub mod usage;
