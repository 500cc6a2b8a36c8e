//! Texts that forge does not type or does not submit: questions stay unanswered.

use super::{TEN_S, is_unanswered, is_untouched, keys, of, question, refusal, result, send};
use crate::input_box::log::Event;
use crate::input_box::options::{Busy, Form, Kind, Options, When};
use crate::input_box::played::Played;
use crate::suite::{Test, inside};
use crate::support::{forge, spawn, wait_until};
use std::time::Duration;

pub(super) fn tests() -> Vec<Test> {
    vec![
        inside!(a_password_is_typed_once_and_the_next_question_stays),
        inside!(an_escape_character_is_refused_by_name),
        inside!(control_characters_and_tabs_are_no_text),
        inside!(a_busy_program_gets_no_second_enter),
        inside!(nothing_is_typed_while_a_question_is_shown),
        inside!(a_question_that_comes_up_behind_the_text_gets_no_enter),
        inside!(a_menu_without_a_pattern_gets_no_enter),
        inside!(one_character_is_not_found_in_the_row_above),
        inside!(a_question_of_a_single_key_gets_no_key_where_there_is_a_pattern),
        inside!(a_program_that_takes_keys_gets_one_character_alone),
        inside!(questions_are_answered_where_that_is_asked_for),
        inside!(a_number_answers_no_menu_where_there_is_a_pattern),
        inside!(a_program_that_is_not_ready_gets_nothing),
        inside!(a_text_that_does_not_appear_gets_no_enter),
        inside!(a_line_that_the_kernel_would_cut_is_refused),
    ]
}

fn a_password_is_typed_once_and_the_next_question_stays() {
    let program = "stty -echo; printf 'Password: '; read p; sleep 2; stty echo; \
                   printf 'Keep the data? [Y/n] '; read a; echo \"answered: '$a'\"; sleep 1000";
    let (_session, _) = spawn("hunter", &["--ready", "Password: "], &["sh", "-c", program]);
    let screen = || forge(&["capture", "hunter"]).stdout;
    assert_eq!(result(send("hunter", &["hunter2"]), 0), ("unconfirmed".to_owned(), 1));
    wait_until(TEN_S, "the second question", || screen().contains("Keep the data?"));
    // A second Enter would arrive within one second; the test watches for longer than that.
    std::thread::sleep(Duration::from_millis(1500));
    assert!(!screen().contains("answered") && !screen().contains("hunter2"), "{}", screen());
    // The same with the program that counts keys.
    let options = Options { question: Some(question(Form::Menu, When::Enter(2_000))), ..of(Kind::Password) };
    let it = Played::spawn("secret", &options, &[]);
    assert_eq!(result(send(&it.name, &["hunter2"]), 0), ("unconfirmed".to_owned(), 1));
    it.event("the question", |event| matches!(event, Event::Question { .. }));
    std::thread::sleep(Duration::from_millis(1500));
    is_unanswered(&it);
    assert_eq!(it.submitted(), ["hunter2"]);
}

fn an_escape_character_is_refused_by_name() {
    let options = Options { question: Some(question(Form::Menu, When::Start)), ..of(Kind::Bracketed) };
    let it = Played::spawn("escape", &options, &[]);
    let ran = send(&it.name, &["\u{1b}"]);
    let (kind, message) = refusal(&ran);
    assert_eq!((kind.as_str(), ran.code), ("usage", 2));
    assert!(message.contains("Escape"), "{message}");
    let hint = ran.json()["error"]["hint"].as_str().expect("a hint").to_owned();
    assert!(hint.contains("--key Escape"), "{hint}");
    is_untouched(&it);
    // Sent as a key, Escape is pressed and cancels.
    send(&it.name, &["--key", "Escape"]).ok();
    it.event("Escape", |event| *event == Event::Cancelled { by: "Escape".into() });
    assert_eq!(keys(&it), ["Escape"]);
}

fn control_characters_and_tabs_are_no_text() {
    let it = Played::spawn("control", &of(Kind::Line), &[]);
    for (bad, word) in [
        ("a\u{3}b", "C-c"),
        ("\u{1b}[200~x", "Escape"),
        ("a\rb", "Enter"),
        ("x\u{7f}", "BSpace"),
        ("a\tb", "tab"),
    ] {
        let (kind, message) = refusal(&send(&it.name, &[bad]));
        assert_eq!(kind, "usage", "{bad:?}");
        assert!(message.contains(word), "{bad:?}: {message}");
    }
    is_untouched(&it);
}

