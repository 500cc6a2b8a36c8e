//! Each type name exists once in `src/`, so that a name alone says which type is meant.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test panics to fail")]

use std::collections::BTreeMap;
use std::path::Path;

use crate::imports::{self, Source, Token};

/// The names of the structs, enums, traits and type aliases of one module. Associated types are not among them:
/// a trait dictates their names.
fn type_names(source: &Source) -> Vec<&str> {
    let mut names = Vec::new();
    let mut depth = 0usize;
    for (at, token) in source.tokens.iter().enumerate() {
        let is_definition = match token {
            Token::Mark('{') => {
                depth += 1;
                false
            }
            Token::Mark('}') => {
                depth = depth.saturating_sub(1);
                false
            }
            Token::Word(word) => match word.as_str() {
                "struct" | "enum" | "trait" => true,
                // Inside a block it is an associated type.
                "type" => depth == 0,
                _ => false,
            },
            _ => false,
        };
        if is_definition && let Some(Token::Word(name)) = source.tokens.get(at + 1) {
            names.push(name.as_str());
        }
    }
    names
}

/// The type names that are defined more than once. Each command has its own `Args`.
fn repeated(sources: &[Source]) -> Vec<String> {
    let mut modules: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for source in sources {
        let is_command = source.module.first().is_some_and(|top| top == "commands");
        for name in type_names(source) {
            if !(is_command && name == "Args") {
                modules.entry(name).or_default().push(source.module.join("::"));
            }
        }
    }
    let repeated = modules.iter().filter(|(_, modules)| modules.len() > 1);
    let mut faults: Vec<String> = repeated
        .map(|(name, modules)| {
            let mut modules = modules.clone();
            modules.sort();
            format!("{name} is defined in {}", modules.join(" and "))
        })
        .collect();
    faults.sort();
    faults
}

#[test]
fn each_type_name_exists_once() {
    let sources = imports::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let count: usize = sources.iter().map(|source| type_names(source).len()).sum();
    assert!(count > 200, "only {count} types found in src/");
    let faults = repeated(&sources);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The faults in a source tree of these files.
fn faults(files: &[(&str, &str)]) -> Vec<String> {
    let source = |(module, text): &(&str, &str)| Source::new(module.split("::"), text);
    repeated(&files.iter().map(source).collect::<Vec<_>>())
}

#[test]
fn a_type_name_in_two_modules_is_a_fault() {
    let first = ("model::report", "pub struct Report { at: u64 }");
    for second in [
        "enum Report { Yes }",
        "pub(crate) trait Report {}",
        "pub type Report<T> = Vec<T>;",
        "fn f() { struct Report(u8); }",
        "impl A { fn f() {} } type Report = u8;",
    ] {
        assert_eq!(
            faults(&[("ops::guard", second), first]),
            ["Report is defined in model::report and ops::guard"],
            "{second}"
        );
    }
    assert_eq!(faults(&[("model::a", "struct A; enum A {}")]), ["A is defined in model::a and model::a"]);
}

#[test]
fn associated_types_arguments_of_commands_and_unit_tests_may_repeat_a_name() {
    let allowed = [
        ("model::error", "pub struct Error; pub struct Report;"),
        ("model::name", "impl FromStr for Name { type Err = Error; type Error = Error; }"),
        ("model::limits", "trait Limits { type Error; } // struct Error\nconst A: &str = \"struct Error\";"),
        ("model::a", "#[cfg(test)] mod tests { struct Report; }"),
        ("commands::kill", "pub struct Args { name: String }"),
        ("commands::wait", "pub struct Args { name: String }"),
    ];
    assert_eq!(faults(&allowed), Vec::<String>::new());
    assert_eq!(faults(&[("ops::a", "struct Args;"), ("ops::b", "struct Args;")]).len(), 1);
}
