//! The hidden commands: forge, systemd and tmux run them, and nobody types them.

pub mod gate;
pub mod guard_cleanup;
pub mod guard_keeper;
pub mod pane_died;
pub mod supervisor_exited;
