//! The report of a sweep.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, Serializer};

/// One sweep over all its directories.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SweepReport {
    /// The number of sockets that the sweep checked.
    pub scanned: u64,
    /// Dead sockets that were removed, or would be with `--dry-run`.
    #[serde(serialize_with = "texts")]
    pub removed: Vec<PathBuf>,
    /// Sockets whose server answers.
    #[serde(serialize_with = "texts")]
    pub live: Vec<PathBuf>,
    /// Sockets whose server accepts connections and did not answer in time; forge leaves them alone.
    #[serde(serialize_with = "texts")]
    pub unresponsive: Vec<PathBuf>,
    /// Protected sockets; forge does not even connect to them.
    #[serde(serialize_with = "texts")]
    pub protected: Vec<PathBuf>,
    /// Files that forge left alone, with the reason.
    pub skipped: Vec<Skipped>,
    /// Sockets of forge's live servers that were missing and exist again.
    #[serde(serialize_with = "texts")]
    pub healed: Vec<PathBuf>,
    pub elapsed_ms: u64,
}

#[derive(Debug, Clone, Serialize)]
pub struct Skipped {
    #[serde(serialize_with = "text")]
    pub path: PathBuf,
    pub reason: String,
}

impl SweepReport {
    /// Adds a file that forge left alone.
    pub fn skip(&mut self, path: PathBuf, reason: impl Into<String>) {
        self.skipped.push(Skipped { path, reason: reason.into() });
    }

    /// Adds the report of another part of the same sweep.
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

/// The last sweep, as `forge probe` reads it from forge's files.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LastSweep {
    /// When it ended, in microseconds since 1970.
    pub at_us: u64,
    pub removed: usize,
}

/// Serializes a path as text; bytes that are not UTF-8 are replaced, because JSON cannot hold them.
fn text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

pub(crate) fn texts<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(paths.iter().map(|path| path.to_string_lossy()))
}

/// `1 dead socket`, `2 dead sockets`.
pub fn dead_sockets(count: usize) -> String {
    sockets(count, "dead")
}

/// `1 stale socket`, `2 stale sockets`: the words of the message of a spawn, which do not change.
pub fn stale_sockets(count: usize) -> String {
    sockets(count, "stale")
}

fn sockets(count: usize, kind: &str) -> String {
    format!("{count} {kind} socket{}", if count == 1 { "" } else { "s" })
}
