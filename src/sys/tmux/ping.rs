//! Testing whether a tmux server listens on a socket and answers, without running a tmux client.
//!
//! A connection shows whether a server listens. The server may still be stopped or wedged although the
//! kernel accepts the connection, so forge sends a message that every tmux answers: one with a protocol
//! version that does not exist. The server replies with its own version and drops the connection; its
//! state does not change (measured on 3.3a and 3.5a: 0.3 ms). If the server closes the connection, that
//! counts as an answer, too: a server that is stopped does not even do that.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, getsockopt, send, socket,
};

use super::directory::Directory;
use crate::sys::clock::Deadline;
use crate::sys::poll::readable;

/// The result of connecting to a socket.
#[derive(Debug)]
pub enum Ping {
    /// A process listens on the socket. It has not answered yet.
    Open(PendingPing),
    /// A process listens on the socket, and its queue of connections is full.
    Full,
    /// The kernel refused: no process listens on the socket, or a server is just starting.
    Refused,
    /// The user has no socket of that name.
    Missing,
    /// The kernel refuses for another reason.
    Unknown(String),
}

/// A connection to a server to which forge has sent a message.
#[derive(Debug)]
pub struct PendingPing {
    fd: OwnedFd,
}

impl Directory {
    /// Connects to a socket without waiting. forge holds no lock meanwhile, so a refusal may also mean a
    /// server that is just starting, between bind(2) and listen(2).
    ///
    /// forge connects to the socket itself and not to its path: where other users may write in the
    /// directory, the name may be a link by now, and forge would contact the server behind the link.
    pub fn ping(&self, name: &OsStr) -> Ping {
        let held = match self.hold(name) {
            Ok(Some(held)) => held,
            Ok(None) => return Ping::Missing,
            Err(error) => return Ping::Unknown(error.desc().to_owned()),
        };
        let path = format!("/proc/self/fd/{}", held.as_raw_fd());
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let made = UnixAddr::new(path.as_str())
            .and_then(|address| Ok((address, socket(AddressFamily::Unix, SockType::Stream, flags, None)?)));
        let (address, fd) = match made {
            Ok(made) => made,
            Err(error) => return Ping::Unknown(format!("cannot make a socket: {}", error.desc())),
        };
        match connect(fd.as_raw_fd(), &address) {
            Ok(()) => {
                send_unknown_version(&fd);
                Ping::Open(PendingPing { fd })
            }
            Err(Errno::EAGAIN) => Ping::Full,
            Err(Errno::ECONNREFUSED) => Ping::Refused,
            Err(Errno::ENOENT) => Ping::Missing,
            Err(error) => Ping::Unknown(error.desc().to_owned()),
        }
    }
}

/// The pid of the process that listens on a socket, as the kernel reports it.
pub fn server_of(socket: &Path) -> Option<i32> {
    let directory = Directory::open(socket.parent()?).ok().flatten()?;
    let Ping::Open(ping) = directory.ping(socket.file_name()?) else { return None };
    getsockopt(&ping.fd, PeerCredentials).ok().map(|server| server.pid())
}

/// Sends a message header of tmux's protocol (`struct imsg_hdr`): its type, its length, the
/// version where tmux keeps it, and a pid.
fn send_unknown_version(fd: &OwnedFd) {
    const IDENTIFY_FLAGS: u32 = 100;
    const HEADER: u32 = 16;
    const NO_VERSION: u32 = 0;
    let mut message = Vec::with_capacity(16);
    for word in [IDENTIFY_FLAGS, HEADER, NO_VERSION, std::process::id()] {
        message.extend_from_slice(&word.to_ne_bytes());
    }
    // If forge cannot send the message, the server is ending or stopped: `answers` shows which.
    let _ = send(fd.as_raw_fd(), &message, MsgFlags::MSG_NOSIGNAL);
}

