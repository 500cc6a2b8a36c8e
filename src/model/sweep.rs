//! What a sweep finds in a socket directory, and what it did about it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, Serializer};

/// The report of one sweep over all its directories.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SweepReport {
    /// Sockets looked at.
    pub scanned: u64,
    /// Dead sockets that were removed, or would be with `--dry-run`.
    #[serde(serialize_with = "texts")]
    pub removed: Vec<PathBuf>,
    /// Sockets whose server answers.
    #[serde(serialize_with = "texts")]
    pub live: Vec<PathBuf>,
    /// Sockets whose server accepts and did not answer in time: left alone.
    #[serde(serialize_with = "texts")]
    pub unresponsive: Vec<PathBuf>,
    /// Sockets that nobody may touch: not even asked.
    #[serde(serialize_with = "texts")]
    pub protected: Vec<PathBuf>,
    /// What was left alone for a reason.
    pub skipped: Vec<Skipped>,
    /// Sockets of live servers of forge that were missing and are back.
    #[serde(serialize_with = "texts")]
    pub healed: Vec<PathBuf>,
    /// How long it took.
    pub elapsed_ms: u64,
}

/// Something that was left alone.
#[derive(Debug, Clone, Serialize)]
pub struct Skipped {
    /// What.
    #[serde(serialize_with = "text")]
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

impl SweepReport {
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

/// What is kept of a sweep for who asks later.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LastSweep {
    /// When it ended, in microseconds since 1970.
    pub at_us: u64,
    /// How many dead sockets it removed.
    pub removed: usize,
}

/// A path as JSON can hold it: a name may be any bytes, and JSON is text.
fn text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

pub(crate) fn texts<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(paths.iter().map(|path| path.to_string_lossy()))
}

/// `1 stale socket`, `2 stale sockets`.
pub fn stale_sockets(count: usize) -> String {
    format!("{count} stale socket{}", if count == 1 { "" } else { "s" })
}
