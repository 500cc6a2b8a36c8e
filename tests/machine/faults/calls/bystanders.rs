//! Bystanders that forge must not touch.

use super::left::programs;
use crate::support::{Homebase, Session, run, socket, spawn, tmux};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use std::os::unix::net::{UnixListener, UnixStream};

/// Live tmux servers that are unrelated to forge.
pub(crate) struct Bystanders {
    homebase: Homebase,
    _neighbour: Session,
    servers: [(&'static str, i32); 2],
}

impl Bystanders {
    pub(crate) fn new() -> Self {
        let homebase = Homebase::start();
        let (neighbour, _) = spawn("neighbour", &[], &["sleep", "3000"]);
        let servers = ["homebase", "spawn-neighbour"].map(|label| (label, listener(label)));
        Self { homebase, _neighbour: neighbour, servers }
    }

    /// Asserts that the servers are the same and answer.
    pub(crate) fn untouched(&self) {
        for (label, pid) in self.servers {
            assert_eq!(listener(label), pid, "the server of {label}");
        }
        assert_eq!(programs("sleep 3000"), 1, "the neighbour's program");
    }
}

impl Drop for Bystanders {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.homebase.untouched();
        }
    }
}

/// The process that listens on the socket, according to the kernel, or 0.
fn listener(label: &str) -> i32 {
    let Ok(stream) = UnixStream::connect(socket(label)) else { return 0 };
    getsockopt(&stream, PeerCredentials).map_or(0, |peer| peer.pid())
}

/// Leaves a socket that nobody listens on.
pub(crate) fn dead(label: &str) {
    let _ = std::fs::remove_file(socket(label));
    drop(UnixListener::bind(socket(label)).expect("a socket"));
}

/// A stopped server: it is wedged, not dead.
pub(crate) struct Wedged(pub(crate) i32);

impl Wedged {
    pub(crate) fn new() -> Self {
        tmux("wedged", &["new", "-d", "sleep 10000"]).ok();
        let pid = listener("wedged");
        run(&["kill", "-s", "STOP", &pid.to_string()]).ok();
        Self(pid)
    }
}

impl Drop for Wedged {
    fn drop(&mut self) {
        run(&["kill", "-s", "CONT", &self.0.to_string()]);
        tmux("wedged", &["kill-server"]);
        let _ = std::fs::remove_file(socket("wedged"));
    }
}
