//! One file per verb: arguments in, an act called, its result shown. No verb imports another.

pub mod attach;
pub mod beat;
pub mod capture;
pub mod completions;
pub mod doctor;
pub mod freeze;
pub mod gate;
pub mod guard;
pub mod guard_gone;
pub mod guard_keeper;
pub mod list;
pub mod logs;
pub mod man;
pub mod notify;
pub mod pane_died;
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
pub mod supervisor_gone;
pub mod sweep;
pub mod thaw;
pub mod units;
pub mod wait;

pub mod asked;
