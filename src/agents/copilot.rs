//! GitHub Copilot CLI.

use super::built_in::{BuiltIn, Syntax};

pub(super) static KNOWN: BuiltIn = BuiltIn {
    name: "copilot",
    title: "GitHub Copilot CLI",
    measured: "1.0.102",
    programs: &["copilot"],
    added: &[],
    why: "",
    ready: "^❯",
    not_ready: "",
    asking: "",
    begin: &[],
    resume: &[],
    resume_id: None,
    syntax: Syntax { flags: &[], lists: &[], conversation: &[], other_uses: &[] },
};
