//! Typing into real programs: shells, an interpreter, an editor, a pager, and cat.

use super::{TEN_S, is_submitted, refusal, result, send};
use crate::suite::{Test, inside};
use crate::support::{forge, spawn, tmux, wait_until};

/// Packages that this group's machine needs in addition.
pub(super) const PACKAGES: &str = ",less,python3,vim-tiny";

pub(super) fn tests() -> Vec<Test> {
    vec![
        inside!(bash_runs_a_command_once),
        inside!(bash_runs_a_loop_of_several_lines),
        inside!(a_plain_shell_runs_a_command_once),
        inside!(python_evaluates_a_line_once),
        inside!(python_takes_a_function),
        inside!(cat_gets_a_line_once),
        inside!(an_editor_that_inserts_gets_the_text_once),
        inside!(an_editors_command_line_is_an_input_line),
        inside!(a_pager_that_takes_keys_gets_no_text),
        inside!(a_question_behind_read_gets_no_second_enter),
    ]
}

fn screen(session: &str) -> String {
    forge(&["capture", session]).stdout
}

#[track_caller]
fn shows(session: &str, text: &str) {
    wait_until(TEN_S, &format!("{text:?} in {session}"), || screen(session).contains(text));
}

/// Counts the lines of a file that equal this text.
fn count(file: &str, line: &str) -> usize {
    std::fs::read_to_string(file).unwrap_or_default().lines().filter(|found| *found == line).count()
}

#[track_caller]
fn ran_once(file: &str, line: &str) {
    wait_until(TEN_S, &format!("{line:?} in {file}"), || count(file, line) > 0);
    assert_eq!(count(file, line), 1);
}

fn bash_runs_a_command_once() {
    let _ = std::fs::remove_file("/tmp/bash.out");
    let (_session, _) = spawn("bash", &["--ready", r"\$ $"], &["bash", "--norc", "-i"]);
    is_submitted(send("bash", &["echo one $((6*7)) >>/tmp/bash.out"]));
    ran_once("/tmp/bash.out", "one 42");
    // A text that wraps, and 3,000 bytes of one.
    let long = "x".repeat(3_000);
    is_submitted(send("bash", &[&format!("echo {long} >>/tmp/bash.out")]));
    ran_once("/tmp/bash.out", &long);
    // Text in the input line is not run with the next command.
    tmux("spawn-bash", &["-N", "send-keys", "-l", "rm -rf /tmp/precious "]).ok();
    shows("bash", "precious");
    let (kind, message) = refusal(&send("bash", &["echo two >>/tmp/bash.out"]));
    assert_eq!(kind, "input");
    assert!(message.contains("rm -rf /tmp/precious"), "{message}");
    is_submitted(send("bash", &["--replace-input", "echo two >>/tmp/bash.out"]));
    ran_once("/tmp/bash.out", "two");
    // While a command runs that reads nothing, the kernel buffers and echoes the text.
    is_submitted(send("bash", &["sleep 1; echo three >>/tmp/bash.out"]));
    ran_once("/tmp/bash.out", "three");
}

fn bash_runs_a_loop_of_several_lines() {
    let _ = std::fs::remove_file("/tmp/loop.out");
    let (_session, _) = spawn("loop", &["--ready", r"\$ $"], &["bash", "--norc", "-i"]);
    is_submitted(send("loop", &["for i in 1 2 3\ndo echo number $i >>/tmp/loop.out\ndone"]));
    ran_once("/tmp/loop.out", "number 3");
    ran_once("/tmp/loop.out", "number 1");
}

fn a_plain_shell_runs_a_command_once() {
    let _ = std::fs::remove_file("/tmp/sh.out");
    let (_session, _) = spawn("plain", &["--ready", r"\$ $"], &["sh", "-i"]);
    is_submitted(send("plain", &["echo one >>/tmp/sh.out"]));
    ran_once("/tmp/sh.out", "one");
    assert_eq!(refusal(&send("plain", &["echo two >>/tmp/sh.out\necho three >>/tmp/sh.out"])).0, "usage");
    is_submitted_lines("plain", "echo two >>/tmp/sh.out\necho three >>/tmp/sh.out");
    ran_once("/tmp/sh.out", "three");
    ran_once("/tmp/sh.out", "two");
}

#[track_caller]
fn is_submitted_lines(session: &str, text: &str) {
    let said = send(session, &["--lines", text]).ok().json();
    assert_eq!(said["result"], "submitted", "{said}");
}

