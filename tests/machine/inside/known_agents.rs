//! Known agents, played by small programs with their names: what forge adds and recognises. `make test-agents` has the
//! real ones.

use crate::suite::{Test, inside};
use crate::support::{Session, TestFile, configured, forge, forge_json, run, wait_until};
use serde_json::{Value, json};
use std::time::Duration;

pub(super) fn tests() -> Vec<Test> {
    vec![
        inside!(an_agent_is_known_by_its_program),
        inside!(the_configuration_changes_a_profile),
        inside!(an_agent_with_another_prompt_is_left_alive),
        inside!(an_agent_that_ends_with_its_conversation_begins_another),
    ]
}

/// Shows the prompt of Codex, and stays.
const CODEX: &str = "#!/bin/sh\nprintf '› \\n  none · ~/work\\n'\nexec sleep 1000\n";

/// Resumes no conversation.
const CLAUDE: &str =
    "#!/bin/sh\n[ \"$1\" != --resume ] || exit 1\nprintf '❯\\302\\240\\n'\nexec sleep 1000\n";

/// A program in the user's home.
#[track_caller]
fn program(name: &str, text: &str) -> (TestFile, String) {
    let file = TestFile::new(name, text);
    run(&["chmod", "755", name]).ok();
    (file, format!("/home/ada/{name}"))
}

#[track_caller]
fn status(name: &str) -> Value {
    forge_json(&["status", name])
}

fn an_agent_is_known_by_its_program() {
    let (_file, codex) = program("codex", CODEX);
    let _session = Session("helper".into());
    let said = forge(&["spawn", "helper", "--", &codex, "-m", "big"]).ok().stdout;
    assert!(said.starts_with("forge added --no-daemon for Codex: without it"), "{said}");
    let shown = status("helper");
    assert_eq!(
        (&shown["command"], &shown["agent"]),
        (&json!([codex, "--no-daemon", "-m", "big"]), &json!("codex"))
    );
    forge(&["stop", "helper"]).ok();
    // As any other program.
    forge(&["spawn", "helper", "--agent", "generic", "--", &codex]).ok();
    let shown = status("helper");
    assert_eq!((&shown["command"], &shown["agent"]), (&json!([codex]), &Value::Null));
    forge(&["stop", "helper"]).ok();
    let unknown = forge(&["spawn", "helper", "--agent", "codec", "--", &codex]).code(2);
    assert!(unknown.stderr.contains("did you mean 'codex'?"), "{unknown}");
    let listed = forge_json(&["agents", "list"]);
    assert!(listed["agents"].as_array().expect("a list").iter().any(|agent| agent["agent"] == "generic"));
}

fn the_configuration_changes_a_profile() {
    let (_file, codex) = program("codex", CODEX);
    let _configuration = configured(&format!(
        "[agents.codex]\narguments = []\n[agents.mine]\nbased_on = 'codex'\narguments = ['--mine']\n\
         [sessions.helper]\ncommand = ['{codex}']\nagent = 'mine'\n"
    ));
    let _session = Session("helper".into());
    forge(&["spawn", "helper"]).ok();
    assert_eq!(status("helper")["command"], json!([codex, "--mine"]));
    forge(&["stop", "helper"]).ok();
    forge(&["spawn", "helper", "--agent", "codex", "--", &codex]).ok();
    assert_eq!(status("helper")["command"], json!([codex]));
    let shown = forge(&["agents", "show", "mine"]).ok().stdout;
    assert!(shown.contains("--mine") && shown.contains("changed by your configuration"), "{shown}");
}

/// A profile may be older than the agent.
fn an_agent_with_another_prompt_is_left_alive() {
    let (_file, codex) = program("codex", "#!/bin/sh\necho new prompt\nexec sleep 1000\n");
    let _session = Session("helper".into());
    let said = forge(&["spawn", "helper", "--ready-timeout", "1", "--", &codex]).ok().stdout;
    assert!(said.contains("warning: forge did not recognise the prompt of codex"), "{said}");
    assert_eq!(status("helper")["state"], "running");
    let spawned = forge_json(&["spawn", "helper", "--replace", "--ready-timeout", "1", "--", &codex]);
    assert_eq!(spawned["ready"], false);
    // A pattern of the user's is not a guess.
    let ready = ["--ready", "old prompt", "--ready-timeout", "1"];
    forge(&[&["spawn", "helper", "--replace"][..], &ready, &["--", &codex]].concat()).code(4);
}

fn an_agent_that_ends_with_its_conversation_begins_another() {
    let (_file, claude) = program("claude", CLAUDE);
    let _session = Session("helper".into());
    forge(&["spawn", "helper", "--", &claude]).ok();
    let id = status("helper")["resume_id"].as_str().expect("the id that forge chose").to_owned();
    // The conversation is on disk, but the agent does not resume it.
    let _conversation = TestFile::new(&format!(".claude/projects/p/{id}.jsonl"), "{}\n");
    let restarted = forge_json(&["restart", "helper"])["restarted"][0].clone();
    let why = restarted["fresh"].as_str().expect("a reason");
    assert!(why.starts_with("with its conversation it ended at once: "), "{why}");
    wait_until(Duration::from_secs(5), "another conversation", || status("helper")["resume_id"] != json!(id));
    // Without a conversation there is nothing to try.
    let restarted = forge_json(&["restart", "helper"])["restarted"][0].clone();
    assert!(
        restarted["fresh"].as_str().expect("a reason").contains("there is no conversation"),
        "{restarted}"
    );
}
