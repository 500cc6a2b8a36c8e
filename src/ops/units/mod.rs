//! forge's own units in the user manager: installing and verifying them.

pub mod install;
pub mod verify;
