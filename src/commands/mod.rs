//! One file per command: arguments in, an operation called, its result shown. No command imports
//! another. [`internal`] has those that forge and systemd call, and that nobody types.

pub mod arguments;
pub mod attach;
pub mod beat;
pub mod capture;
pub mod completions;
pub mod doctor;
pub mod freeze;
pub mod guard;
pub mod internal;
pub mod list;
pub mod logs;
pub mod man;
pub mod notify;
pub mod poke;
pub mod probe;
pub mod restart;
pub mod restore;
pub mod run;
pub mod save;
pub mod send;
pub mod spawn;
pub mod status;
pub mod stop;
pub mod supervise;
pub mod sweep;
pub mod thaw;
pub mod units;
pub mod wait;
