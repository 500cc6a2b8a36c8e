//! What forge reads and did not just write itself may be anything: these are properties of its readers
//! and of its decisions that hold for all of it, tried on texts, files and histories at random.
//!
//! `PROPTEST_CASES` says how many are tried for each (256 without it). What was found by them is a plain
//! test beside the code that it is about, with the very input.

#![allow(
    clippy::case_sensitive_file_extension_comparisons,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::format_collect,
    clippy::format_push_string,
    clippy::unwrap_used,
    clippy::wildcard_imports,
    reason = "the rules of the product: a test panics to fail, and writes what a crash might have left"
)]

mod asked;
mod config;
mod guard;
mod kept;
mod kernel;
mod names;
mod order;
mod resumed;
mod screens;
mod spans;
mod supervision;
mod told;

use proptest::prelude::*;

/// Properties, each a test of as many cases as were asked for, however many more have to be thrown away.
/// Nothing is written beside the sources when one fails: the smallest input that was found is in the message.
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
    "[A-Za-z0-9][A-Za-z0-9_-]{0,47}".prop_filter_map("it is forge's own", |id| id.try_into().ok())
}

/// A text as a person, a program or an enemy might write it: any characters, and often those that mean
/// something to somebody.
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

/// Bytes as a file may hold them, which need not be text.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![text().prop_map(String::into_bytes), proptest::collection::vec(any::<u8>(), 0..64),]
}

/// Whether a terminal would take something in it for more than text.
fn has_control(text: &str) -> bool {
    text.chars().any(|c| c.is_control() && c != '\n' && c != '\t')
}
