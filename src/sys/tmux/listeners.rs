//! The socket files that have a listener, from the kernel's own list (`sock_diag(7)`): forge need not wake a server
//! for it. A socket that is not in the list may still be alive, in another network namespace; so forge pings a
//! socket before it removes it.

use std::collections::HashSet;
use std::os::fd::AsRawFd;

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket, sockopt,
};
use nix::sys::stat::{FileStat, major, minor};
use nix::sys::time::{TimeVal, TimeValLike};

/// `linux/netlink.h`, `linux/sock_diag.h`, `linux/unix_diag.h`.
const HEADER: usize = 16;
const DONE: u16 = 3;
const BY_FAMILY: u16 = 20;
const DUMP_REQUEST: u16 = 0x301;
const SHOW_VFS: u32 = 2;
const VFS: u16 = 1;
const UNIX_MESSAGE: usize = 16;
/// `TCP_LISTEN`, of unix sockets too.
const LISTENING: u32 = 1 << 10;

/// The deadline for the kernel's answer, in seconds. The kernel usually answers at once.
const ANSWER_S: i64 = 2;

/// Which socket files have a listener.
#[derive(Debug, Default)]
pub struct Listeners(HashSet<(u32, u32)>);

impl Listeners {
    /// Asks the kernel. Empty if the kernel does not answer.
    pub fn list() -> Self {
        ask().unwrap_or_default()
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

fn ask() -> nix::Result<Listeners> {
    let fd = socket(
        AddressFamily::Netlink,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )?;
    setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::seconds(ANSWER_S))?;
    send(fd.as_raw_fd(), &request(), MsgFlags::empty())?;
    let mut listeners = Listeners::default();
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let received = recv(fd.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        if !listeners.add_datagram(&buffer[..received]) {
            return Ok(listeners);
        }
    }
}

/// `struct nlmsghdr` and `struct unix_diag_req`: all unix sockets that listen, with their files.
fn request() -> Vec<u8> {
    let family_and_protocol = u32::from_ne_bytes([1, 0, 0, 0]);
    let words = [family_and_protocol, LISTENING, 0, SHOW_VFS, 0, 0];
    let length = u32::try_from(HEADER + 4 * words.len()).unwrap_or_default();
    let mut request = length.to_ne_bytes().to_vec();
    request.extend([BY_FAMILY, DUMP_REQUEST].into_iter().flat_map(u16::to_ne_bytes));
    request.extend([0, 0].into_iter().chain(words).flat_map(u32::to_ne_bytes));
    request
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// Netlink's parts begin at multiples of four bytes.
fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

impl Listeners {
    /// Adds one datagram of the answer. Returns whether more follow.
    fn add_datagram(&mut self, mut datagram: &[u8]) -> bool {
        while let (Some(length), Some(kind)) = (word(datagram, 0), half(datagram, 4)) {
            let length = length as usize;
            // An error, or the end.
            if kind <= DONE || length < HEADER || length > datagram.len() {
                return false;
            }
            self.0.extend(file(&datagram[HEADER..length]));
            datagram = &datagram[aligned(length).min(datagram.len())..];
        }
        true
    }
}

/// `struct unix_diag_msg` and its attributes: inode and device of the socket's file.
fn file(message: &[u8]) -> Option<(u32, u32)> {
    let mut attributes = message.get(UNIX_MESSAGE..)?;
    loop {
        let (length, kind) = (usize::from(half(attributes, 0)?), half(attributes, 2)?);
        if kind == VFS {
            return Some((word(attributes, 4)?, word(attributes, 8)?));
        }
        attributes = attributes.get(aligned(length.max(4))..)?;
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

    #[test]
    fn a_malformed_answer_ends_the_list() {
        let mut listeners = Listeners::default();
        assert!(!listeners.add_datagram(&[0; 64]));
        assert!(!listeners.add_datagram(&[255; 64]));
        assert!(listeners.add_datagram(&[]));
        assert_eq!(file(&[0; 17]), None);
        assert!(listeners.0.is_empty());
    }
}
