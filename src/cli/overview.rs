//! The text that `forge` prints when it is called without a command.

use serde_json::json;

use crate::model::output::Output;

const TEXT: &str = "\
forge keeps long-running tmux programs alive and harmless.

  forge spawn demo -- claude      start a program in a tmux server of its own
  forge list                      list the sessions and their states
  forge attach demo               show a session in this terminal (Ctrl-b d leaves)
  forge send demo 'go on'         type into it
  forge capture demo              print its screen
  forge stop demo                 end it and every process that it started
  forge sweep                     remove dead tmux sockets (no server listens on them)
  forge logs demo                 show what happened, from the journal
  forge spawn demo --supervise -- claude     the same session, restarted when it crashes
  forge units install --now       sweep every 10 minutes, restore sessions after a boot
  forge probe                     show problems and how to solve them
  forge doctor                    find what on this machine would keep forge from working

'forge help' lists all commands, 'forge help COMMAND' explains one, 'forge man | man -l -'
shows the manual. Every command accepts --json.";

pub(super) fn show() -> Output {
    Output::new(&json!({ "version": env!("CARGO_PKG_VERSION") })).raw(TEXT)
}
