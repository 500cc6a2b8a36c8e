//! Attached users: their keys are never mixed with forge's, and forge types nothing into a pane in copy mode.

use super::{TEN_S, is_submitted, is_untouched, of, refusal, send};
use crate::input_box::options::Kind;
use crate::input_box::played::Played;
use crate::ran::Background;
use crate::suite::{Test, inside};
use crate::support::{forge_json, start, tmux, wait_until};
use std::time::{Duration, Instant};

pub(super) fn tests() -> Vec<Test> {
    vec![
        inside!(copy_mode_is_left_where_nobody_is_attached),
        inside!(a_user_in_copy_mode_is_not_disturbed),
        inside!(text_is_not_mixed_with_a_typing_users),
        inside!(an_idle_attached_user_does_not_block_a_send),
    ]
}

/// A user at a terminal; a shell command line generates the keys.
struct Person(Background);

impl Person {
    #[track_caller]
    fn attach(session: &Played, keys: &str) -> Self {
        let name = &session.name;
        let line = format!("{{ {keys}; }} | TERM=xterm script -qec 'forge attach {name}' /dev/null");
        let it = Self(start(&["sh", "-c", &line]));
        wait_until(TEN_S, "the person", || forge_json(&["status", name])["attached"] == true);
        it
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        self.0.kill();
    }
}

fn copy_mode_is_left_where_nobody_is_attached() {
    let it = Played::spawn("copied", &of(Kind::Bracketed), &[]);
    for mode in [&["copy-mode"][..], &["copy-mode", "-e"], &["clock-mode"], &["choose-tree"]] {
        tmux("spawn-copied", &[&["-N"], mode].concat()).ok();
        let ran = send(&it.name, &["a text"]);
        assert!(ran.stderr.contains("copy mode"), "{mode:?}: {ran}");
        is_submitted(ran);
        assert_eq!(it.submitted().pop().as_deref(), Some("a text"));
    }
    assert_eq!(it.submitted(), ["a text"; 4]);
}

fn a_user_in_copy_mode_is_not_disturbed() {
    let it = Played::spawn("read", &of(Kind::Bracketed), &[]);
    let person = Person::attach(&it, "sleep 1000");
    tmux("spawn-read", &["-N", "copy-mode"]).ok();
    let ran = send(&it.name, &["a text"]);
    let (kind, message) = refusal(&ran);
    assert_eq!((kind.as_str(), ran.code), ("attached", 1));
    assert!(message.contains("/dev/pts/") && message.contains("copy mode"), "{message}");
    let mode = tmux("spawn-read", &["-N", "display", "-p", "#{pane_in_mode}"]).ok().stdout;
    assert_eq!(mode.trim(), "1", "the mode is not left");
    is_untouched(&it);
    drop(person);
    tmux("spawn-read", &["-N", "detach-client", "-s", "read"]);
    wait_until(TEN_S, "the person to leave", || forge_json(&["status", "read"])["attached"] == false);
    is_submitted(send(&it.name, &["a text"]));
}

fn text_is_not_mixed_with_a_typing_users() {
    let it = Played::spawn("typed", &of(Kind::Line), &[]);
    let person = Person::attach(&it, "while :; do printf z; sleep 0.5; done");
    wait_until(TEN_S, "the first keys", || it.standing().starts_with("zz"));
    let begun = Instant::now();
    let ran = send(&it.name, &["a text"]);
    let (kind, message) = refusal(&ran);
    assert_eq!((kind.as_str(), ran.code), ("attached", 1));
    assert!(message.contains("/dev/pts/") && message.contains("types"), "{message}");
    assert!(begun.elapsed() >= Duration::from_secs(8), "forge waits before it gives up");
    let standing = it.standing();
    assert!(standing.chars().all(|c| c == 'z') && it.submitted().is_empty(), "{}", it.story());
    // forge waits until the user stops, and does not append its text to what the user left.
    drop(person);
    let (kind, message) = refusal(&send(&it.name, &["a text"]));
    assert_eq!(kind, "input", "{message}");
    is_submitted(send(&it.name, &["--replace-input", "a text"]));
    assert_eq!(it.submitted(), ["a text"]);
}

fn an_idle_attached_user_does_not_block_a_send() {
    let it = Played::spawn("idle", &of(Kind::Bracketed), &[]);
    let _person = Person::attach(&it, "sleep 1000");
    // forge treats a user who has just attached as one who has just typed, and waits.
    is_submitted(send(&it.name, &["a text"]));
    let lines = ["several lines"; 50].join("\n");
    is_submitted(send(&it.name, &[&lines]));
    assert_eq!(it.submitted(), ["a text", &lines]);
}
