//! forge's units in the user manager: installed, kept apart from the user's own, removed.

mod installing;
mod loaded;

use crate::suite::Test;
use crate::support::{forge, shell};

pub(crate) fn tests() -> Vec<Test> {
    [installing::tests(), loaded::tests()].into_iter().flatten().collect()
}

/// Installed units; dropping this uninstalls them.
struct Units;

impl Units {
    #[track_caller]
    fn install() -> Self {
        forge(&["units", "install", "--now"]).ok();
        Self
    }
}

impl Drop for Units {
    fn drop(&mut self) {
        forge(&["units", "uninstall"]);
        shell("rm -rf ~/.config/systemd/user; systemctl --user daemon-reload; systemctl --user reset-failed");
    }
}
