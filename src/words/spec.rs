//! What a user asked for: everything that is needed to start a session, and to start it again.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::command::Argv;
use super::limits::Limits;
use super::name::SessionId;
use super::ready::Ready;

/// The version of the file that holds a [`Spec`].
pub const VERSION: u32 = 1;

/// The specification of one session. It is on disk from before the session starts until the
/// session is stopped or ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// [`VERSION`] when it was written.
    pub version: u32,
    /// The session.
    pub session: SessionId,
    /// The program and its arguments.
    pub command: Argv,
    /// Where it starts: absolute.
    pub cwd: PathBuf,
    /// What the user gave with `--env` or in the configuration; not the caller's environment.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// What shows that it is up; without it, up means that the program runs.
    #[serde(default)]
    pub ready: Option<Ready>,
    /// How long to wait for that, in seconds.
    pub ready_timeout_s: u64,
    /// What it may use.
    #[serde(default)]
    pub limits: Limits,
}

/// How long a prompt may take to come up when nobody said otherwise, in seconds.
pub const READY_TIMEOUT_S: u64 = 30;
