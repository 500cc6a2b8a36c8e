//! forge keeps long-running tmux programs alive and harmless on a systemd machine.
//!
//! Four bands, and dependencies only point down:
//!
//! - [`cli`] reads the command line and prints; [`commands`] has one file per command;
//! - [`ops`] is what forge does: sweep, spawn, stop, observe …;
//! - [`config`] reads and checks the configuration;
//! - [`sys`] makes the system calls: systemd, tmux, cgroups, the journal, files, the environment;
//! - [`model`] are pure types and decisions, with no I/O at all.

pub mod cli;
pub mod commands;
pub mod config;
pub mod model;
pub mod ops;
pub mod sys;
