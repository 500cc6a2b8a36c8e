//! A shutdown and the boot after it: what only running programs can tell is saved, and sessions come back.

pub mod restore;
pub mod save;
