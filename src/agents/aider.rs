//! aider.

use super::built_in::{BuiltIn, Syntax};

pub(super) static KNOWN: BuiltIn = BuiltIn {
    name: "aider",
    title: "aider",
    measured: "0.86.2",
    programs: &["aider"],
    added: &[],
    why: "",
    ready: "^> ",
    not_ready: "",
    asking: "",
    working: "",
    begin: &[],
    resume: &[],
    resume_id: None,
    syntax: Syntax { flags: &[], lists: &[], conversation: &[], other_uses: &[] },
};
