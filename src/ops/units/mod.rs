//! forge's own units in the user manager.

pub mod install;
pub mod verify;
