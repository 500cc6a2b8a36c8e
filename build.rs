//! Tells the program which commit it is built from, for `forge --version`: what `FORGE_COMMIT` says
//! (packages are built from trees without a repository), else what git says, if it knows, with `-dirty` where
//! something was changed since.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "the rules of the product: a build script speaks to cargo by its environment and its output"
)]

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=FORGE_COMMIT");
    for of_it in ["build.rs", "Cargo.lock", "Cargo.toml", "src", "units"] {
        println!("cargo:rerun-if-changed={of_it}");
    }
    // It moves with every commit and checkout.
    if let Some(moves) =
        git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|path| Path::new(path).exists())
    {
        println!("cargo:rerun-if-changed={moves}");
    }
    let commit = std::env::var("FORGE_COMMIT")
        .ok()
        .or_else(|| git(&["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]));
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
