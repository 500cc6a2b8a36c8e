//! The kernel's list of Unix sockets (`sock_diag(7)`), over netlink. It has the sockets of this network namespace.

use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// `linux/netlink.h`, `linux/sock_diag.h`, `linux/unix_diag.h`.
const HEADER: usize = 16;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const BY_FAMILY: u16 = 20;
const DUMP_REQUEST: u16 = 0x301;
const UNIX_MESSAGE: usize = 16;
const NAME: u16 = 0;
const VFS: u16 = 1;
const PEER: u16 = 2;

/// `TCP_ESTABLISHED` and `TCP_LISTEN`, of Unix sockets too.
pub(super) const CONNECTED: u32 = 1 << 1;
pub(super) const LISTENING: u32 = 1 << 10;

/// `UDIAG_SHOW_NAME`, `UDIAG_SHOW_VFS` and `UDIAG_SHOW_PEER`.
pub(super) const SHOW_NAME: u32 = 1;
pub(super) const SHOW_VFS: u32 = 2;
pub(super) const SHOW_PEER: u32 = 4;

/// The deadline for the kernel's answer, in seconds. The kernel usually answers at once.
const ANSWER_S: i64 = 2;

/// A Unix socket in the kernel's list. An attribute that was not requested is missing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct UnixSocket {
    /// Its number in `/proc/PID/fd`.
    pub inode: u32,
    /// The socket at the other end of its connection.
    pub peer: Option<u32>,
    /// Whether it has an address. A server's end of a connection has the address that the server listens on.
    pub is_named: bool,
    /// The low half of the inode's number, and the device, of the socket's file.
    pub file: Option<(u32, u32)>,
}

/// The Unix sockets in these states, with these attributes.
///
/// # Errors
/// The kernel's error: it has no such list, a filter forbids the call, or it does not answer within 2 seconds.
pub(super) fn unix_sockets(states: u32, show: u32) -> nix::Result<Vec<UnixSocket>> {
    let fd = socket(
        AddressFamily::Netlink,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )?;
    setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::seconds(ANSWER_S))?;
    send(fd.as_raw_fd(), &request(states, show), MsgFlags::empty())?;
    let mut sockets = Vec::new();
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let received = recv(fd.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        if !add_datagram(&buffer[..received], &mut sockets)? {
            return Ok(sockets);
        }
    }
}

/// `struct nlmsghdr` and `struct unix_diag_req`.
fn request(states: u32, show: u32) -> Vec<u8> {
    let family_and_protocol = u32::from_ne_bytes([1, 0, 0, 0]);
    let words = [family_and_protocol, states, 0, show, 0, 0];
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

/// Adds one datagram of the answer. Returns whether more follow.
fn add_datagram(mut datagram: &[u8], sockets: &mut Vec<UnixSocket>) -> nix::Result<bool> {
    while let (Some(length), Some(kind)) = (word(datagram, 0), half(datagram, 4)) {
        let length = length as usize;
        if kind == DONE {
            return Ok(false);
        }
        if kind <= ERROR || length < HEADER || length > datagram.len() {
            // `struct nlmsgerr` begins with the negative error number.
            let number = word(datagram, HEADER).map_or(0, |word| word.cast_signed().wrapping_neg());
            return Err(if kind == ERROR { Errno::from_raw(number) } else { Errno::EBADMSG });
        }
        sockets.extend(unix_socket(&datagram[HEADER..length]));
        datagram = &datagram[aligned(length).min(datagram.len())..];
    }
    Ok(true)
}

/// `struct unix_diag_msg` and its attributes.
fn unix_socket(message: &[u8]) -> Option<UnixSocket> {
    let mut socket = UnixSocket { inode: word(message, 4)?, ..UnixSocket::default() };
    let mut attributes = message.get(UNIX_MESSAGE..)?;
    while let (Some(length), Some(kind)) = (half(attributes, 0), half(attributes, 2)) {
        let length = usize::from(length);
        match kind {
            NAME => socket.is_named = length > 4,
            VFS => socket.file = word(attributes, 4).zip(word(attributes, 8)),
            PEER => socket.peer = word(attributes, 4),
            _ => {}
        }
        attributes = attributes.get(aligned(length.max(4))..).unwrap_or_default();
    }
    Some(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_answer_is_an_error() {
        let mut sockets = Vec::new();
        assert_eq!(add_datagram(&[0; 64], &mut sockets), Err(Errno::EBADMSG));
        assert_eq!(add_datagram(&[255; 64], &mut sockets), Err(Errno::EBADMSG));
        assert_eq!(add_datagram(&[], &mut sockets), Ok(true));
        assert_eq!(unix_socket(&[0; 7]), None);
        assert_eq!(unix_socket(&[0; 19]), Some(UnixSocket::default()));
        assert!(sockets.is_empty());
    }

    #[test]
    fn the_kernels_error_is_kept() {
        let mut message = 36u32.to_ne_bytes().to_vec();
        message.extend([ERROR, 0].into_iter().flat_map(u16::to_ne_bytes));
        message.extend([0; 8]);
        message.extend((-(Errno::EPERM as i32)).to_ne_bytes());
        message.extend([0; 16]);
        assert_eq!(add_datagram(&message, &mut Vec::new()), Err(Errno::EPERM));
    }
}
