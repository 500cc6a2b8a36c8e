//! Rules for calls inside `sys`. clippy holds them everywhere else, but `sys` may make the calls that
//! `clippy.toml` disallows, so it needs rules of its own.

use std::path::Path;

use crate::imports::{self, Source, Token};

/// A module, its functions by the beginning of their names, and the only module of forge that may use them.
const RULES: [(&str, &str, Option<&str>); 6] = [
    ("env", "var", Some("sys::env")),
    ("env", "current_dir", Some("sys::env")),
    ("env", "current_exe", Some("sys::env")),
    ("thread", "sleep", None),
    ("fs", "write", None),
    ("zbus", "block_on", None),
];

/// forge's own functions with a name that a rule would match.
const OWN: [(&str, &str); 1] = [("env", "variable")];

/// The calls of one module that break a rule.
fn breaches(source: &Source) -> Vec<String> {
    let module = source.module.join("::");
    let calls = source.tokens.windows(3).filter_map(|tokens| match tokens {
        [Token::Word(from), Token::Colons, Token::Word(name)] => Some((from.as_str(), name.as_str())),
        _ => None,
    });
    calls
        .filter(|call| !OWN.contains(call))
        .filter(|(from, name)| {
            RULES.iter().any(|(disallowed, begins, user)| {
                from == disallowed && name.starts_with(begins) && *user != Some(module.as_str())
            })
        })
        .map(|(from, name)| format!("{module} calls {from}::{name}"))
        .collect()
}

#[test]
fn sys_keeps_the_rules_for_its_own_calls() {
    let sources = imports::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let sys = sources.iter().filter(|source| source.module.first().is_some_and(|top| top == "sys"));
    let faults: Vec<String> = sys.flat_map(breaches).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_call_outside_its_file_is_a_fault() {
    let breaches = |module: &str, text: &str| breaches(&Source::new(module.split("::"), text));
    assert_eq!(breaches("sys::tcp", "std::env::var_os(x)"), ["sys::tcp calls env::var_os"]);
    assert_eq!(breaches("sys::tcp", "use std::thread::sleep;"), ["sys::tcp calls thread::sleep"]);
    assert_eq!(breaches("sys::env", "std::env::var_os(x)"), [""; 0]);
    assert_eq!(breaches("sys::tcp", "env::variable(x)"), [""; 0]);
    assert_eq!(
        breaches("sys::tcp", "// thread::sleep\n#[cfg(test)] mod tests { fn f() { fs::write(a) } }"),
        [""; 0]
    );
}
