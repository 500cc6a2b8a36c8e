//! Processes outside a session that do work for it: a daemon of its program in another session, for example.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::name::SessionId;

/// A process outside a session's slice to which a process of the session is connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutsideProcess {
    pub pid: u32,
    /// Its arguments, as the process shows them.
    pub command: Vec<String>,
    /// The session that it runs in; null if it runs in none.
    pub session: Option<SessionId>,
    /// The slice of that session; else the unit that it runs in.
    pub unit: Option<String>,
    /// Whether it runs the same program as the process that is connected to it: the program's own daemon.
    pub same_program: bool,
}

/// The advice against a program that works in a daemon.
pub const WITHOUT_DAEMON: &str =
    "start the program with the option that keeps its work in its own process (codex: --no-daemon)";

impl OutsideProcess {
    /// The name of its program.
    fn name(&self) -> &str {
        let program = self.command.first().map(Path::new).and_then(Path::file_name);
        program.and_then(|name| name.to_str()).unwrap_or("?")
    }

    /// The problem of a running session that works in its program's daemon.
    pub fn works(&self, id: &SessionId) -> String {
        format!(
            "{id} works in {self}: 'forge stop {id}' does not end that work, and no limit of {id} applies"
        )
    }

    /// The lines of `forge stop` about a process that outlives the session.
    pub fn outlives(&self, id: &SessionId) -> Vec<String> {
        let ends = match &self.session {
            Some(session) => format!("'forge stop {session}' ends it"),
            None => format!("'kill {}' ends it", self.pid),
        };
        if self.same_program {
            let warning = format!("warning: {id} worked in {self}, which may go on with that work");
            vec![warning, format!("  {ends}; to prevent this, {WITHOUT_DAEMON}")]
        } else {
            vec![format!("{id} was connected to {self}, which runs on; {ends}")]
        }
    }
}

/// `process 42 (codex) of session a`
impl fmt::Display for OutsideProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.pid, self.name())?;
        match (&self.session, &self.unit) {
            (Some(session), _) => write!(f, " of session {session}"),
            (None, Some(unit)) => write!(f, " in {unit}"),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warning_says_which_process_runs_on_and_what_ends_it() {
        let id = |name| SessionId::from_name(name).unwrap();
        let daemon = OutsideProcess {
            pid: 42,
            command: vec!["/opt/bin/codex".into(), "daemon".into()],
            session: Some(id("a")),
            unit: Some("forge-a.slice".into()),
            same_program: true,
        };
        let lines = daemon.outlives(&id("b"));
        assert_eq!(
            lines[0],
            "warning: b worked in process 42 (codex) of session a, which may go on with that work"
        );
        assert!(lines[1].starts_with("  'forge stop a' ends it; to prevent this, start"), "{lines:?}");
        let own = OutsideProcess { session: None, unit: Some("session-3.scope".into()), ..daemon.clone() };
        assert!(own.outlives(&id("b"))[0].contains("process 42 (codex) in session-3.scope"));
        assert!(own.outlives(&id("b"))[1].starts_with("  'kill 42' ends it"));
        let other = OutsideProcess { same_program: false, command: Vec::new(), ..daemon };
        assert_eq!(
            other.outlives(&id("b")),
            ["b was connected to process 42 (?) of session a, which runs on; 'forge stop a' ends it"]
        );
    }
}
