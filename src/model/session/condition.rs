//! The condition of a session: the facts, the state that forge shows for them, and what the supervisor does.
//! [`Condition::table`] prints all conditions for `docs/supervision.md`.

use super::State;

/// The answer on the socket of a live server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Answers,
    /// The server accepts connections and does not answer.
    Silent,
    /// No process listens.
    Refused,
    Missing,
}

/// `ActiveState=` of a unit, reduced to the values that differ here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Active {
    /// active, reloading
    Active,
    Activating,
    Deactivating,
    Failed,
    /// inactive, or not loaded
    Inactive,
}

impl Active {
    pub fn from_word(word: &str) -> Self {
        match word {
            "active" | "reloading" | "refreshing" => Self::Active,
            "activating" => Self::Activating,
            "deactivating" => Self::Deactivating,
            "failed" => Self::Failed,
            _ => Self::Inactive,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessLife {
    /// The process runs or sleeps.
    Alive,
    /// A signal stopped it (SIGSTOP, Ctrl-Z).
    Stopped,
    /// A debugger has stopped it.
    Traced,
    /// It does not exist, or is a zombie.
    Gone,
}

impl ProcessLife {
    pub fn is_there(self) -> bool {
        self != Self::Gone
    }
}

/// The observed facts of a session.
#[derive(Debug, Clone, Copy)]
pub struct SessionFacts {
    /// `ActiveState=` of the scope; `Inactive` if there is no scope.
    pub scope: Active,
    /// `ActiveState=` of the slice.
    pub slice: Active,
    /// `frozen` in the slice's `cgroup.events`.
    pub frozen: bool,
    /// Whether the spawn has finished.
    pub up: bool,
    /// Whether the spawn is still running.
    pub spawning: bool,
    pub server: ProcessLife,
    pub program: ProcessLife,
    pub answer: Answer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// The tmux server and the program are alive, and the server answers.
    Healthy,
    /// The same, but the socket file is missing.
    SocketMissing,
    /// The program is stopped or traced, or the server is traced.
    Held,
    Frozen,
    /// `forge spawn` is still starting it.
    Starting,
    /// systemd is stopping it.
    Stopping,
    /// The server is alive and does not answer.
    Wedged,
    /// The program ended, and the server is alive.
    ProgramEnded,
    /// The server ended; processes may be left in the scope or the slice.
    ServerEnded,
    /// Its spawn was killed before it finished.
    Abandoned,
    /// Its scope is in the failed state.
    Failed,
}

/// The reaction of a supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Leave,
    /// Wait until the condition changes.
    Wait,
    /// Ask the server to create its socket again.
    Heal,
    /// Restart the session if the condition lasts until the deadline.
    RestartLate,
    /// Record the end; then the restart policy decides.
    Restart,
    /// End the remains, then start the session.
    Clear,
}

impl Action {
    fn words(self) -> &'static str {
        match self {
            Self::Leave => "nothing",
            Self::Wait => "waits until that is over",
            Self::Heal => "asks the server to create its socket again (SIGUSR1)",
            Self::RestartLate => {
                "reports the session as `stuck`; restarts it after `stuck_restart_after` (10 minutes if that is not \
                 set), unless `restart` is `never`"
            }
            Self::Restart => {
                "records the end, ends all processes, and restarts the session if `restart` says so"
            }
            Self::Clear => "ends all processes, and starts the session again",
        }
    }
}

impl Condition {
    /// All conditions. The first one that holds counts.
    pub const ALL: [Self; 11] = [
        Self::Stopping,
        Self::Failed,
        Self::Frozen,
        Self::Starting,
        Self::Abandoned,
        Self::ServerEnded,
        Self::ProgramEnded,
        Self::Held,
        Self::Wedged,
        Self::SocketMissing,
        Self::Healthy,
    ];

    /// The condition for these facts. In doubt the session counts as alive: only the end of a process makes it
    /// ended, and a missing socket alone does not.
    pub fn of(facts: SessionFacts) -> Self {
        let holds = |condition: &Self| match condition {
            Self::Stopping => facts.scope == Active::Deactivating || facts.slice == Active::Deactivating,
            Self::Failed => facts.scope == Active::Failed,
            Self::Frozen => facts.frozen,
            Self::Starting => facts.spawning && !facts.up,
            Self::Abandoned => !facts.up,
            Self::ServerEnded => facts.scope == Active::Inactive || !facts.server.is_there(),
            Self::ProgramEnded => !facts.program.is_there(),
            Self::Held => facts.program != ProcessLife::Alive || facts.server == ProcessLife::Traced,
            Self::Wedged => facts.answer == Answer::Silent,
            Self::SocketMissing => facts.answer == Answer::Missing,
            Self::Healthy => true,
        };
        Self::ALL.into_iter().find(holds).unwrap_or(Self::Healthy)
    }

    /// The state that `forge list` shows.
    pub fn state(self) -> State {
        match self {
            Self::Healthy | Self::SocketMissing | Self::Held => State::Running,
            Self::Frozen => State::Frozen,
            Self::Starting => State::Starting,
            Self::Stopping => State::Stopping,
            Self::Wedged => State::Wedged,
            Self::ProgramEnded | Self::ServerEnded | Self::Abandoned => State::Dead,
            Self::Failed => State::Failed,
        }
    }

