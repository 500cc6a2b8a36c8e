//! What `forge` alone shows.

use serde_json::json;

use crate::model::output::Output;

const TEXT: &str = "\
forge keeps long-running tmux programs alive and harmless.

  forge spawn demo -- claude      start a program in a tmux server of its own
  forge list                      what runs, and how it is
  forge attach demo               show it in this terminal (leave with Ctrl-b d)
  forge send demo 'go on'         type into it
  forge capture demo              print its screen
  forge stop demo                 end it, and all that it ever started
  forge sweep                     remove tmux sockets that no server listens on
  forge logs demo                 what happened, from the journal
  forge spawn demo --supervise -- claude     the same, started again when it crashes
  forge units install --now       sweep every 10 minutes; sessions come back after a boot
  forge probe                     how everything is, and what to do about what is not well
  forge doctor                    what on this machine would stop forge from working

'forge help' lists all verbs, 'forge help VERB' explains one, 'forge man | man -l -'
is the manual. Every verb takes --json.";

/// The overview.
pub(super) fn show() -> Output {
    Output::new(&json!({ "version": env!("CARGO_PKG_VERSION") })).raw(TEXT)
}