fn a_busy_program_gets_no_second_enter() {
    for kind in [Kind::Line, Kind::Wrapped, Kind::Bracketed, Kind::List] {
        for form in [Form::Menu, Form::SingleKey] {
            let busy = Busy { for_ms: 1_500, at_enter: true, ..Busy::default() };
            let options = Options { busy, question: Some(question(form, When::Enter(0))), ..of(kind) };
            let it = Played::spawn("busy", &options, &[]);
            // The reported result may differ here: the text was in the box before the question appeared.
            send(&it.name, &["go on"]);
            it.event("the question", |event| matches!(event, Event::Question { .. }));
            std::thread::sleep(Duration::from_millis(500));
            is_unanswered(&it);
            assert_eq!((it.submitted(), keys(&it)), (vec!["go on".to_owned()], vec![]), "{}", it.story());
        }
    }
}

const ASKING: [&str; 2] = ["--asking", r"^Run on production\?|^Overwrite the file\?"];

fn nothing_is_typed_while_a_question_is_shown() {
    for form in [Form::Menu, Form::SingleKey] {
        let options = Options { question: Some(question(form, When::Start)), ..of(Kind::Bracketed) };
        let it = Played::spawn("asks", &options, &ASKING);
        let ran = send(&it.name, &["wait, what is this?"]);
        let (kind, message) = refusal(&ran);
        assert_eq!((kind.as_str(), ran.code), ("asking", 1));
        let shown = if form == Form::Menu { "Run on production?" } else { "Overwrite the file?" };
        assert!(message.contains(shown), "{message}");
        // forge also refuses keys that would answer.
        assert_eq!(refusal(&send(&it.name, &["--key", "Enter"])).0, "asking");
        assert_eq!(refusal(&send(&it.name, &["--key", "y"])).0, "asking");
        is_untouched(&it);
        is_unanswered(&it);
        let answer: &[&str] = if form == Form::Menu { &["--key", "Enter"] } else { &["--key", "y"] };
        send(&it.name, &[&["--answer"], answer].concat()).ok();
        it.event("the answer", |event| matches!(event, Event::Answered { .. }));
    }
}

fn a_question_that_comes_up_behind_the_text_gets_no_enter() {
    // The question appears 1 ms after the text, while forge waits for the screen to settle.
    for kind in [Kind::Line, Kind::Bracketed] {
        let options = Options { question: Some(question(Form::Menu, When::Quiet(1))), ..of(kind) };
        let it = Played::spawn("behind", &options, &ASKING);
        let (kind, message) = refusal(&send(&it.name, &["a text"]));
        assert_eq!(kind, "asking");
        assert!(message.contains("Run on production?"), "{message}");
        is_unanswered(&it);
        // forge first sends a single character to a program without bracketed paste.
        let standing = it.standing();
        assert!("a text".starts_with(&standing) && !standing.is_empty(), "{}", it.story());
        assert_eq!(it.submitted(), Vec::<String>::new());
    }
}

fn a_menu_without_a_pattern_gets_no_enter() {
    for kind in [Kind::Line, Kind::Bracketed, Kind::List] {
        let options = Options { question: Some(question(Form::Menu, When::Start)), ..of(kind) };
        let it = Played::spawn("menu", &options, &[]);
        let ran = send(&it.name, &["go on"]);
        let (kind, message) = refusal(&ran);
        assert_eq!((kind.as_str(), ran.code), ("not_shown", 1));
        assert!(message.contains("❯ 1. Yes"), "the screen is shown: {message}");
        is_unanswered(&it);
        assert!(!keys(&it).contains(&"Enter".to_owned()), "{}", it.story());
    }
}

fn one_character_is_not_found_in_the_row_above() {
    // The row above the cursor ends with the character, and tmux scrolls a screen that is cleared from its
    // first cell.
    for kind in [Kind::Line, Kind::Bracketed] {
        let options = Options { question: Some(question(Form::Menu, When::Start)), ..of(kind) };
        let it = Played::spawn("above", &options, &[]);
        for text in ["?", "s", "n?"] {
            assert_eq!(refusal(&send(&it.name, &[text])).0, "not_shown", "{text}");
        }
        is_unanswered(&it);
        assert!(!keys(&it).contains(&"Enter".to_owned()), "{}", it.story());
    }
}

fn a_number_answers_no_menu_where_there_is_a_pattern() {
    for kind in [Kind::Line, Kind::Bracketed] {
        for pattern in [&ASKING[..], &["--ready", r"\? for shortcuts|^> *$"]] {
            let it = Played::spawn("number", &of(kind), pattern);
            it.again(&Options { question: Some(question(Form::Numbered, When::Start)), ..of(kind) });
            let (kind, _) = refusal(&send(&it.name, &["1"]));
            assert!(["asking", "not_ready"].contains(&kind.as_str()), "{kind}");
            is_untouched(&it);
            is_unanswered(&it);
        }
    }
}