fn python_evaluates_a_line_once() {
    let _ = std::fs::remove_file("/tmp/python.out");
    let (_session, _) = spawn("python", &["--ready", "^>>> $"], &["python3", "-q"]);
    for n in [1, 2] {
        let line = format!("print('line', {n} * 21, file=open('/tmp/python.out', 'a'), flush=True)");
        is_submitted(send("python", &[&line]));
        ran_once("/tmp/python.out", &format!("line {}", n * 21));
    }
}

fn python_takes_a_function() {
    let _ = std::fs::remove_file("/tmp/function.out");
    let (_session, _) = spawn("function", &["--ready", r"^(>>>|\.\.\.) $"], &["python3", "-q"]);
    let code =
        "def f(x):\n    for y in range(x):\n        print('f', y, file=open('/tmp/function.out', 'a'))\n";
    // Python 3.13 asks for bracketed paste, and needs an empty line behind the function; 3.11 does not ask.
    let ran = send("function", &[code]);
    if ran.code == 0 {
        send("function", &["--key", "Enter"]).ok();
    } else {
        assert_eq!(refusal(&ran).0, "usage", "{ran}");
        is_submitted_lines("function", &format!("{code}\n\n#"));
    }
    shows("function", "print('f'");
    is_submitted(send("function", &["f(3)"]));
    ran_once("/tmp/function.out", "f 2");
    ran_once("/tmp/function.out", "f 0");
}

fn cat_gets_a_line_once() {
    let _ = std::fs::remove_file("/tmp/cat.out");
    let (_session, _) = spawn("cat", &[], &["sh", "-c", "exec cat >/tmp/cat.out"]);
    for text in ["one line: дом 漢字", "y"] {
        is_submitted(send("cat", &[text]));
        ran_once("/tmp/cat.out", text);
    }
    assert_eq!(refusal(&send("cat", &["two\nlines"])).0, "usage");
    assert_eq!(count("/tmp/cat.out", "two") + count("/tmp/cat.out", "lines"), 0);
}

fn an_editor_that_inserts_gets_the_text_once() {
    let _ = std::fs::remove_file("/tmp/vi.txt");
    let (_session, _) = spawn("editor", &[], &["vim.tiny", "-u", "NONE", "-N", "/tmp/vi.txt"]);
    shows("editor", "/tmp/vi.txt");
    send("editor", &["--key", "i"]).ok();
    assert_eq!(result(send("editor", &["--no-enter", "first line"]), 0), ("typed".to_owned(), 0));
    send("editor", &["--key", "Escape"]).ok();
    send("editor", &["--key", ":", "--key", "w", "--key", "Enter"]).ok();
    ran_once("/tmp/vi.txt", "first line");
}

fn an_editors_command_line_is_an_input_line() {
    let _ = std::fs::remove_file("/tmp/quit.txt");
    let (_session, _) = spawn("quits", &[], &["vim.tiny", "-u", "NONE", "-N", "/tmp/quit.txt"]);
    shows("quits", "/tmp/quit.txt");
    // The key `:` opens the command line, which shows the rest of the text.
    send("quits", &["--key", ":"]).ok();
    shows("quits", "\n:");
    is_submitted(send("quits", &["w /tmp/quit.txt"]));
    wait_until(TEN_S, "the file", || std::path::Path::new("/tmp/quit.txt").exists());
}

fn a_pager_that_takes_keys_gets_no_text() {
    std::fs::write("/tmp/pages", "a line\n".repeat(500)).expect("the pages");
    let (_session, _) = spawn("pager", &[], &["less", "/tmp/pages"]);
    shows("pager", "/tmp/pages");
    // The first key opens the help instead of an echo, so forge types neither the 'q' and 'y' after it nor
    // Enter.
    let (kind, message) = refusal(&send("pager", &["hey, quit"]));
    assert_eq!(kind, "not_shown", "{message}");
    assert!(forge(&["status", "pager"]).code == 0, "it runs still");
    shows("pager", "SUMMARY OF LESS COMMANDS");
    send("pager", &["--key", "q"]).ok();
    shows("pager", "a line");
}

fn a_question_behind_read_gets_no_second_enter() {
    let program = "printf 'name> '; read n; sleep 1.5; printf 'Keep the data? [Y/n] '; read a; \
                   echo \"answered: '$a'\"; sleep 1000";
    let (_session, _) = spawn("reads", &["--ready", "name> "], &["sh", "-c", program]);
    is_submitted(send("reads", &["ada"]));
    shows("reads", "Keep the data?");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert!(!screen("reads").contains("answered"), "{}", screen("reads"));
}
