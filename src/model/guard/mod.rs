//! Guarding: forge runs heavy work so that it does not disturb the guarded units, and reports each
//! disturbance.

pub mod cause;
pub mod pressure;
pub mod report;
pub mod snapshot;
pub mod timeline;
pub mod unit_state;

/// The exit status when a guarded unit was disturbed.
pub const DISTURBED: u8 = 100;

/// The exit status when the command listened although `--deny-listen` forbids it.
pub const LISTENED: u8 = 101;

/// The exit status when forge refused the command, or failed before it ran.
pub const REFUSED: u8 = 125;
