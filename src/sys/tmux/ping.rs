//! Asking a socket whether somebody is there, without running a tmux client.
//!
//! A connection tells dead from alive. A server that accepts may still be stopped or wedged, so
//! it is asked something that every tmux answers: a message with a protocol version that does
//! not exist. The server replies with its own version and drops the connection; nothing
//! changes in it (measured on 3.3a and 3.5a: 0.3 ms). An end of the connection counts as an
//! answer too, since a server that stands still does not even do that.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, getsockopt, send, socket,
};

use super::directory::Directory;
use crate::model::session::condition::Answer;
use crate::sys::clock::Deadline;
use crate::sys::poll::readable;

/// What a connection met.
#[derive(Debug)]
pub enum Ping {
    /// Somebody listens.
    Open(PendingPing),
    /// Somebody listens, and its queue of connections is full.
    Full,
    /// Nobody listens.
    Refused,
    /// There is no socket of the user's by that name.
    Missing,
    /// It cannot be told: why.
    Unknown(String),
}

/// A connection to a server that was asked for its version.
#[derive(Debug)]
pub struct PendingPing {
    fd: OwnedFd,
}

/// Connects without waiting. Nothing is locked, so a refusal may also mean a server that is
/// just starting, between bind(2) and listen(2).
///
/// By the socket itself and not by its name: where others may write in the directory, the name may be
/// a link by now, and whoever listens behind that would be asked.
pub fn knock(directory: &Directory, name: &OsStr) -> Ping {
    let held = match directory.hold(name) {
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
        Err(error) => return Ping::Unknown(format!("no socket to ask with: {}", error.desc())),
    };
    match connect(fd.as_raw_fd(), &address) {
        Ok(()) => {
            ask_version(&fd);
            Ping::Open(PendingPing { fd })
        }
        Err(Errno::EAGAIN) => Ping::Full,
        Err(Errno::ECONNREFUSED) => Ping::Refused,
        Err(Errno::ENOENT) => Ping::Missing,
        Err(error) => Ping::Unknown(error.desc().to_owned()),
    }
}

/// The process that listens on a socket: the kernel's word.
pub fn server_of(socket: &std::path::Path) -> Option<i32> {
    let directory = Directory::open(socket.parent()?).ok().flatten()?;
    let Ping::Open(caller) = knock(&directory, socket.file_name()?) else { return None };
    getsockopt(&caller.fd, PeerCredentials).ok().map(|server| server.pid())
}

/// Sends a message header of tmux's protocol (`struct imsg_hdr`): its type, its length, the
/// version where tmux keeps it, and a pid.
fn ask_version(fd: &OwnedFd) {
    const IDENTIFY_FLAGS: u32 = 100;
    const HEADER: u32 = 16;
    const NO_VERSION: u32 = 0;
    let mut message = Vec::with_capacity(16);
    for word in [IDENTIFY_FLAGS, HEADER, NO_VERSION, std::process::id()] {
        message.extend_from_slice(&word.to_ne_bytes());
    }
    // Where it cannot be sent the server is at its end or stands still; the wait tells which.
    let _ = send(fd.as_raw_fd(), &message, MsgFlags::MSG_NOSIGNAL);
}

/// Waits for all answers side by side; says for each caller whether its server answered.
pub fn answers(callers: &[&PendingPing], deadline: Deadline) -> Vec<bool> {
    let mut answered = vec![false; callers.len()];
    loop {
        let waiting: Vec<usize> = (0..callers.len()).filter(|at| !answered[*at]).collect();
        if waiting.is_empty() {
            return answered;
        }
        let fds: Vec<_> = waiting.iter().map(|at| callers[*at].fd.as_fd()).collect();
        let ready = readable(&fds, deadline);
        if !ready.contains(&true) {
            return answered;
        }
        for (at, ready) in waiting.into_iter().zip(ready) {
            answered[at] |= ready;
        }
    }
}

/// Asks one socket and waits for the answer.
pub fn ask(directory: &Directory, name: &OsStr, deadline: Deadline) -> Answer {
    match knock(directory, name) {
        Ping::Open(caller) if answers(&[&caller], deadline)[0] => Answer::Answers,
        Ping::Open(_) | Ping::Full | Ping::Unknown(_) => Answer::Silent,
        Ping::Refused => Answer::Refused,
        Ping::Missing => Answer::Missing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::tmux::directory::private_for_tests as private;
    use std::os::unix::net::UnixListener;
    use std::time::{Duration, Instant};

    #[test]
    fn dead_silent_and_missing_are_told_apart() {
        let root = private();
        drop(UnixListener::bind(root.path().join("dead")).unwrap());
        let silent = UnixListener::bind(root.path().join("silent")).unwrap();
        let directory = Directory::open(root.path()).unwrap().unwrap();
        let soon = || Deadline::after(Duration::from_millis(50));
        assert_eq!(ask(&directory, OsStr::new("dead"), soon()), Answer::Refused);
        assert_eq!(ask(&directory, OsStr::new("none"), soon()), Answer::Missing);
        assert_eq!(ask(&directory, OsStr::new("silent"), soon()), Answer::Silent);
        drop(silent);
        assert_eq!(ask(&directory, OsStr::new("silent"), soon()), Answer::Refused);
    }

    #[test]
    fn the_socket_is_asked_and_not_what_its_name_leads_to() {
        let (root, outside) = (private(), private());
        let listener = UnixListener::bind(outside.path().join("s")).unwrap();
        listener.set_nonblocking(true).unwrap();
        std::os::unix::fs::symlink(outside.path().join("s"), root.path().join("link")).unwrap();
        let directory = Directory::open(root.path()).unwrap().unwrap();
        assert!(matches!(knock(&directory, OsStr::new("link")), Ping::Missing));
        assert!(listener.accept().is_err(), "nobody came");
        // Nor does a name that is too long for an address matter.
        let long = "l".repeat(200);
        std::fs::rename(outside.path().join("s"), root.path().join(&long)).unwrap();
        assert!(matches!(knock(&directory, OsStr::new(&long)), Ping::Open(_)));
    }

    #[test]
    fn several_silent_servers_cost_one_deadline() {
        let root = private();
        let directory = Directory::open(root.path()).unwrap().unwrap();
        let names: Vec<String> = (0..8).map(|n| format!("s{n}")).collect();
        let _listeners: Vec<UnixListener> =
            names.iter().map(|name| UnixListener::bind(root.path().join(name)).unwrap()).collect();
        let knocks: Vec<Ping> = names.iter().map(|name| knock(&directory, OsStr::new(name))).collect();
        let callers: Vec<&PendingPing> = knocks
            .iter()
            .filter_map(|knock| if let Ping::Open(caller) = knock { Some(caller) } else { None })
            .collect();
        let start = Instant::now();
        let answered = answers(&callers, Deadline::after(Duration::from_millis(200)));
        assert_eq!((answered.len(), answered.contains(&true)), (8, false));
        assert!(start.elapsed() < Duration::from_secs(1), "they are waited for side by side");
    }
}
