//! Text arrives once, completely and with its line breaks; keys arrive in order.

use super::{TEN_S, is_submitted, keys, of, refusal, result, send, send_input};
use crate::input_box::log::Event;
use crate::input_box::options::{Chip, Frame, Kind, Options};
use crate::input_box::played::Played;
use crate::suite::{Test, inside};
use crate::support::{start, tmux, wait_until};
use std::collections::BTreeSet;
use std::time::Duration;

pub(super) fn tests() -> Vec<Test> {
    vec![
        inside!(every_kind_of_program_gets_a_text_once),
        inside!(a_long_text_arrives_whole),
        inside!(line_breaks_arrive_in_a_paste),
        inside!(lines_are_entries_of_their_own_when_asked_for),
        inside!(text_without_enter_stays_in_the_input_line),
        inside!(replace_input_empties_the_line_first),
        inside!(keys_go_in_the_order_of_the_command_line),
        inside!(a_text_comes_from_standard_input_or_a_file),
        inside!(a_text_is_typed_as_it_is_written),
        inside!(an_enter_that_is_taken_for_a_line_break_is_pressed_again),
        inside!(twenty_writers_keep_their_texts_apart).limit_s(240),
    ]
}

fn every_kind_of_program_gets_a_text_once() {
    let text = "look at src/дом.rs: 漢字 breaks it 🦀 (twice)";
    let it = Played::spawn("each", &of(Kind::Line), &[]);
    for kind in [Kind::Line, Kind::Wrapped, Kind::Bracketed, Kind::List, Kind::Canonical] {
        for alternate in [false, true] {
            it.again(&Options { alternate, ..of(kind) });
            is_submitted(send(&it.name, &[text]));
            assert_eq!((it.submitted(), it.standing()), (vec![text.to_owned()], String::new()), "{kind:?}");
        }
    }
    for frame in [Frame::Borders, Frame::Rules, Frame::Nothing] {
        let options =
            Options { frame, own_cursor: true, placeholder: true, sign: Some('❯'), ..of(Kind::Bracketed) };
        it.again(&options);
        for text in [text, "y", "1"] {
            is_submitted(send(&it.name, &[text]));
        }
        assert_eq!(it.submitted(), [text, "y", "1"], "{frame:?}");
    }
}

fn a_long_text_arrives_whole() {
    let it = Played::spawn("long", &of(Kind::Bracketed), &[]);
    for bytes in [3_000, 100_000] {
        for lines in [1, 50] {
            let line = "Ж 漢字 and words; ".repeat(bytes / lines / 24);
            let text = vec![line.trim_end(); lines].join("\n");
            for chip in [Chip::Never, Chip::Lines, Chip::Characters, Chip::Either] {
                it.again(&Options { chip, ..of(Kind::Bracketed) });
                is_submitted(send(&it.name, &[&text]));
                assert_eq!((it.submitted(), it.standing()), (vec![text.clone()], String::new()), "{chip:?}");
            }
        }
    }
}

fn line_breaks_arrive_in_a_paste() {
    let it = Played::spawn("breaks", &of(Kind::Bracketed), &[]);
    let code = "fn main() {\n\tlet x = 1;\n\n    println!(\"{x}\");\n}";
    for text in [code, &code.replace('\n', "\r\n"), &format!("{code}\n\n")] {
        is_submitted(send(&it.name, &[text]));
    }
    assert_eq!(it.submitted(), [code; 3]);
}

fn lines_are_entries_of_their_own_when_asked_for() {
    let it = Played::spawn("lines", &of(Kind::Line), &[]);
    for kind in [Kind::Line, Kind::Wrapped, Kind::Canonical] {
        it.again(&of(kind));
        let (kind, message) = refusal(&send(&it.name, &["one\ntwo\nthree"]));
        assert_eq!(kind, "usage");
        assert!(message.contains("3 lines"), "{message}");
        assert_eq!(it.submitted(), Vec::<String>::new());
        let said = send(&it.name, &["--lines", "one\ntwo\nthree"]).ok().json();
        assert_eq!((&said["result"], &said["attempts"]), (&"submitted".into(), &3.into()), "{said}");
        assert_eq!(it.submitted(), ["one", "two", "three"]);
    }
}

fn text_without_enter_stays_in_the_input_line() {
    let it = Played::spawn("stands", &of(Kind::Line), &[]);
    for kind in [Kind::Line, Kind::Bracketed] {
        it.again(&of(kind));
        assert_eq!(result(send(&it.name, &["--no-enter", "half a"]), 0), ("typed".to_owned(), 0));
        assert_eq!((it.standing().as_str(), it.submitted()), ("half a", vec![]));
        // forge does not append to text that is in the box already: it types nothing.
        let (kind, message) = refusal(&send(&it.name, &["another"]));
        assert_eq!(kind, "input");
        assert!(message.contains("'half a'"), "{message}");
        assert_eq!((it.standing().as_str(), it.submitted()), ("half a", vec![]));
        // Enter alone is a key.
        send(&it.name, &["--key", "Enter"]).ok();
        it.event("the text", |event| matches!(event, Event::Submitted { .. }));
        assert_eq!(it.submitted(), ["half a"]);
    }
}

