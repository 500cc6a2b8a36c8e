//! Gemini CLI.

use super::built_in::{BuiltIn, Syntax};

pub(super) static KNOWN: BuiltIn = BuiltIn {
    name: "gemini",
    title: "Gemini CLI",
    measured: "0.61.0",
    programs: &["gemini"],
    added: &[],
    why: "",
    ready: "Type your message",
    not_ready: "",
    asking: "",
    begin: &[],
    resume: &[],
    resume_id: None,
    syntax: Syntax { flags: &[], lists: &[], conversation: &[], other_uses: &[] },
};
