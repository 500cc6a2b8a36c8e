//! The only code that touches the context: one room for each thing that is touched.

pub mod cgroup;
pub mod clock;
pub mod command;
pub mod files;
pub mod gate;
pub mod http;
pub mod inotify;
pub mod journal;

pub mod env;
pub mod landlock;
pub mod poll;
pub mod proc;
pub mod process;
pub mod psi;
pub mod resume;
pub mod sd_notify;
pub mod signals;
pub mod store;
pub mod systemd;
pub mod tcp;
pub mod terminal;
pub mod tmux;
