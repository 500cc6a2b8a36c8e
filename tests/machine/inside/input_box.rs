//! Tests of the input box, the program that the typing tests type into. Here tmux types, not forge.

use crate::input_box::log::Event;
use crate::input_box::options::{Busy, Chip, Form, Kind, Options, Question, When};
use crate::input_box::played::Played;
use crate::suite::{Test, inside};
use crate::support::{run, tmux, wait_until};
use std::time::Duration;

const TEN_S: Duration = Duration::from_secs(10);

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(keys_and_enter_submit_a_text),
        inside!(a_paste_is_one_text_with_its_line_breaks),
        inside!(a_long_paste_is_shown_as_a_chip),
        inside!(enter_within_the_paste_window_is_a_line_break),
        inside!(enter_answers_the_question_that_is_shown),
        inside!(a_single_key_answers_the_question_that_is_shown),
        inside!(a_question_goes_away_and_the_text_comes_back),
        inside!(keys_that_wait_while_it_is_busy_are_known),
        inside!(the_kernel_edits_the_line_of_a_password),
        inside!(every_kind_shows_what_is_typed),
    ]
}

fn keys(session: &Played, keys: &[&str]) {
    let target = ["-N", "send-keys", "-t", &session.name];
    tmux(&format!("spawn-{}", session.name), &[&target[..], keys].concat()).ok();
}

fn paste(session: &Played, text: &str) {
    let socket = format!("spawn-{}", session.name);
    std::fs::write("/tmp/pasted", text).expect("a file");
    tmux(&socket, &["-N", "load-buffer", "-b", "test", "/tmp/pasted"]).ok();
    tmux(&socket, &["-N", "paste-buffer", "-p", "-d", "-b", "test", "-t", &session.name]).ok();
}

fn of(kind: Kind) -> Options {
    Options { kind, ..Options::default() }
}

/// A question that stays for a minute.
fn asking(form: Form, when: When) -> Question {
    Question { form, when, stays_ms: 60_000 }
}

fn answers(session: &Played) -> Vec<(String, bool)> {
    let answer = |event: &Event| match event {
        Event::Answered { answer, pending, .. } => Some((answer.clone(), *pending)),
        _ => None,
    };
    session.log().iter().filter_map(|entry| answer(&entry.event)).collect()
}

#[track_caller]
fn submits(session: &Played, text: &str) {
    session.event("the text", |event| matches!(event, Event::Submitted { .. }));
    assert_eq!(session.submitted(), [text], "{}", session.story());
}

fn keys_and_enter_submit_a_text() {
    let it = Played::spawn("keyed", &of(Kind::Line), &[]);
    keys(&it, &["-l", "--", "дом, 漢字 and a🦀!"]);
    wait_until(TEN_S, "the echo", || it.screen().contains("> дом, 漢字 and a🦀!"));
    assert_eq!(it.submitted(), Vec::<String>::new());
    assert_eq!(it.standing(), "дом, 漢字 and a🦀!");
    keys(&it, &["BSpace", "Enter"]);
    submits(&it, "дом, 漢字 and a🦀");
    // C-u empties the line; Escape, Up and Enter do nothing.
    it.again(&of(Kind::Line));
    keys(&it, &["a", "b", "C-u", "Up", "Escape"]);
    it.event("Escape", |event| *event == Event::Key { key: "Escape".into() });
    keys(&it, &["Enter", "F1"]);
    it.event("F1", |event| *event == Event::Key { key: "F1".into() });
    let keys: Vec<String> = it
        .log()
        .into_iter()
        .filter_map(|entry| if let Event::Key { key } = entry.event { Some(key) } else { None })
        .collect();
    assert_eq!(keys, ["C-u", "Up", "Escape", "Enter", "F1"]);
    assert_eq!((it.standing(), it.submitted()), (String::new(), vec![]));
}

fn a_paste_is_one_text_with_its_line_breaks() {
    let it = Played::spawn("pasted", &of(Kind::Bracketed), &[]);
    for lines in [1, 2, 50] {
        it.again(&of(Kind::Bracketed));
        let text = vec!["    let x = \"漢字 und é\"; // дом"; lines].join("\n");
        paste(&it, &text);
        wait_until(TEN_S, "the paste", || it.standing() == text);
        wait_until(TEN_S, "its end on the screen", || it.screen().contains("漢字 und é\"; // дом"));
        keys(&it, &["Enter"]);
        submits(&it, &text);
    }
    // The same with 100,000 bytes.
    it.again(&of(Kind::Bracketed));
    let text = "0123456789".repeat(10_000);
    paste(&it, &text);
    wait_until(TEN_S, "the paste", || it.standing() == text);
    keys(&it, &["Enter"]);
    submits(&it, &text);
}

fn a_long_paste_is_shown_as_a_chip() {
    let it = Played::spawn("chips", &of(Kind::Bracketed), &[]);
    let long = ["line"; 50].join("\n");
    let wide = "x".repeat(3000);
    for (chip, text, label) in [
        (Chip::Lines, &long, "> [Pasted text #1 +49 lines] "),
        (Chip::Lines, &wide, "> [Pasted text #1] "),
        (Chip::Characters, &wide, "> [Pasted Content 3000 chars] "),
    ] {
        it.again(&Options { chip, ..of(Kind::Bracketed) });
        paste(&it, text);
        wait_until(TEN_S, "the chip", || it.screen().contains(label));
        keys(&it, &["Enter"]);
        submits(&it, text);
    }
}

