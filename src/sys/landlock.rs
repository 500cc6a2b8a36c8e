//! What a process gives up for itself and all that it starts, by the kernel's Landlock (landlock(7)).

use landlock::{AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreated, RulesetError};

use crate::model::error::{Error, Result};

/// A set of rules that lets nobody take a TCP port; it has no exception.
fn no_bind() -> std::result::Result<RulesetCreated, RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessNet::BindTcp)?
        .create()
}

/// Whether this kernel can deny it (Linux 6.7, and Landlock not turned off).
pub fn can_deny_bind() -> bool {
    no_bind().is_ok()
}

/// From now on neither this process nor what it starts can take a TCP port by bind(2), nor gain
/// privileges by execve(2): sudo does not work any more. What the kernel lets through all the same:
/// listen(2) on a socket that has no port yet, and Multipath TCP (both measured).
///
/// # Errors
/// When the kernel cannot.
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
    fn a_thread_that_gave_it_up_cannot_bind() {
        // A thread of its own: for those that it does not start nothing changes.
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
