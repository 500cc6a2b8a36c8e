//! Rules for calls inside `sys`. clippy holds them everywhere else, but `sys` may make the calls that
//! `clippy.toml` disallows, so it needs rules of its own.

#![allow(clippy::unwrap_used, reason = "a test panics to fail")]

use std::path::Path;

/// A call, and the only files that may make it.
const RULES: [(&str, &[&str]); 6] = [
    ("env::var", &["sys/env.rs"]),
    ("env::current_dir", &["sys/env.rs"]),
    ("env::current_exe", &["sys/env.rs"]),
    ("thread::sleep", &[]),
    ("fs::write(", &[]),
    ("zbus::block_on", &[]),
];

/// The calls in the production code of one file that break a rule.
fn breaches(file: &str, text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code = code.collect::<Vec<_>>().join("\n").replace("env::variable", "");
    let broken = RULES.iter().filter(|(call, files)| code.contains(call) && !files.contains(&file));
    broken.map(|(call, _)| format!("{file} calls {call}")).collect()
}

fn check(root: &Path, dir: &Path, faults: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            check(root, &path, faults);
        } else {
            let file = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            faults.extend(breaches(&file, &std::fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn sys_keeps_the_rules_for_its_own_calls() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut faults = Vec::new();
    check(&root, &root.join("sys"), &mut faults);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_call_outside_its_file_is_a_fault() {
    assert_eq!(breaches("sys/tcp.rs", "std::env::var_os(x)"), ["sys/tcp.rs calls env::var"]);
    assert_eq!(breaches("sys/env.rs", "std::env::var_os(x)"), [""; 0]);
    assert_eq!(breaches("sys/tcp.rs", "// thread::sleep\n#[cfg(test)]\nfs::write(a)"), [""; 0]);
}