fn replace_input_empties_the_line_first() {
    let it = Played::spawn("replaced", &of(Kind::Line), &[]);
    for (kind, standing) in [
        (Kind::Line, "left over"),
        (Kind::Wrapped, "left over"),
        (Kind::Bracketed, "left over"),
        (Kind::Bracketed, "left over\nin three\nlines"),
        (Kind::Bracketed, "left over\n\n"),
        (Kind::List, "left over"),
    ] {
        it.again(&Options { standing: standing.to_owned(), ..of(kind) });
        is_submitted(send(&it.name, &["--replace-input", "the text"]));
        assert_eq!(it.submitted(), ["the text"], "{kind:?} {standing:?}");
    }
    // The kernel's line editor behaves the same.
    it.again(&of(Kind::Canonical));
    tmux("spawn-replaced", &["-N", "send-keys", "-l", "left over"]).ok();
    wait_until(TEN_S, "it", || it.screen().contains("left over"));
    is_submitted(send(&it.name, &["--replace-input", "the text"]));
    assert_eq!(it.submitted(), ["the text"]);
}

fn keys_go_in_the_order_of_the_command_line() {
    let it = Played::spawn("keys", &of(Kind::Line), &[]);
    let said =
        send(&it.name, &["--key", "F1", "--key", "Up", "a text", "--key", "C-a", "--key", "BTab"]).ok();
    assert_eq!(said.json()["attempts"], 0, "{said}");
    assert_eq!(keys(&it), ["^[OP", "Up", "C-a", "BTab"].map(|key| key.replace("^[OP", "F1")));
    // A key after the text replaces forge's Enter.
    assert_eq!((it.standing().as_str(), it.submitted()), ("a text", vec![]));
    send(&it.name, &["--key", "C-u", "--key", "x", "--key", "Enter"]).ok();
    it.event("the text", |event| matches!(event, Event::Submitted { .. }));
    assert_eq!(it.submitted(), ["x"]);
    it.again(&of(Kind::Line));
    for bad in ["Entr", "", "C-", "enter-", "a text", "\u{1b}", "Hello"] {
        let (kind, message) = refusal(&send(&it.name, &["--key", "Up", "a text", "--key", bad]));
        assert_eq!(kind, "usage", "{bad}");
        assert!(message.contains(&bad.escape_debug().to_string()), "{message}");
    }
    super::is_untouched(&it);
}

fn a_text_comes_from_standard_input_or_a_file() {
    let it = Played::spawn("input", &of(Kind::Bracketed), &[]);
    // The text is longer than an argument can be.
    let long = "0123456789 abcde\n".repeat(16_000);
    let text = long.trim_end();
    is_submitted(send_input(&it.name, &["-"], long.as_bytes()));
    is_submitted(send(&it.name, &["--file", "/tmp/input.input"]));
    assert!(it.submitted() == [text, text], "{}", it.story());
    // The limit is 1 MiB, for arguments, files and standard input.
    let most = "x".repeat(1 << 20);
    is_submitted(send_input(&it.name, &["-"], most.as_bytes()));
    it.again(&of(Kind::Bracketed));
    for (text, word) in [(format!("{most}x").into_bytes(), "1 MiB"), (b"a\xff".to_vec(), "UTF-8")] {
        for args in [&["-"][..], &["--file", "/tmp/input.input"]] {
            let (kind, message) = refusal(&send_input(&it.name, args, &text));
            assert_eq!(kind, "usage");
            assert!(message.contains(word), "{message}");
        }
    }
    assert_ne!(send(&it.name, &["--file", "/tmp/no-such-file"]).code, 0);
    super::is_untouched(&it);
}

fn a_text_is_typed_as_it_is_written() {
    let it = Played::spawn("verbatim", &of(Kind::Line), &[]);
    let texts = ["$HOME 'x' \"y\" #{pid} %% ;", ";", "\\;", "-x", "~", "#{", "Enter", "C-u", "two  blanks"];
    for kind in [Kind::Line, Kind::Bracketed] {
        it.again(&of(kind));
        for text in texts {
            is_submitted(send(&it.name, &["--", text]));
        }
        assert_eq!(it.submitted(), texts);
    }
}

fn an_enter_that_is_taken_for_a_line_break_is_pressed_again() {
    let it = Played::spawn("window", &of(Kind::Line), &[]);
    for kind in [Kind::Line, Kind::Bracketed] {
        for paste_window_ms in [30, 120] {
            it.again(&Options { paste_window_ms, ..of(kind) });
            let text = "a text of fifty bytes, which come as one fast run";
            let said = send(&it.name, &[text]).ok().json();
            assert_eq!(said["result"], "submitted", "{said}\n{}", it.story());
            assert!([1, 2].contains(&said["attempts"].as_u64().expect("attempts")), "{said}");
            assert_eq!(it.submitted(), [text]);
        }
    }
}

fn twenty_writers_keep_their_texts_apart() {
    let it = Played::spawn("many", &of(Kind::Bracketed), &[]);
    let texts: BTreeSet<String> =
        (0..20).map(|n| format!("text {n} {}", "word ".repeat(n) + "end")).collect();
    let writers: Vec<_> =
        texts.iter().map(|text| start(&["forge", "--json", "send", &it.name, text])).collect();
    for writer in writers {
        is_submitted(writer.wait(Duration::from_secs(60)));
    }
    let submitted = it.submitted();
    assert_eq!(submitted.len(), texts.len(), "{}", it.story());
    assert_eq!(submitted.into_iter().collect::<BTreeSet<_>>(), texts, "{}", it.story());
}
