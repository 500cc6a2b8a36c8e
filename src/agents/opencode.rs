//! opencode.

use super::built_in::{BuiltIn, Syntax};

pub(super) static KNOWN: BuiltIn = BuiltIn {
    name: "opencode",
    title: "opencode",
    measured: "1.18.33",
    programs: &["opencode"],
    added: &[],
    why: "",
    ready: "ctrl\\+p commands",
    not_ready: "",
    asking: "",
    begin: &[],
    resume: &[],
    resume_id: None,
    syntax: Syntax { flags: &[], lists: &[], conversation: &[], other_uses: &[] },
};
