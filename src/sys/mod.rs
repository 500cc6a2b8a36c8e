//! The only code that makes system calls, with one module for each subject.
//!
//! clippy holds this (`clippy.toml`): the functions that make system calls are disallowed everywhere else.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this is the module that may call them"
)]

pub mod cgroup;
pub mod clock;
pub mod command;
pub mod connections;
pub mod env;
pub mod files;
pub mod gate;
pub mod http;
pub mod inotify;
pub mod journal;
pub mod landlock;
pub mod poll;
pub mod proc;
pub mod process;
pub mod psi;
pub mod resume_id;
pub mod sd_notify;
pub mod signals;
mod sock_diag;
pub mod store;
pub mod systemd;
pub mod tcp;
pub mod terminal;
pub mod tmux;

use crate::model::error::ForeignError;

impl ForeignError for nix::errno::Errno {}
impl ForeignError for rustix::io::Errno {}
