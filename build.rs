//! Passes the commit to the program, for `forge --version`: the value of `FORGE_COMMIT` (packages are built
//! from trees without a repository), otherwise git's, if the tree is a repository. `-dirty` marks changes to
//! the program's sources since that commit.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "the rules of the product: a build script speaks to cargo by its environment and its output"
)]

use std::path::Path;
use std::process::Command;

/// The sources of the program.
const PARTS: [&str; 5] = ["build.rs", "Cargo.lock", "Cargo.toml", "src", "units"];

fn main() {
    println!("cargo:rerun-if-env-changed=FORGE_COMMIT");
    for part in PARTS {
        println!("cargo:rerun-if-changed={part}");
    }
    // git appends to this file at every commit and checkout.
    if let Some(moves) =
        git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|path| Path::new(path).exists())
    {
        println!("cargo:rerun-if-changed={moves}");
    }
    let commit = std::env::var("FORGE_COMMIT").ok().or_else(|| {
        let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
        let unchanged = git(&[&["diff", "--quiet", "HEAD", "--"], &PARTS[..]].concat()).is_some();
        Some(if unchanged { commit } else { commit + "-dirty" })
    });
    let version = env!("CARGO_PKG_VERSION");
    match commit.filter(|commit| !commit.is_empty()) {
        Some(commit) => println!("cargo:rustc-env=FORGE_VERSION={version} ({commit})"),
        None => println!("cargo:rustc-env=FORGE_VERSION={version}"),
    }
}

/// The output of git for this tree; `None` if the tree merely lies inside another repository.
fn git(arguments: &[&str]) -> Option<String> {
    if !Path::new(".git").exists() {
        return None;
    }
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