fn a_question_of_a_single_key_gets_no_key_where_there_is_a_pattern() {
    let patterns = [&ASKING[..], &["--ready", "^> "]];
    for pattern in patterns {
        let it = Played::spawn("single", &of(Kind::Line), pattern);
        it.again(&Options { question: Some(question(Form::SingleKey, When::Start)), ..of(Kind::Line) });
        let (kind, _) = refusal(&send(&it.name, &["yes"]));
        assert!(["asking", "not_ready"].contains(&kind.as_str()), "{kind}");
        is_untouched(&it);
    }
    // A line that ends like `[y/n]` is a question without a question mark, too.
    let options = Options { question: Some(question(Form::SingleKey, When::Start)), ..of(Kind::Line) };
    let it = Played::spawn("known", &options, &[]);
    assert_eq!(refusal(&send(&it.name, &["yes"])).0, "asking");
    is_untouched(&it);
    is_unanswered(&it);
}

fn questions_are_answered_where_that_is_asked_for() {
    let script = "read -p 'Keep the data? [Y/n] ' a; echo \"got $a\"; read -n1 -p 'Sure? (y/n) ' b; echo; \
                  echo \"then $b\"; read -e -p 'Really? [yes/no]: ' c; echo \"at last $c\"; sleep 1000";
    let (_session, _) = spawn("asked", &[], &["bash", "--norc", "-c", script]);
    let shows = |text: &str| {
        wait_until(TEN_S, text, || forge(&["capture", "asked"]).stdout.contains(text));
    };
    // The program reads lines, single keys, or through a line editor.
    for (question, answer, enters, then) in
        [("[Y/n]", "y", 1, "got y"), ("(y/n)", "n", 0, "then n"), ("[yes/no]", "yes", 1, "at last yes")]
    {
        shows(question);
        assert_eq!(refusal(&send("asked", &["go on"])).0, "asking");
        assert_eq!(result(send("asked", &["--answer", answer]), 0), ("submitted".to_owned(), enters));
        shows(then);
    }
}

fn a_program_that_takes_keys_gets_one_character_alone() {
    let options = Options { question: Some(question(Form::Menu, When::Start)), ..of(Kind::Line) };
    let it = Played::spawn("first", &options, &[]);
    let (kind, message) = refusal(&send(&it.name, &["go now, yes"]));
    assert_eq!(kind, "not_shown");
    assert!(message.contains("'g'"), "{message}");
    assert_eq!(keys(&it), ["g"]);
    is_unanswered(&it);
}

fn a_program_that_is_not_ready_gets_nothing() {
    let it = Played::spawn("unready", &of(Kind::Line), &["--ready", "^> "]);
    it.again(&Options { question: Some(question(Form::Menu, When::Start)), ..of(Kind::Line) });
    let ran = send(&it.name, &["a text"]);
    let (kind, message) = refusal(&ran);
    assert_eq!((kind.as_str(), ran.code), ("not_ready", 1));
    assert!(message.contains("^> ") && message.contains("Run on production?"), "{message}");
    is_untouched(&it);
    // forge types the text once the program is ready.
    it.again(&of(Kind::Line));
    super::is_submitted(send(&it.name, &["a text"]));
}

fn a_text_that_does_not_appear_gets_no_enter() {
    for kind in [Kind::Line, Kind::Bracketed] {
        let it = Played::spawn("silent", &Options { silent: true, ..of(kind) }, &[]);
        let ran = send(&it.name, &["a text"]);
        let (kind, message) = refusal(&ran);
        assert_eq!((kind.as_str(), ran.code), ("not_shown", 1));
        assert!(message.contains("Enter was not pressed") && message.contains("\n  | "), "{message}");
        assert_eq!((keys(&it), it.submitted()), (vec![], vec![]), "{}", it.story());
        // A user who knows that the program shows nothing can still have the text typed.
        it.again(&Options { silent: true, ..of(Kind::Line) });
        assert_eq!(result(send(&it.name, &["--blind", "a text"]), 0), ("unconfirmed".to_owned(), 1));
        it.event("the text", |event| matches!(event, Event::Submitted { .. }));
        assert_eq!(it.submitted(), ["a text"]);
    }
}

fn a_line_that_the_kernel_would_cut_is_refused() {
    let it = Played::spawn("cut", &of(Kind::Canonical), &[]);
    super::is_submitted(send(&it.name, &[&"x".repeat(4095)]));
    let (kind, message) = refusal(&send(&it.name, &[&"x".repeat(4096)]));
    assert_eq!(kind, "usage");
    assert!(message.contains("4096 bytes") && message.contains("4095"), "{message}");
    assert_eq!(it.submitted(), ["x".repeat(4095)]);
}
