//! Connections over Unix sockets, and the processes at both ends.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::unix::fs::MetadataExt;

use super::proc::{pids, sockets};
use super::sock_diag::{CONNECTED, SHOW_NAME, SHOW_PEER, UnixSocket, unix_sockets};
use crate::model::error::{Result, Trying};

/// A connection of a process to a process that listened for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Connection {
    pub client_pid: u32,
    pub server_pid: u32,
}

/// The connections at one moment. forge reads the kernel's list, and the descriptors of the user's processes, only
/// if they are needed, and once.
#[derive(Debug, Default)]
pub struct Connections {
    sockets: OnceCell<HashMap<u32, UnixSocket>>,
    holders: OnceCell<HashMap<u32, u32>>,
}

impl Connections {
    /// The connections of the clients to processes of the same user that are not in `group`. If several processes
    /// hold the server's end, the one with the lowest pid counts.
    ///
    /// # Errors
    /// `Failed` if the kernel does not list its Unix sockets.
    pub fn leaving(&self, group: &[u32], clients: &[u32]) -> Result<BTreeSet<Connection>> {
        let held: BTreeMap<u32, u32> =
            clients.iter().flat_map(|pid| sockets(*pid).into_iter().map(|inode| (inode, *pid))).collect();
        if held.is_empty() {
            return Ok(BTreeSet::new());
        }
        let all = self.sockets()?;
        let server_end = |inode: &u32| {
            let peer = all.get(inode)?.peer?;
            all.get(&peer).is_some_and(|peer| peer.is_named).then_some(peer)
        };
        let mut ends: BTreeMap<u32, u32> =
            held.iter().filter_map(|(inode, pid)| Some((server_end(inode)?, *pid))).collect();
        if !ends.is_empty() {
            let inside: BTreeSet<u32> = group.iter().flat_map(|pid| sockets(*pid)).collect();
            ends.retain(|inode, _| !inside.contains(inode));
        }
        if ends.is_empty() {
            return Ok(BTreeSet::new());
        }
        let holders = self.holders();
        let connection = |(end, client_pid)| {
            holders.get(&end).map(|server_pid| Connection { client_pid, server_pid: *server_pid })
        };
        Ok(ends.into_iter().filter_map(connection).collect())
    }

    fn sockets(&self) -> Result<&HashMap<u32, UnixSocket>> {
        if let Some(sockets) = self.sockets.get() {
            return Ok(sockets);
        }
        let sockets = unix_sockets(CONNECTED, SHOW_NAME | SHOW_PEER)
            .trying("the kernel does not list its Unix sockets (sock_diag)")?;
        Ok(self.sockets.get_or_init(|| sockets.into_iter().map(|socket| (socket.inode, socket)).collect()))
    }

    /// The holder of each socket of this user's processes.
    fn holders(&self) -> &HashMap<u32, u32> {
        self.holders.get_or_init(|| {
            let uid = nix::unistd::geteuid().as_raw();
            let is_own = |pid: &u32| {
                std::fs::metadata(format!("/proc/{pid}")).is_ok_and(|process| process.uid() == uid)
            };
            let mut pids: Vec<u32> = pids().into_iter().filter(is_own).collect();
            pids.sort_unstable_by(|a, b| b.cmp(a));
            pids.iter().flat_map(|pid| sockets(*pid).into_iter().map(|inode| (inode, *pid))).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn only_the_clients_end_of_a_connection_leaves_its_group() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("socket");
        let own = [std::process::id()];
        let leaving = |group: &[u32]| Connections::default().leaving(group, &own).unwrap();
        let listener = UnixListener::bind(&path).unwrap();
        let _client = UnixStream::connect(&path).unwrap();
        let _server = listener.accept().unwrap();
        let connection = Connection { client_pid: own[0], server_pid: own[0] };
        assert!(leaving(&[]).contains(&connection));
        assert!(!leaving(&own).contains(&connection), "both ends are in the group");
    }
}
