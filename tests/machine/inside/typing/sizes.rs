//! Texts of every size, on one line and on several, into real programs.

use super::{TEN_S, is_submitted, refusal, result, send, send_input};
use crate::suite::{Test, inside};
use crate::support::{forge, spawn, wait_until};
use std::fmt::Write as _;

pub(super) fn tests() -> Vec<Test> {
    vec![
        inside!(bash_gets_texts_of_every_size).limit_s(240),
        inside!(a_plain_shell_gets_what_the_kernel_passes_on).limit_s(240),
        inside!(cat_gets_texts_of_every_size).limit_s(240),
        inside!(an_editor_gets_texts_of_every_size).limit_s(240),
        inside!(a_pager_gets_no_text_of_any_size),
    ]
}

/// A text of this many bytes and lines; any cut or repeated part is visible in it.
fn text(bytes: usize, lines: usize) -> String {
    let line = |at: usize| {
        let mut line = String::new();
        let mut word = 0;
        while line.len() + 12 < bytes / lines {
            let _ = write!(line, "{at}.{word} дом ");
            word += 1;
        }
        line + "end"
    };
    if bytes == 1 { "y".to_owned() } else { (0..lines).map(line).collect::<Vec<_>>().join("\n") }
}

/// Waits until the file holds this text, and then until nothing more could arrive.
#[track_caller]
fn holds(file: &str, text: &str) {
    let read = || std::fs::read_to_string(file).unwrap_or_default();
    wait_until(TEN_S, &format!("{} bytes in {file}", text.len()), || read().len() >= text.len());
    std::thread::sleep(std::time::Duration::from_millis(50));
    let found = read();
    assert!(found == text, "{} bytes were sent, and {} are there", text.len(), found.len());
}

fn here_document(file: &str, text: &str) -> String {
    format!("cat >{file} <<'END'\n{text}\nEND")
}

fn bash_gets_texts_of_every_size() {
    let (_session, _) = spawn("sized", &["--ready", r"\$ $"], &["bash", "--norc", "-i"]);
    for bytes in [40, 500, 3_000, 100_000] {
        for lines in [1, 2, 50] {
            let _ = std::fs::remove_file("/tmp/sized.out");
            let text = text(bytes, lines);
            is_submitted(send_input("sized", &["-"], here_document("/tmp/sized.out", &text).as_bytes()));
            holds("/tmp/sized.out", &format!("{text}\n"));
        }
    }
}

fn a_plain_shell_gets_what_the_kernel_passes_on() {
    let (_session, _) = spawn("sh", &[], &["sh", "-i"]);
    for (bytes, lines) in [(40, 1), (500, 2), (3_000, 1), (3_000, 50), (100_000, 50)] {
        let _ = std::fs::remove_file("/tmp/sh.out");
        let text = text(bytes, lines);
        let sent = send_input("sh", &["--lines", "-"], here_document("/tmp/sh.out", &text).as_bytes());
        assert_eq!(result(sent, 0), ("submitted".to_owned(), lines as u64 + 2));
        holds("/tmp/sh.out", &format!("{text}\n"));
    }
    let (kind, _) = refusal(&send_input("sh", &["-"], text(100_000, 1).as_bytes()));
    assert_eq!(kind, "usage");
}

fn cat_gets_texts_of_every_size() {
    let (_session, _) = spawn("cats", &[], &["sh", "-c", "exec cat >/tmp/cats.out"]);
    let mut all = String::new();
    for (bytes, lines) in [(1, 1), (40, 1), (500, 1), (3_000, 1), (40, 2), (500, 2), (3_000, 50)] {
        let text = text(bytes, lines);
        let sent = send_input("cats", &["--lines", "-"], text.as_bytes());
        assert_eq!(result(sent, 0), ("submitted".to_owned(), lines as u64));
        all.push_str(&text);
        all.push('\n');
        holds("/tmp/cats.out", &all);
    }
}

fn an_editor_gets_texts_of_every_size() {
    for bytes in [1, 40, 500, 3_000, 100_000] {
        for lines in [1, 2, 50] {
            if bytes == 100_000 && lines < 50 {
                // vim 9.1 takes 26 to 46 s for lines of this length, independently of forge.
                continue;
            }
            let _ = std::fs::remove_file("/tmp/sizes.txt");
            let (_session, _) = spawn("sizes", &[], &["vim.tiny", "-u", "NONE", "-N", "/tmp/sizes.txt"]);
            wait_until(TEN_S, "the editor", || forge(&["capture", "sizes"]).stdout.contains("sizes.txt"));
            send("sizes", &["--key", "i"]).ok();
            let text = text(bytes, lines);
            let sent = send_input("sizes", &["--no-enter", "-"], text.as_bytes());
            assert_eq!(result(sent, 0), ("typed".to_owned(), 0), "{bytes} bytes on {lines} lines");
            send("sizes", &["--key", "Escape", "--key", ":", "--key", "w", "--key", "Enter"]).ok();
            holds("/tmp/sizes.txt", &format!("{text}\n"));
        }
    }
}

fn a_pager_gets_no_text_of_any_size() {
    std::fs::write("/tmp/pages", "a line\n".repeat(500)).expect("the pages");
    for bytes in [40, 500, 3_000] {
        let (_session, _) = spawn("pages", &[], &["less", "/tmp/pages"]);
        wait_until(TEN_S, "the pager", || forge(&["capture", "pages"]).stdout.contains("/tmp/pages"));
        let (kind, message) = refusal(&send_input("pages", &["-"], text(bytes, 1).as_bytes()));
        assert_eq!(kind, "not_shown", "{message}");
        assert_eq!(forge(&["status", "pages"]).code, 0);
    }
}