    pub fn action(self) -> Action {
        match self {
            Self::Healthy | Self::Held | Self::Frozen => Action::Leave,
            Self::SocketMissing => Action::Heal,
            Self::Starting | Self::Stopping => Action::Wait,
            Self::Wedged => Action::RestartLate,
            Self::ProgramEnded | Self::ServerEnded => Action::Restart,
            Self::Abandoned | Self::Failed => Action::Clear,
        }
    }

    /// Whether silence can mean that the session is stuck. It cannot for a session that was frozen or stopped
    /// on purpose.
    pub fn can_be_stuck(self) -> bool {
        matches!(self, Self::Healthy | Self::SocketMissing)
    }

    /// The facts in words, for the table.
    fn facts(self) -> &'static str {
        match self {
            Self::Stopping => "systemd is stopping its scope or its slice",
            Self::Failed => "its scope is in the failed state",
            Self::Frozen => "its control group is frozen",
            Self::Starting => "its spawn is still running",
            Self::Abandoned => "its spawn was killed before it finished",
            Self::ServerEnded => "its tmux server ended, or its scope is gone; processes may be left",
            Self::ProgramEnded => "its program ended, and its server is alive",
            Self::Held => "its program is stopped (Ctrl-Z, SIGSTOP) or debugged, or its server is debugged",
            Self::Wedged => "its server is alive and does not answer",
            Self::SocketMissing => "its server is alive, and its socket file is gone",
            Self::Healthy => "server and program are alive, and the server answers",
        }
    }

    /// The conditions as a table in Markdown.
    pub fn table() -> String {
        let head = "| condition | state | what its supervisor does |\n| --- | --- | --- |\n";
        Self::ALL.into_iter().fold(head.to_owned(), |table, condition| {
            let (seen, state, action) =
                (condition.facts(), condition.state().word(), condition.action().words());
            format!("{table}| {seen} | `{state}` | {action} |\n")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEALTHY: SessionFacts = SessionFacts {
        scope: Active::Active,
        slice: Active::Active,
        frozen: false,
        up: true,
        spawning: false,
        server: ProcessLife::Alive,
        program: ProcessLife::Alive,
        answer: Answer::Answers,
    };

    #[test]
    fn each_condition_has_its_facts() {
        let table = [
            (HEALTHY, Condition::Healthy),
            (SessionFacts { answer: Answer::Silent, ..HEALTHY }, Condition::Wedged),
            (
                SessionFacts { answer: Answer::Silent, server: ProcessLife::Stopped, ..HEALTHY },
                Condition::Wedged,
            ),
            (
                SessionFacts { answer: Answer::Silent, server: ProcessLife::Traced, ..HEALTHY },
                Condition::Held,
            ),
            (SessionFacts { answer: Answer::Missing, ..HEALTHY }, Condition::SocketMissing),
            (SessionFacts { program: ProcessLife::Stopped, ..HEALTHY }, Condition::Held),
            (SessionFacts { program: ProcessLife::Traced, ..HEALTHY }, Condition::Held),
            (SessionFacts { program: ProcessLife::Gone, ..HEALTHY }, Condition::ProgramEnded),
            (
                SessionFacts { server: ProcessLife::Gone, answer: Answer::Refused, ..HEALTHY },
                Condition::ServerEnded,
            ),
            (
                SessionFacts { server: ProcessLife::Gone, program: ProcessLife::Gone, ..HEALTHY },
                Condition::ServerEnded,
            ),
            (SessionFacts { scope: Active::Inactive, ..HEALTHY }, Condition::ServerEnded),
            (SessionFacts { scope: Active::Deactivating, ..HEALTHY }, Condition::Stopping),
            (SessionFacts { slice: Active::Deactivating, ..HEALTHY }, Condition::Stopping),
            (SessionFacts { scope: Active::Failed, ..HEALTHY }, Condition::Failed),
            (SessionFacts { frozen: true, answer: Answer::Silent, ..HEALTHY }, Condition::Frozen),
            (
                SessionFacts { up: false, spawning: true, program: ProcessLife::Gone, ..HEALTHY },
                Condition::Starting,
            ),
            (SessionFacts { up: false, ..HEALTHY }, Condition::Abandoned),
        ];
        for (facts, condition) in table {
            assert_eq!(Condition::of(facts), condition, "{facts:?}");
        }
        for condition in Condition::ALL {
            assert!(table.iter().any(|(_, seen)| *seen == condition), "{condition:?} has no facts");
        }
    }

    #[test]
    fn a_session_that_was_frozen_or_stopped_is_left_alone() {
        for condition in [Condition::Held, Condition::Frozen] {
            assert_eq!((condition.action(), condition.can_be_stuck()), (Action::Leave, false));
        }
    }

    #[test]
    fn the_documentation_has_this_table() {
        assert!(
            include_str!("../../../docs/supervision.md").contains(&Condition::table()),
            "docs/supervision.md lacks:\n{}",
            Condition::table()
        );
    }
}
