//! The only code that touches the world: one room for each thing that is touched.

pub mod cgroup;
pub mod changes;
pub mod clock;
pub mod config;
pub mod files;
pub mod gate;
pub mod http;
pub mod journal;
mod journald;
pub mod landlock;
pub mod paths;
pub mod ports;
pub mod pressure;
pub mod process;
pub mod resume;
pub mod service;
pub mod signals;
pub mod state;
pub mod systemd;
pub mod terminal;
pub mod tmux;
