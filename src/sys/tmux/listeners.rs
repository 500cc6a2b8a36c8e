//! The socket files that have a listener, from the kernel's own list (`sock_diag(7)`): forge need not wake a server
//! for it. A socket that is not in the list may still be alive, in another network namespace; so forge pings a
//! socket before it removes it.

use std::collections::HashSet;

use nix::sys::stat::{FileStat, major, minor};

use crate::sys::sock_diag::{LISTENING, SHOW_VFS, unix_sockets};

/// Which socket files have a listener.
#[derive(Debug, Default)]
pub struct Listeners(HashSet<(u32, u32)>);

impl Listeners {
    /// Asks the kernel. Empty if the kernel does not answer.
    pub fn list() -> Self {
        let sockets = unix_sockets(LISTENING, SHOW_VFS).unwrap_or_default();
        Self(sockets.into_iter().filter_map(|socket| socket.file).collect())
    }

    /// Whether a process listens on this file. False if that is not known.
    pub fn has(&self, file: &FileStat) -> bool {
        // The kernel reports the low half of the inode's number, and the device in its own format. If another
        // file has the same numbers, a dead socket stays for one more sweep.
        let device = (major(file.st_dev) << 20) | minor(file.st_dev);
        let (Ok(inode), Ok(device)) = (u32::try_from(file.st_ino & 0xffff_ffff), u32::try_from(device))
        else {
            return false;
        };
        self.0.contains(&(inode, device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::lstat;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_listener_is_recognized_by_its_socket_file() {
        let root = tempfile::tempdir().unwrap();
        let [alive, dead] = ["alive", "dead"].map(|name| root.path().join(name));
        let _listener = UnixListener::bind(&alive).unwrap();
        drop(UnixListener::bind(&dead).unwrap());
        let listeners = Listeners::list();
        assert!(listeners.has(&lstat(&alive).unwrap()));
        assert!(!listeners.has(&lstat(&dead).unwrap()));
    }
}
