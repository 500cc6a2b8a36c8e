//! Guarding: heavy work may not disturb the units that matter, and never unnoticed.

pub mod cause;
pub mod pressure;
pub mod report;
pub mod snapshot;
pub mod timeline;
pub mod unit_state;

/// The exit status when a guarded unit was disturbed.
pub const DISTURBED: u8 = 100;

/// The exit status when the command listened although that was denied.
pub const LISTENED: u8 = 101;

/// The exit status when the command was refused, or something failed before it ran.
pub const REFUSED: u8 = 125;
