//! The condition of a session: what was seen of it, what that is called, and what its supervisor
//! does about it. The one table of all that is [`Condition::ALL`]; the manual shows it.

use super::State;

/// What the socket of a live server says when asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It answered.
    Answers,
    /// It accepts and does not answer.
    Silent,
    /// Nobody listens.
    Refused,
    /// There is no socket.
    Missing,
}

/// `ActiveState=` of a unit, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Active {
    /// active, reloading
    Active,
    /// activating
    Activating,
    /// deactivating
    Deactivating,
    /// failed
    Failed,
    /// inactive, or not loaded
    Inactive,
}

impl Active {
    /// Reads the manager's word.
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

/// How a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessLife {
    /// It runs, or waits for something.
    Alive,
    /// A signal stopped it (SIGSTOP, Ctrl-Z).
    Stopped,
    /// A debugger holds it.
    Traced,
    /// It is gone, or a zombie.
    Gone,
}

impl ProcessLife {
    /// Whether it is there.
    pub fn is_there(self) -> bool {
        self != Self::Gone
    }
}

/// What was seen of a session.
#[derive(Debug, Clone, Copy)]
pub struct SessionFacts {
    /// `ActiveState=` of the scope, `inactive` where there is none.
    pub scope: Active,
    /// `ActiveState=` of the slice.
    pub slice: Active,
    /// `frozen` in the slice's `cgroup.events`.
    pub frozen: bool,
    /// Whether the spawn came to its end.
    pub up: bool,
    /// Whether the spawn is still under way.
    pub spawning: bool,
    /// The server's process.
    pub server: ProcessLife,
    /// The program's process.
    pub program: ProcessLife,
    /// What the server says.
    pub answer: Answer,
}

/// How a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Server and program are alive, and the server answers.
    Healthy,
    /// The same, without a socket file.
    SocketMissing,
    /// Somebody stopped or traces the program, or traces the server.
    Held,
    /// All its processes are frozen.
    Frozen,
    /// Its spawn is under way.
    Starting,
    /// It is being ended.
    Stopping,
    /// The server is alive and does not answer.
    Wedged,
    /// The program is gone, in a live server.
    ProgramEnded,
    /// The server is gone, and something is left in the scope or the slice.
    ServerEnded,
    /// A spawn that was killed half-way.
    Abandoned,
    /// systemd says that the scope failed.
    Failed,
}

/// What a supervisor does about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Leave,
    /// Nothing until that is over.
    Wait,
    /// The server is asked to make its socket again.
    Heal,
    /// A restart, when nothing changes before the deadline.
    RestartLate,
    /// The end is recorded; then the policy decides.
    Restart,
    /// What is left is ended, and the session started.
    Clear,
}

impl Action {
    /// In words, for the table.
    fn words(self) -> &'static str {
        match self {
            Self::Leave => "left alone",
            Self::Wait => "waited for",
            Self::Heal => "the server is asked to make its socket again (SIGUSR1)",
            Self::RestartLate => {
                "told as `stuck`; restarted when it lasts `stuck_restart_after` (10 minutes where that is not set)"
            }
            Self::Restart => "recorded, ended whole, and restarted as `restart` says",
            Self::Clear => "ended whole, and started again",
        }
    }
}

impl Condition {
    /// All of them, in the order in which they are told apart.
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

    /// The condition, from what was seen. When in doubt it is alive: it takes the end of a process
    /// to call it ended, and a missing socket alone changes nothing.
    pub fn of(facts: SessionFacts) -> Self {
        // The first that holds.
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

    /// The word for it that people and bots see.
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

    /// What its supervisor does.
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

    /// Whether silence says anything about it: not of what was made to stand still.
    pub fn can_be_stuck(self) -> bool {
        matches!(self, Self::Healthy | Self::SocketMissing)
    }

    /// What is seen of it, in words, for the table.
    fn seen(self) -> &'static str {
        match self {
            Self::Stopping => "systemd is stopping its scope or its slice",
            Self::Failed => "systemd says that its scope failed",
            Self::Frozen => "its control group is frozen",
            Self::Starting => "its spawn is under way",
            Self::Abandoned => "its spawn was killed half-way",
            Self::ServerEnded => "its tmux server is gone, or its scope is; something of it may be left",
            Self::ProgramEnded => "its program is gone, in a live server",
            Self::Held => "its program is stopped (Ctrl-Z, SIGSTOP) or debugged, or its server is debugged",
            Self::Wedged => "its server lives, and does not answer",
            Self::SocketMissing => "its server lives, and its socket file is gone",
            Self::Healthy => "server and program live, and the server answers",
        }
    }

    /// The table, in Markdown: what is seen, what `forge list` calls it, what a supervisor does.
    pub fn table() -> String {
        let head = "| what is seen | state | what its supervisor does |\n| --- | --- | --- |\n";
        Self::ALL.into_iter().fold(head.to_owned(), |table, condition| {
            let (seen, state, action) =
                (condition.seen(), condition.state().word(), condition.action().words());
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
            assert!(table.iter().any(|(_, seen)| *seen == condition), "{condition:?} was never seen");
        }
    }

    #[test]
    fn nothing_that_stands_still_on_purpose_is_ever_ended() {
        for condition in [Condition::Held, Condition::Frozen] {
            assert_eq!((condition.action(), condition.can_be_stuck()), (Action::Leave, false));
        }
    }

    #[test]
    fn the_manual_has_this_very_table() {
        assert!(
            include_str!("../../../docs/supervision.md").contains(&Condition::table()),
            "docs/supervision.md lacks:\n{}",
            Condition::table()
        );
    }
}
