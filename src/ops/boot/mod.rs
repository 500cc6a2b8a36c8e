//! Shutdown and boot: saves the sessions' resume ids before a shutdown, and restores the sessions after
//! the boot.

pub mod restore;
pub mod save;
