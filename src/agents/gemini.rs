//! Gemini CLI.

use super::built_in::{BuiltIn, Syntax};
use crate::model::session::resume::{AgentKind, IdSource};

pub(super) static KNOWN: BuiltIn = BuiltIn {
    name: "gemini",
    title: "Gemini CLI",
    measured: "0.61.0",
    programs: &["gemini"],
    added: &[],
    why: "",
    // Gemini draws the bare input box for 0.3 s before it asks whether the folder is trusted, so a header or a
    // conversation must stand above.
    ready: r"(Gemini CLI v|✦|▀▀▀▀)[\s\S]*Type your message",
    not_ready: r"Do you trust the files in this folder\?|How would you like to authenticate",
    asking: r"^ ?│ +● \d+\. ",
    begin: &["--session-id", "{resume_id}"],
    resume: &["--resume", "{resume_id}"],
    resume_id: Some(IdSource::Agent(AgentKind::Gemini)),
    syntax: Syntax {
        flags: &[
            "--accept-raw-output-risk",
            "--debug",
            "--raw-output",
            "--sandbox",
            "--screen-reader",
            "--skip-trust",
            "--worktree",
            "--yolo",
            "-d",
            "-s",
            "-w",
            "-y",
        ],
        lists: &[
            "--admin-policy",
            "--allowed-mcp-server-names",
            "--allowed-tools",
            "--extensions",
            "--include-directories",
            "--policy",
            "-e",
        ],
        conversation: &["--prompt-interactive", "--resume", "--session-file", "--session-id", "-i", "-r"],
        other_uses: &[
            "--acp",
            "--delete-session",
            "--experimental-acp",
            "--help",
            "--list-extensions",
            "--list-sessions",
            "--prompt",
            "--version",
            "-h",
            "-l",
            "-p",
            "-v",
            "extension",
            "extensions",
            "gemma",
            "hook",
            "hooks",
            "mcp",
            "skill",
            "skills",
        ],
    },
};
