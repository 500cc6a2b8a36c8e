//! The events that forge records in the journal.
//!
//! `kinds.rs` is their one table: each entry has an event's data, word, message id, level, text and journal
//! fields. `packaging/forge.catalog` has an entry for each message id. The journal drops fields with
//! invalid names silently; `expected_records.txt` has the records that the tests expect, field by field.

mod kinds;
mod table;
#[cfg(test)]
mod tests;

use std::fmt;

use super::output::plain;
use super::unit;
use super::usage::{self, Usage};
use crate::model::guard::unit_state::{Guarded, ManagerKind};
use crate::model::session::name::SessionId;

pub use kinds::{Event, KINDS};

/// The tracing target of events; all other targets are progress or debug output.
pub const TARGET: &str = "forge";

/// The session or the guarded command that a record belongs to: `FORGE_SESSION=` and `FORGE_GUARD=`.
#[derive(Debug, Clone, Copy)]
enum About<'a> {
    Session(&'a SessionId),
    /// By the guarded command's id.
    Guard(&'a str),
    Neither,
}

impl<'a> About<'a> {
    fn session(self) -> Option<&'a SessionId> {
        if let Self::Session(session) = self { Some(session) } else { None }
    }

    fn guard(self) -> Option<&'a str> {
        if let Self::Guard(guard) = self { Some(guard) } else { None }
    }
}

impl From<()> for About<'_> {
    fn from((): ()) -> Self {
        Self::Neither
    }
}

impl<'a> From<&'a SessionId> for About<'a> {
    fn from(session: &'a SessionId) -> Self {
        Self::Session(session)
    }
}

impl<'a> From<&'a Option<SessionId>> for About<'a> {
    fn from(session: &'a Option<SessionId>) -> Self {
        session.as_ref().map_or(Self::Neither, Self::Session)
    }
}

impl<'a> From<&'a String> for About<'a> {
    fn from(guard: &'a String) -> Self {
        Self::Guard(guard)
    }
}

impl<'a> From<&'a Option<String>> for About<'a> {
    fn from(guard: &'a Option<String>) -> Self {
        guard.as_deref().map_or(Self::Neither, Self::Guard)
    }
}

impl<'a> From<&'a Subject> for About<'a> {
    fn from(subject: &'a Subject) -> Self {
        match subject {
            Subject::Session(session) => Self::Session(session),
            Subject::Guarded(id) => Self::Guard(id),
        }
    }
}

/// The target of a freeze or thaw.
#[derive(Debug, Clone)]
pub enum Subject {
    Session(SessionId),
    /// A guarded command, by its id.
    Guarded(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(session) => session.fmt(f),
            Self::Guarded(id) => write!(f, "the guarded command {id}"),
        }
    }
}

impl Event {
    /// The text for people, without control characters: journalctl prints no text that contains them.
    pub fn message(&self) -> String {
        plain(&self.text())
    }

    /// The user unit for `USER_UNIT=`, so that `journalctl --user -u UNIT` shows the record: the disturbed
    /// unit, the session's supervisor (whether or not it exists), or the guarded command's scope.
    fn user_unit(&self) -> Option<String> {
        match self {
            Self::GuardDisturbed { changed, .. } if changed.unit.manager == ManagerKind::User => {
                Some(changed.unit.unit.clone())
            }
            _ => match self.about() {
                About::Session(session) => Some(unit::service(session)),
                About::Guard(guard) => Some(unit::guard_scope(guard)),
                About::Neither => None,
            },
        }
    }
}

/// The units' names, separated by commas.
pub fn names(units: &[Guarded]) -> String {
    units.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// ` (ran 4m 5s, 2.3s CPU, 1.5G memory at most)`, as far as the values are known.
fn used(used: &Usage) -> String {
    let mut parts = Vec::new();
    if let Some(usec) = used.duration_usec {
        parts.push(format!("ran {}", usage::duration(usec / 1_000_000)));
    }
    if let Some(usec) = used.cpu_usec {
        parts.push(format!("{} CPU", usage::cpu(usec)));
    }
    if let Some(bytes) = used.memory_peak {
        parts.push(format!("{} memory at most", usage::size(bytes)));
    }
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}