/// Waits for all answers at the same time. Returns for each ping whether its server answered by the
/// deadline.
pub fn answers(pings: &[&PendingPing], deadline: Deadline) -> Vec<bool> {
    let mut answered = vec![false; pings.len()];
    loop {
        let waiting: Vec<usize> = (0..pings.len()).filter(|at| !answered[*at]).collect();
        if waiting.is_empty() {
            return answered;
        }
        let fds: Vec<_> = waiting.iter().map(|at| pings[*at].fd.as_fd()).collect();
        let ready = readable(&fds, deadline);
        if !ready.contains(&true) {
            return answered;
        }
        for (at, ready) in waiting.into_iter().zip(ready) {
            answered[at] |= ready;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::session::condition::Answer;
    use crate::sys::tmux::directory::private_for_tests as private;
    use std::os::unix::net::UnixListener;
    use std::time::{Duration, Instant};

    fn answer(directory: &Directory, name: &OsStr, deadline: Deadline) -> Answer {
        match directory.ping(name) {
            Ping::Open(ping) if answers(&[&ping], deadline)[0] => Answer::Answers,
            Ping::Open(_) | Ping::Full | Ping::Unknown(_) => Answer::Silent,
            Ping::Refused => Answer::Refused,
            Ping::Missing => Answer::Missing,
        }
    }

    #[test]
    fn dead_silent_and_missing_servers_are_distinguished() {
        let root = private();
        drop(UnixListener::bind(root.path().join("dead")).unwrap());
        let silent = UnixListener::bind(root.path().join("silent")).unwrap();
        let directory = Directory::open(root.path()).unwrap().unwrap();
        let soon = || Deadline::after(Duration::from_millis(50));
        assert_eq!(answer(&directory, OsStr::new("dead"), soon()), Answer::Refused);
        assert_eq!(answer(&directory, OsStr::new("none"), soon()), Answer::Missing);
        assert_eq!(answer(&directory, OsStr::new("silent"), soon()), Answer::Silent);
        drop(silent);
        assert_eq!(answer(&directory, OsStr::new("silent"), soon()), Answer::Refused);
    }

    #[test]
    fn a_link_to_a_socket_is_not_followed() {
        let (root, outside) = (private(), private());
        let listener = UnixListener::bind(outside.path().join("s")).unwrap();
        listener.set_nonblocking(true).unwrap();
        std::os::unix::fs::symlink(outside.path().join("s"), root.path().join("link")).unwrap();
        let directory = Directory::open(root.path()).unwrap().unwrap();
        assert!(matches!(directory.ping(OsStr::new("link")), Ping::Missing));
        assert!(listener.accept().is_err(), "no connection came through the link");
        // A name that is longer than a socket address is pinged, too.
        let long = "l".repeat(200);
        std::fs::rename(outside.path().join("s"), root.path().join(&long)).unwrap();
        assert!(matches!(directory.ping(OsStr::new(&long)), Ping::Open(_)));
    }

    #[test]
    fn several_silent_servers_cost_one_deadline() {
        let root = private();
        let directory = Directory::open(root.path()).unwrap().unwrap();
        let names: Vec<String> = (0..8).map(|n| format!("s{n}")).collect();
        let _listeners: Vec<UnixListener> =
            names.iter().map(|name| UnixListener::bind(root.path().join(name)).unwrap()).collect();
        let pings: Vec<Ping> = names.iter().map(|name| directory.ping(OsStr::new(name))).collect();
        let pending: Vec<&PendingPing> = pings
            .iter()
            .filter_map(|ping| if let Ping::Open(ping) = ping { Some(ping) } else { None })
            .collect();
        let start = Instant::now();
        let answered = answers(&pending, Deadline::after(Duration::from_millis(200)));
        assert_eq!((answered.len(), answered.contains(&true)), (8, false));
        assert!(start.elapsed() < Duration::from_secs(1), "forge waits for all of them at the same time");
    }
}
