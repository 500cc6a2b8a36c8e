//! The structure of `src/`, read from its imports: no top-level module uses one above it, and no folder holds
//! a circle of modules. ARCHITECTURE.md describes the order.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test panics to fail")]
#![allow(clippy::disallowed_methods, reason = "this test reads the sources")]

mod calls;
mod documents;
mod imports;
mod rules;
mod types;

use std::path::Path;

use imports::Source;

/// The top-level modules. Each may use those after it, and none before it.
const ORDER: [&str; 7] = ["cli", "commands", "ops", "config", "agents", "sys", "model"];

/// Folders in which files extend a type of their `mod.rs`.
const EXTENDED: [&str; 2] = [
    // The problems are computed from the facts that `mod.rs` defines.
    "model::health",
    // The methods of `Supervisor` stand in one file for each concern.
    "ops::supervise",
];

#[test]
fn imports_point_down_and_form_no_circle() {
    let sources = imports::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(sources.len() > 100, "only {} files found in src/", sources.len());
    let imports = imports::of(&sources);
    assert!(imports.len() > 200, "only {} imports found in src/", imports.len());
    let faults = [rules::upward(&imports, &ORDER), rules::circles(&imports, &EXTENDED)].concat();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The faults in a source tree of these files.
fn faults(files: &[(&str, &str)]) -> Vec<String> {
    faults_with(files, &[])
}

fn faults_with(files: &[(&str, &str)], extended: &[&str]) -> Vec<String> {
    let source = |(module, text): &(&str, &str)| Source::new(module.split("::"), text);
    let imports = imports::of(&files.iter().map(source).collect::<Vec<_>>());
    [rules::upward(&imports, &ORDER), rules::circles(&imports, extended)].concat()
}

#[test]
fn a_downward_import_is_allowed() {
    let files =
        [("ops::sweep", "use crate::sys::{clock, env::Paths as P};"), ("sys::clock", ""), ("sys::env", "")];
    assert_eq!(faults(&files), Vec::<String>::new());
}

#[test]
fn an_upward_import_is_a_fault() {
    let ops = ("ops::sweep", "pub fn sweep() {}");
    let expected = ["model::sweep uses ops::sweep, which is above it"];
    for text in [
        "use crate::ops::sweep::sweep;",
        "use crate::{ops::{sweep::{self, sweep as act}}};",
        "use crate::ops::sweep; fn f() { sweep::sweep() }",
        "fn f() { crate::ops::sweep::sweep::<u8>() }",
        "fn f() { super::super::ops::sweep::sweep() }",
        "use crate::ops::sweep::*;",
        "const A: &str = \"\\\"\"; const B: char = '\"'; use crate::ops::sweep::sweep; const C: &str = \"\";",
    ] {
        assert_eq!(faults(&[ops, ("model::sweep", text)]), expected, "{text}");
    }
}

#[test]
fn a_top_level_module_outside_the_order_is_a_fault() {
    let files = [("helpers", "use crate::model::name::Name;"), ("model::name", "")];
    assert_eq!(faults(&files), ["helpers is not in the order of the top-level modules"]);
}

#[test]
fn comments_strings_and_unit_tests_are_no_imports() {
    let text = r##"
        // crate::ops::sweep::sweep
        /* crate::ops /* nested */ ::sweep::sweep */
        const A: &str = "crate::ops::sweep::sweep \" crate::ops::sweep::sweep";
        const B: &str = r#"crate::ops::sweep::sweep "crate::ops::sweep::sweep" "#;
        #[cfg(test)]
        mod tests { use crate::ops::sweep::sweep; fn f<'a>(_: &'a str) { let _ = '{'; } }
    "##;
    assert_eq!(faults(&[("ops::sweep", ""), ("model::sweep", text)]), Vec::<String>::new());
}

#[test]
fn a_circle_of_modules_is_a_fault() {
    let files = [
        ("ops::session::observe", "use crate::ops::supervise::client::ask;"),
        ("ops::supervise::client", "use crate::ops::session::stop::stop;"),
        ("ops::session::stop", ""),
    ];
    let expected = "circle in ops: session → supervise → session \
                    (ops::session::observe uses ops::supervise::client; \
                    ops::supervise::client uses ops::session::stop)";
    assert_eq!(faults(&files), [expected]);
}

#[test]
fn passing_on_an_inner_item_is_no_import() {
    let files = [
        ("sys::systemd", "mod guard; pub use guard::Guarding; pub(crate) use self::guard::Other;"),
        ("sys::systemd::guard", "use super::Manager;"),
    ];
    assert_eq!(faults(&files), Vec::<String>::new());
}

#[test]
fn a_module_and_its_parent_can_form_a_circle() {
    let files = [
        ("ops::spawn", "mod attempt; fn f() { attempt::run() }"),
        ("ops::spawn::attempt", "use super::ports::free;"),
        ("ops::spawn::ports", "use super::Outcome;"),
    ];
    let expected = "circle in ops::spawn: attempt → ports → mod.rs → attempt \
                    (ops::spawn::attempt uses ops::spawn::ports; \
                    ops::spawn::ports uses ops::spawn; \
                    ops::spawn uses ops::spawn::attempt)";
    assert_eq!(faults(&files), [expected]);
}

#[test]
fn only_circles_through_an_extended_module_are_allowed() {
    let allowed = [
        ("ops::supervise", "mod watch; fn f() { watch::watch() }"),
        ("ops::supervise::watch", "use super::Supervisor;"),
    ];
    assert_eq!(faults_with(&allowed, &["ops::supervise"]), Vec::<String>::new());
    let siblings = [
        ("ops::supervise::watch", "use super::silence::Signs;"),
        ("ops::supervise::silence", "use super::watch::Watch;"),
    ];
    assert_eq!(faults_with(&siblings, &["ops::supervise"]).len(), 1);
    let none = [("ops::supervise::watch", "use super::silence::Signs;"), ("ops::supervise::silence", "")];
    assert_eq!(faults_with(&none, &["ops::supervise"]), ["ops::supervise has no circle to allow"]);
}