fn enter_within_the_paste_window_is_a_line_break() {
    let options = Options { paste_window_ms: 300, ..of(Kind::Line) };
    let it = Played::spawn("window", &options, &[]);
    keys(&it, &["-l", "--", "quick"]);
    keys(&it, &["Enter"]);
    it.event("the line break", |event| *event == Event::LineBreak);
    assert_eq!((it.standing().as_str(), it.submitted()), ("quick\n", vec![]));
    std::thread::sleep(Duration::from_millis(400));
    keys(&it, &["Enter"]);
    submits(&it, "quick");
}

fn enter_answers_the_question_that_is_shown() {
    for kind in [Kind::Line, Kind::Bracketed, Kind::List] {
        let options = Options { question: Some(asking(Form::Menu, When::Byte(2))), ..of(kind) };
        let it = Played::spawn("asks", &options, &[]);
        keys(&it, &["-l", "--", "ab"]);
        it.event("the question", |event| matches!(event, Event::Question { .. }));
        wait_until(TEN_S, "it on the screen", || it.screen().contains("Run on production?\n❯ 1. Yes"));
        keys(&it, &["c", "Down", "Enter"]);
        it.event("the answer", |event| matches!(event, Event::Answered { .. }));
        assert_eq!(answers(&it), [("No".to_owned(), false)], "{}", it.story());
        // The box is back with its text, without the keys that were typed at the question.
        assert_eq!((it.standing().as_str(), it.submitted()), ("ab", vec![]));
    }
}

fn a_single_key_answers_the_question_that_is_shown() {
    let options = Options { question: Some(asking(Form::SingleKey, When::Start)), ..of(Kind::Line) };
    let it = Played::spawn("single", &options, &[]);
    wait_until(TEN_S, "it on the screen", || it.screen().contains("Overwrite the file? [y/n]"));
    keys(&it, &["Enter", "x"]);
    keys(&it, &["y", "y"]);
    it.event("the answer", |event| matches!(event, Event::Answered { .. }));
    assert_eq!(answers(&it), [("Yes".to_owned(), false)], "{}", it.story());
    wait_until(TEN_S, "what follows", || it.standing() == "y");
}

fn a_question_goes_away_and_the_text_comes_back() {
    let question = Some(Question { form: Form::Menu, when: When::Quiet(50), stays_ms: 300 });
    let it = Played::spawn("goes", &Options { question, ..of(Kind::Bracketed) }, &[]);
    paste(&it, "some text");
    it.event("its end", |event| *event == Event::Cancelled { by: "time".into() });
    wait_until(TEN_S, "the text", || it.screen().contains("> some text "));
    keys(&it, &["Enter"]);
    submits(&it, "some text");
    assert_eq!(answers(&it), []);
}

fn keys_that_wait_while_it_is_busy_are_known() {
    let question = Some(asking(Form::Menu, When::Enter(0)));
    let busy = Busy { for_ms: 1000, at_enter: true, ..Busy::default() };
    let it = Played::spawn("busied", &Options { busy, question, ..of(Kind::Line) }, &[]);
    keys(&it, &["a", "Enter"]);
    it.event("the text", |event| matches!(event, Event::Submitted { .. }));
    keys(&it, &["Enter"]);
    it.event("the answer", |event| matches!(event, Event::Answered { .. }));
    assert_eq!(answers(&it), [("Yes".to_owned(), true)], "{}", it.story());
}

fn the_kernel_edits_the_line_of_a_password() {
    let question = Some(asking(Form::Menu, When::Enter(500)));
    let it = Played::spawn("secret", &Options { question, ..of(Kind::Password) }, &[]);
    keys(&it, &["-l", "--", "hunter3"]);
    keys(&it, &["BSpace", "2", "Enter"]);
    submits(&it, "hunter2");
    wait_until(TEN_S, "the question", || it.screen().contains("Keep the data? [Y/n]"));
    assert!(!it.screen().contains("hunter2"), "{}", it.story());
    keys(&it, &["Enter"]);
    it.event("the answer", |event| matches!(event, Event::Answered { .. }));
    // The same with the shell's `read`, which echoes.
    it.again(&of(Kind::Canonical));
    keys(&it, &["-l", "--", "a line"]);
    wait_until(TEN_S, "the echo", || it.screen().contains("> a line"));
    keys(&it, &["Enter"]);
    submits(&it, "a line");
}

fn every_kind_shows_what_is_typed() {
    let it = Played::spawn("shows", &of(Kind::Line), &[]);
    let text = "漢字 ".repeat(60) + "the end";
    for kind in [Kind::Line, Kind::Wrapped, Kind::Bracketed, Kind::List] {
        for alternate in [false, true] {
            it.again(&Options { alternate, ..of(kind) });
            keys(&it, &["-l", "--", &text]);
            wait_until(TEN_S, "the end of the text", || it.screen().contains("the end"));
            // The cursor is behind the text.
            let at = ["-N", "display", "-p", "-t", &it.name, "#{cursor_x} #{cursor_character} #{cursor_y}"];
            let place = tmux(&format!("spawn-{}", it.name), &at).ok().stdout;
            println!("{kind:?} {alternate}: {place}{}", it.screen());
            keys(&it, &["Enter"]);
            submits(&it, &text);
        }
    }
    let _ = run(&["rm", "-f", "/tmp/pasted"]);
}
