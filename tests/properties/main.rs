//! Properties of forge's parsers and decisions that hold for all input, tested with random texts, files and
//! histories.
//!
//! `PROPTEST_CASES` sets the number of cases for each property (default: 256). A failure that a property found
//! gets a unit test with the same input, beside the code.

#![allow(
    clippy::case_sensitive_file_extension_comparisons,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::format_collect,
    clippy::format_push_string,
    clippy::unwrap_used,
    clippy::wildcard_imports,
    reason = "rules for the product only: a test panics to fail, and writes files as a crash may leave them"
)]

mod arguments;
mod config;
mod graph;
mod guard;
mod kernel;
mod names;
mod output;
mod restore;
mod screens;
mod spans;
mod store;
mod supervision;

use proptest::prelude::*;

/// Defines property tests. Rejected inputs do not count as cases, and there may be any number of them. A failure
/// writes no file: its message contains the smallest failing input.
macro_rules! properties {
    ($($tests:tt)*) => {
        proptest::proptest! {
            #![proptest_config(proptest::test_runner::Config {
                failure_persistence: None,
                max_local_rejects: u32::MAX,
                max_global_rejects: u32::MAX,
                ..Default::default()
            })]
            $($tests)*
        }
    };
}
pub(crate) use properties;

/// The id of a session.
fn id() -> impl Strategy<Value = forge::model::session::name::SessionId> {
    "[A-Za-z0-9][A-Za-z0-9_-]{0,47}".prop_filter_map("the name is reserved", |id| id.try_into().ok())
}

/// A text as a user, a program or an attacker might write it: any characters, and often special ones.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[ -~]{0,8}",
        2 => any::<char>().prop_map(String::from),
        2 => "[\u{0}-\u{1f}\u{7f}-\u{9f}]",
        1 => "[éж🦀\u{202e}\u{fffd}]{1,3}",
        2 => proptest::sample::select(vec!["`", "'", "\"", "\\", "%", "$", "{", "}", "=", "/", "..", ":", "-"])
            .prop_map(String::from),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// The content of a file, which need not be text.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![text().prop_map(String::into_bytes), proptest::collection::vec(any::<u8>(), 0..64),]
}

/// Whether the text contains characters that control a terminal.
fn has_control(text: &str) -> bool {
    text.chars().any(|c| c.is_control() && c != '\n' && c != '\t')
}
