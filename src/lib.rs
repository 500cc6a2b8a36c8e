#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        reason = "unit tests prepare their own files and processes"
    )
)]
//! forge keeps long-running tmux programs alive and harmless on a systemd machine.
//!
//! Six layers; each imports only from the layers below it:
//!
//! - [`cli`] parses the command line and prints; [`commands`] has one file per command;
//! - [`ops`] implements the operations: sweep, spawn, stop, observe …;
//! - [`config`] reads and checks the configuration;
//! - [`agents`] has what forge knows of each coding agent;
//! - [`sys`] makes the system calls: systemd, tmux, cgroups, the journal, files, the environment;
//! - [`model`] has pure types and decisions, without I/O.

pub mod agents;
pub mod cli;
pub mod commands;
pub mod config;
pub mod model;
pub mod ops;
pub mod sys;
