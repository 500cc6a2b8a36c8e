//! Tells the program which commit it is built from, for `forge --version`: what `FORGE_COMMIT` says
//! (packages are built from trees without a repository), else what git says, if it knows, with `-dirty` where
//! what it is made of was changed since.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "the rules of the product: a build script speaks to cargo by its environment and its output"
)]

use std::path::Path;
use std::process::Command;

/// What the program is made of.
const PARTS: [&str; 5] = ["build.rs", "Cargo.lock", "Cargo.toml", "src", "units"];

fn main() {
    println!("cargo:rerun-if-env-changed=FORGE_COMMIT");
    for part in PARTS {
        println!("cargo:rerun-if-changed={part}");
    }
    // It moves with every commit and checkout.
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

/// What git says of this tree; of a repository that it only happens to lie in, nothing.
fn git(arguments: &[&str]) -> Option<String> {
    if !Path::new(".git").exists() {
        return None;
    }
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
