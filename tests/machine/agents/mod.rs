//! Tests with real coding agents: `make test-agents`. Their model is a server in the machine
//! (`tests/agents/model.js`); the machine has only loopback. One group for each agent.
//!
//! Agents start slowly, so the tests of a group share one session (`Agent::session`).

mod agent;
mod conversations;
mod daemon;
mod model;
mod questions;
mod texts;

use crate::suite::{Group, group, inside};

pub(crate) fn groups() -> Vec<Group> {
    let tests = |of: [crate::suite::Test; 8]| of.map(|test| test.limit_s(600)).into();
    let mut codex: Vec<_> = tests(codex::tests());
    codex.push(inside!(commands_in_a_shared_daemon_are_reported).limit_s(300));
    vec![group("claude", tests(claude::tests())), group("codex", codex)]
}

fn commands_in_a_shared_daemon_are_reported() {
    daemon::shared(&agent::CODEX);
}

/// The tests of one agent: each agent has the same ones in its own group.
macro_rules! tests_of {
    ($module:ident, $agent:expr) => {
        mod $module {
            use super::{agent, conversations, questions, texts};
            use crate::suite::{Test, inside};

            pub(super) fn tests() -> [Test; 8] {
                [
                    inside!(texts_into_an_idle_agent_are_submitted_once),
                    inside!(texts_into_a_working_agent_are_submitted_once),
                    inside!(text_taken_by_a_completion_list_is_reported),
                    inside!(a_text_never_answers_a_question),
                    inside!(a_text_at_the_moment_of_a_question),
                    inside!(a_nudge_never_answers_a_question),
                    inside!(a_trust_question_is_left_alone),
                    inside!(conversations_survive_crashes),
                ]
            }

            fn texts_into_an_idle_agent_are_submitted_once() {
                texts::idle(&$agent);
            }

            fn texts_into_a_working_agent_are_submitted_once() {
                texts::working(&$agent);
            }

            fn text_taken_by_a_completion_list_is_reported() {
                texts::completions(&$agent);
            }

            fn a_text_never_answers_a_question() {
                questions::texts(&$agent);
            }

            fn a_text_at_the_moment_of_a_question() {
                questions::race(&$agent);
            }

            fn a_nudge_never_answers_a_question() {
                questions::nudges(&$agent);
            }

            fn conversations_survive_crashes() {
                conversations::crashes(&$agent);
            }

            fn a_trust_question_is_left_alone() {
                questions::trust(&$agent);
            }
        }
    };
}

tests_of!(claude, agent::CLAUDE);
tests_of!(codex, agent::CODEX);
