//! What a sweep finds in a socket directory, and what it did about it.

use std::path::PathBuf;

use serde::Serialize;

/// The report of one sweep over all its directories.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Sockets looked at.
    pub scanned: u64,
    /// Dead sockets that were removed, or would be with `--dry-run`.
    pub removed: Vec<PathBuf>,
    /// Sockets whose server answers.
    pub live: Vec<PathBuf>,
    /// Sockets whose server accepts and did not answer in time: left alone.
    pub unresponsive: Vec<PathBuf>,
    /// Sockets that nobody may touch: not even asked.
    pub protected: Vec<PathBuf>,
    /// What was left alone for a reason.
    pub skipped: Vec<Skipped>,
    /// Sockets of live servers of forge that were missing and are back.
    pub healed: Vec<PathBuf>,
    /// How long it took.
    pub elapsed_ms: u64,
}

/// Something that was left alone.
#[derive(Debug, Clone, Serialize)]
pub struct Skipped {
    /// What.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

impl Report {
    /// Notes something that was left alone.
    pub fn skip(&mut self, path: PathBuf, reason: impl Into<String>) {
        self.skipped.push(Skipped { path, reason: reason.into() });
    }

    /// Takes in the report of another part of the same sweep.
    pub fn absorb(&mut self, other: Self) {
        self.scanned += other.scanned;
        self.removed.extend(other.removed);
        self.live.extend(other.live);
        self.unresponsive.extend(other.unresponsive);
        self.protected.extend(other.protected);
        self.skipped.extend(other.skipped);
        self.healed.extend(other.healed);
    }
}

/// `1 stale socket`, `2 stale sockets`.
pub fn stale_sockets(count: usize) -> String {
    format!("{count} stale socket{}", if count == 1 { "" } else { "s" })
}
