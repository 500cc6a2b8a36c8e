//! The locks that order the work on a session: one process at a time starts it, clears it or types
//! into it.

use std::path::PathBuf;

use super::lock::{Claim, is_locked, lock_with_pid, try_lock, wait_for_lock};
use super::{SPEC_TURN, Store};
use crate::model::error::{Error, Kind, Result};
use crate::model::session::name::SessionId;
use crate::sys::clock::Deadline;
use crate::sys::files;

impl Store {
    /// The path of a lock file. A session's id contains no dot, so names with a dot cannot clash with ids.
    fn lock_path(&self, name: &str) -> Result<PathBuf> {
        files::private_dir(&self.locks)?;
        Ok(self.locks.join(name))
    }

    /// Claims the name of a session for a spawn, until the value is dropped or the process ends.
    ///
    /// # Errors
    /// `Taken`, with the holder's pid, if another process is spawning the session; `Missing` if the user
    /// has no runtime directory; `Failed` if the file cannot be locked.
    pub fn claim(&self, id: &SessionId) -> Result<Claim> {
        let path = self.lock_path(id.as_str()).map_err(|error| match error.kind {
            Kind::Failed if error.hint.is_none() => Error::new(Kind::Missing, error.message)
                .hint("log in on the machine, or run 'loginctl enable-linger', so that systemd makes it"),
            _ => error,
        })?;
        lock_with_pid(&path)?.map_err(|pid| {
            Error::new(Kind::Taken, format!("{id} is being spawned by process {pid} right now"))
                .hint(format!("wait for it, then see 'forge status {id}'"))
        })
    }

    /// Whether a process is spawning the session. True if that cannot be read.
    pub fn is_claimed(&self, id: &SessionId) -> bool {
        is_locked(&self.locks.join(id.as_str()))
    }

    /// Claims a conversation for the start of a session. `None` if another session is being started
    /// with it.
    ///
    /// # Errors
    /// `Failed` if the file cannot be locked.
    pub fn claim_conversation(&self, conversation: &str) -> Result<Option<Claim>> {
        try_lock(&self.lock_path(&format!("conversation.{conversation}"))?)
    }

    /// One of `turns` locks that limit how many sessions start at a time. `None` if all are held.
    ///
    /// # Errors
    /// `Failed` if a file cannot be locked.
    pub fn starting_turn(&self, turns: usize) -> Result<Option<Claim>> {
        for turn in 0..turns {
            if let Some(turn) = try_lock(&self.lock_path(&format!("turn.{turn}"))?)? {
                return Ok(Some(turn));
            }
        }
        Ok(None)
    }

    /// Waits for the lock on clearing a session whose program ended. A spawn of the same name waits for it,
    /// too: clearing works by names, and must not clear the next run.
    ///
    /// # Errors
    /// `Deadline` if another process holds the lock for longer; `Failed` if the file cannot be locked.
    pub fn clearing_turn(&self, id: &SessionId, deadline: Deadline) -> Result<Claim> {
        let path = self.lock_path(&format!("{id}.clearing"))?;
        wait_for_lock(&path, deadline, &format!("the processes of {id}'s last run are still being ended"))
    }

    /// Waits for the lock on typing into the session.
    ///
    /// # Errors
    /// `Deadline` if another process holds the lock for longer; `Failed` if the file cannot be locked.
    pub fn typing_turn(&self, id: &SessionId, deadline: Deadline) -> Result<Claim> {
        let path = self.lock_path(&format!("{id}.typing"))?;
        wait_for_lock(&path, deadline, &format!("another process is typing into {id}"))
    }

    /// Waits for the lock on changing a session's specification. If forge cannot get the lock, the work
    /// goes on without it: it matters more that a session can be stopped.
    pub(super) fn spec_turn(&self, id: &SessionId) -> Option<Claim> {
        let path = self.lock_path(&format!("{id}.spec")).ok()?;
        wait_for_lock(&path, Deadline::after(SPEC_TURN), "the specification is being written").ok()
    }

    /// Waits for the lock on restoring sessions.
    ///
    /// # Errors
    /// `Deadline` if another process holds the lock for longer; `Failed` if the file cannot be locked.
    pub fn restore_turn(&self, deadline: Deadline) -> Result<Claim> {
        if let Some(dir) = self.restored.parent() {
            files::private_dir(dir)?;
        }
        let path = self.restored.with_extension("lock");
        wait_for_lock(&path, deadline, "another forge is still restoring the sessions")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_has_one_holder_and_ends_with_it() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::below(root.path(), root.path());
        let id = SessionId::from_name("demo").unwrap();
        assert!(!store.is_claimed(&id));
        let claim = store.claim(&id).unwrap();
        assert!(store.is_claimed(&id));
        let refused = store.claim(&id).unwrap_err();
        assert_eq!(refused.kind, Kind::Taken);
        assert!(refused.message.contains(&std::process::id().to_string()), "{refused}");
        assert!(store.is_claimed(&id), "a test of the lock does not release it");
        drop(claim);
        assert!(!store.is_claimed(&id));
        store.claim(&id).unwrap();
    }
}
