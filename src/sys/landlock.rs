//! Restrictions that a process puts on itself and its children with the kernel's Landlock (landlock(7)).

use landlock::{AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreated, RulesetError};

use crate::model::error::{Error, Result};

/// A set of rules that denies every TCP port, without exception.
fn no_bind() -> std::result::Result<RulesetCreated, RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessNet::BindTcp)?
        .create()
}

/// Whether this kernel can deny TCP ports (Linux 6.7, and Landlock not turned off).
pub fn can_deny_bind() -> bool {
    no_bind().is_ok()
}

/// Denies this process and its children to take a TCP port with bind(2), and to gain privileges with execve(2): sudo
/// no longer works. The kernel still allows listen(2) on a socket that has no port yet, and Multipath TCP (both
/// measured).
///
/// # Errors
/// `Failed` if the kernel refuses.
pub fn deny_bind() -> Result<()> {
    no_bind()
        .and_then(RulesetCreated::restrict_self)
        .map(drop)
        .map_err(|error| Error::failed(format!("the kernel cannot deny TCP ports: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_restricted_thread_cannot_bind() {
        // Use a thread of its own: the restrictions apply to that thread only.
        let tried = std::thread::spawn(|| {
            if !can_deny_bind() {
                assert!(deny_bind().is_err());
                return None;
            }
            deny_bind().unwrap();
            Some(TcpListener::bind("127.0.0.1:0").map(drop))
        });
        if let Some(bound) = tried.join().unwrap() {
            assert_eq!(bound.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
        }
        TcpListener::bind("127.0.0.1:0").unwrap();
    }
}
