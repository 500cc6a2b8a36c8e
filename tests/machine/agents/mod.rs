//! Tests with real coding agents: `make test-agents`. Their model is a server in the machine
//! (`tests/agents/model.js`); the machine has only loopback. One group for each agent.
//!
//! Agents start slowly, so the tests of a group share one session (`Agent::session`).

mod activity;
mod agent;
mod conversations;
mod daemon;
mod known;
mod model;
mod questions;
mod texts;

use crate::suite::{Group, Test, group};

pub(crate) fn groups() -> Vec<Group> {
    [
        ("claude", claude::tests()),
        ("codex", codex::tests()),
        ("gemini", gemini::tests()),
        ("opencode", opencode::tests()),
        ("qwen", qwen::tests()),
        ("copilot", copilot::tests()),
    ]
    .map(|(name, tests)| group(name, tests.into_iter().map(|test: Test| test.limit_s(600)).collect()))
    .into()
}

/// All tests, under the names that they have in each group.
mod every {
    pub(super) use super::activity::turns as activity_follows_turns;
    pub(super) use super::conversations::crashes as conversations_survive_crashes;
    pub(super) use super::daemon::shared as commands_in_a_shared_daemon_are_reported;
    pub(super) use super::questions::{
        nudges as a_nudge_never_answers_a_question, race as a_text_at_the_moment_of_a_question,
        texts as a_text_never_answers_a_question, trust as a_trust_question_is_left_alone,
    };
    pub(super) use super::texts::{
        completions as text_taken_by_a_completion_list_is_reported,
        idle as texts_into_an_idle_agent_are_submitted_once,
        working as texts_into_a_working_agent_are_submitted_once,
    };
}

/// The tests of one agent: all of them, or those that are named.
macro_rules! tests_of {
    ($agent:ident in $module:ident) => {
        tests_of!($agent in $module:
            texts_into_an_idle_agent_are_submitted_once,
            texts_into_a_working_agent_are_submitted_once,
            text_taken_by_a_completion_list_is_reported,
            a_text_never_answers_a_question,
            a_text_at_the_moment_of_a_question,
            a_nudge_never_answers_a_question,
            a_trust_question_is_left_alone,
            activity_follows_turns,
            conversations_survive_crashes,
        );
    };
    ($agent:ident in $module:ident: $($test:ident,)+) => {
        mod $module {
            use super::{every, known};
            use crate::suite::{Test, inside};

            pub(super) fn tests() -> Vec<Test> {
                vec![$(inside!($test)),+]
            }

            $(fn $test() {
                every::$test(&known::$agent);
            })+
        }
    };
}

tests_of!(CLAUDE in claude);
// The screen of Codex does not show whether it works.
tests_of!(CODEX in codex:
    texts_into_an_idle_agent_are_submitted_once,
    texts_into_a_working_agent_are_submitted_once,
    text_taken_by_a_completion_list_is_reported,
    a_text_never_answers_a_question,
    a_text_at_the_moment_of_a_question,
    a_nudge_never_answers_a_question,
    a_trust_question_is_left_alone,
    conversations_survive_crashes,
    // The other agents have no daemon, or only one that ends with them.
    commands_in_a_shared_daemon_are_reported,
);
tests_of!(GEMINI in gemini);
// The agent trusts every folder and asks nothing about it.
tests_of!(OPENCODE in opencode:
    texts_into_an_idle_agent_are_submitted_once,
    texts_into_a_working_agent_are_submitted_once,
    text_taken_by_a_completion_list_is_reported,
    a_text_never_answers_a_question,
    a_text_at_the_moment_of_a_question,
    a_nudge_never_answers_a_question,
    activity_follows_turns,
);
tests_of!(QWEN in qwen);
tests_of!(COPILOT in copilot);
