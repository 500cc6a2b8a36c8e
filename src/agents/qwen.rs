//! Qwen Code.

use super::built_in::{BuiltIn, Syntax};

pub(super) static KNOWN: BuiltIn = BuiltIn {
    name: "qwen",
    title: "Qwen Code",
    measured: "0.24.4",
    programs: &["qwen"],
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
