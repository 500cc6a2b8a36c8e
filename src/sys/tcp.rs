//! Listeners on TCP ports: the kernel's table of sockets (`proc_net(5)`), and the process that holds a socket, by
//! the socket's inode.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::cgroup;
use super::proc::{self, process_name};
use crate::model::error::{Result, Trying};

/// `TCP_LISTEN` in the tables.
const LISTEN: &str = "0A";

/// A listening socket and its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    pub address: SocketAddr,
    /// The uid of the socket's owner.
    pub uid: u32,
    /// The holder; `None` if it is another user's process, or in another container.
    pub process: Option<Holder>,
}

/// A process that holds a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub pid: u32,
    /// Its name, as the kernel keeps it: 15 bytes at most.
    pub name: String,
    pub cgroup: String,
}

/// All sockets that listen on one of these ports, on any address: a wildcard address takes the port on every
/// address, and IPv6's wildcard takes it for IPv4, too.
///
/// # Errors
/// `Failed` if the kernel's tables cannot be read.
pub fn listeners(ports: &[u16]) -> Result<Vec<Listener>> {
    let mut found = rows()?;
    found.retain(|row| ports.contains(&row.address.port()));
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let holders = holders(&proc::pids(), &found);
    Ok(found
        .into_iter()
        .map(|row| Listener { address: row.address, uid: row.uid, process: holders.get(&row.inode).cloned() })
        .collect())
}

/// A listening socket in the kernel's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketRow {
    pub address: SocketAddr,
    /// The socket's inode. No other socket has this number while the socket is open.
    pub inode: u64,
    /// The uid of the socket's owner.
    pub uid: u32,
}

/// All sockets that listen on TCP ports. A Multipath TCP socket appears as the TCP socket inside it.
///
/// # Errors
/// `Failed` if the kernel's tables cannot be read.
pub fn rows() -> Result<Vec<SocketRow>> {
    let mut found = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = match std::fs::read_to_string(table) {
            Ok(text) => text,
            // The kernel has no IPv6.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).trying(format!("cannot read {table}")),
        };
        found.extend(text.lines().filter_map(parse_row));
    }
    Ok(found)
}

/// Parses a line of the table; `None` if the socket does not listen.
pub fn parse_row(line: &str) -> Option<SocketRow> {
    let mut fields = line.split_ascii_whitespace();
    let (address, port) = fields.nth(1)?.split_once(':')?;
    let state = fields.nth(1)?;
    let uid = fields.nth(3)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    if state != LISTEN {
        return None;
    }
    let port = u16::from_str_radix(port, 16).ok()?;
    // Words of 4 bytes, each in the machine's byte order.
    let mut bytes = Vec::new();
    for at in (0..address.len()).step_by(8) {
        bytes.extend(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    }
    let ip = match bytes.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        _ => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
    };
    Some(SocketRow { address: SocketAddr::new(ip, port), uid, inode })
}

/// The process, if it belongs to this user and its descriptors cannot be read.
pub fn hidden(pid: u32, uid: u32) -> Option<Holder> {
    let denied = std::fs::read_dir(format!("/proc/{pid}/fd")).err()?;
    // Root owns the directory of such a process. The file in it names the process's user.
    let status = proc::read(&format!("{pid}/status")).ok()?;
    let owner =
        status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().nth(1)?.parse().ok());
    let is_hidden = denied.kind() == std::io::ErrorKind::PermissionDenied && owner == Some(uid);
    is_hidden.then(|| Holder {
        pid,
        name: process_name(pid),
        cgroup: cgroup::of_process(pid).unwrap_or_default(),
    })
}

/// The holders of these sockets among these processes, as far as forge may read their descriptors. The key is the
/// socket's inode.
pub fn holders(processes: &[u32], rows: &[SocketRow]) -> BTreeMap<u64, Holder> {
    let mut found = BTreeMap::new();
    for pid in processes {
        for inode in proc::sockets(*pid).into_iter().map(u64::from) {
            if !rows.iter().any(|row| row.inode == inode) {
                continue;
            }
            if let Some(cgroup) = cgroup::of_process(*pid) {
                let name = process_name(*pid);
                found.entry(inode).or_insert(Holder { pid: *pid, name, cgroup });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn rows_of_listening_sockets_are_parsed() {
        let v4 = "   0: 0100007F:1ED2 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 x";
        let row = parse_row(v4).unwrap();
        assert_eq!((row.address.to_string().as_str(), row.uid, row.inode), ("127.0.0.1:7890", 1000, 4711));
        let v6 = "   1: 00000000000000000000000000000000:1ED2 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 42";
        assert_eq!(parse_row(v6).unwrap().address.to_string(), "[::]:7890");
        assert!(parse_row(&v4.replace(" 0A ", " 01 ")).is_none(), "a connection is not a listener");
        assert!(parse_row("  sl  local_address rem_address   st tx_queue rx_queue").is_none());
    }

    #[test]
    fn a_listener_is_found_on_every_kind_of_address() {
        for address in ["127.0.0.1:0", "127.0.0.2:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                assert!(address.starts_with('['), "{address}");
                continue;
            };
            let port = listener.local_addr().unwrap().port();
            let found = listeners(&[port]).unwrap();
            assert!(
                found.iter().any(|found| found.process.as_ref().is_some_and(|p| p.pid == std::process::id())),
                "{address}: {found:?}"
            );
        }
    }
}
