//! The documents name files, modules and functions that exist. The machine test `readme` checks their links.

use std::fs;
use std::path::{Path, PathBuf};

/// The folders whose Markdown files are checked, and the folders of the repository that they name.
const DOCUMENTS: [&str; 5] = ["", "docs", "bench", "findings", "tests/agents"];
const FOLDERS: [&str; 9] = ["src", "tests", "units", "packaging", "nix", "bench", "demo", "docs", "examples"];

/// The words in backticks, outside code blocks.
fn quoted(text: &str) -> Vec<&str> {
    let outside = text.split("\n```").step_by(2);
    outside.flat_map(|part| part.split('`').skip(1).step_by(2)).collect()
}

/// The path in the repository that a word of a document names, and the item in that file.
fn named(word: &str) -> Option<(String, Option<&str>)> {
    let (path, item) = word.split_once("::").map_or((word, None), |(path, item)| (path, Some(item)));
    let top = path.split_once('/')?.0;
    if path.contains([' ', '*', '$', '<']) {
        return None;
    }
    if FOLDERS.contains(&top) {
        Some((path.to_owned(), item))
    } else {
        // A module of forge: `sys/store`.
        crate::ORDER.contains(&top).then(|| (format!("src/{path}"), item))
    }
}

/// The file or folder of a path, which may be a module without its ending.
fn existing(root: &Path, path: &str) -> Option<PathBuf> {
    [path.to_owned(), format!("{path}.rs")].iter().map(|path| root.join(path)).find(|path| path.exists())
}

/// The words of a document that name something which does not exist.
fn faults(root: &Path, text: &str) -> Vec<String> {
    let is_fault = |word: &&str| {
        let Some((path, item)) = named(word) else { return false };
        let Some(file) = existing(root, &path) else { return true };
        let file = if file.is_dir() { file.join("mod.rs") } else { file };
        let has = |item: &str| fs::read_to_string(&file).is_ok_and(|text| text.contains(item));
        !item.is_none_or(has)
    };
    quoted(text).into_iter().filter(is_fault).map(ToOwned::to_owned).collect()
}

#[test]
fn documents_name_what_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut read = 0;
    let mut missing = Vec::new();
    for folder in DOCUMENTS {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "md") {
                read += 1;
                let text = fs::read_to_string(&path).unwrap();
                let faults = faults(root, &text);
                missing.extend(faults.iter().map(|fault| format!("{}: {fault}", path.display())));
            }
        }
    }
    assert!(read >= 15, "only {read} documents found");
    assert!(missing.is_empty(), "these do not exist:\n{}", missing.join("\n"));
}

#[test]
fn a_name_that_does_not_exist_is_a_fault() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = "`src/main.rs`, `sys/store`, `ops/missing`, `src/missing.rs`, `ops/session/stop::stop`,\n\
                `ops/session/stop::nowhere`, `forge spawn`, `docs/*.md`\n\
                ```\n`src/inside-a-block.rs`\n```\n`tests/missing`\n";
    let expected = ["ops/missing", "src/missing.rs", "ops/session/stop::nowhere", "tests/missing"];
    assert_eq!(faults(root, text), expected);
}
