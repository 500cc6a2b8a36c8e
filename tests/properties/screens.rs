//! Screens: which changes are signs of life, when forge captures a screen, and which questions are the same.

use std::time::Duration;

use forge::model::screen::captures::CaptureSchedule;
use forge::model::screen::fold::folded;
use forge::model::session::activity::Question;
use forge::model::supervision::NOTICE_EVERY;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::store::watched;
use crate::{properties, text};

const S: u64 = 1_000_000;

properties! {
    #[test]
    fn a_screen_is_folded_line_by_line(lines in vec(text(), 0..5)) {
        let lines: Vec<String> = lines.iter().map(|line| line.replace(['\n', '\r'], " ")).collect();
        let whole = folded(&lines.join("\n"));
        let one_by_one: Vec<String> = lines.iter().map(|line| folded(line)).collect();
        let one_by_one = one_by_one.join("\n");
        prop_assert_eq!(whole.trim_end(), one_by_one.trim_end());
    }

    #[test]
    fn numbers_are_equal_and_words_are_not(
        before in "[a-z]{1,8}", numbers in any::<[u32; 2]>(), after in "[a-z]{4,8}", other in "[a-z]{4,8}",
    ) {
        let [a, b] = numbers.map(|number| folded(&format!("{before} {number} {after}")));
        prop_assert_eq!(&a, &b);
        let changed = folded(&format!("{before} {} {other}", numbers[0]));
        prop_assert_eq!(a == changed, after == other);
    }

    #[test]
    fn captures_are_a_second_apart_and_miss_nothing(gaps in vec(0..3 * S, 1..200)) {
        let outputs: Vec<u64> = gaps.iter().scan(10 * S, |at, gap| { *at += gap; Some(*at) }).collect();
        let (mut looks, mut now, mut at, mut seen) = (CaptureSchedule::at_once(0), 0, 0, Vec::new());
        loop {
            if let Some(due) = looks.due() {
                prop_assert!(due >= now, "the due time is in the past");
                now = due;
                let came = outputs[at..].iter().take_while(|output| **output <= now).count();
                at += came;
                if looks.is_time(now, came > 0) { seen.push(now) }
            } else if let Some(output) = outputs.get(at) {
                now = now.max(*output);
                at += 1;
                looks.output(now);
            } else {
                break;
            }
        }
        for pair in seen.windows(2) {
            prop_assert!(pair[1] - pair[0] >= S, "{:?}", pair);
        }
        for output in outputs {
            prop_assert!(seen.iter().any(|capture| *capture >= output && capture - output <= 6 * S), "{} is not captured", output);
        }
    }

    #[test]
    fn a_question_is_noticed_once_and_notices_are_a_minute_apart(
        mut watched in watched(), asked in vec((option::of("Sure\\?|Delete [0-9]\\?"), 0..40 * S), 1..40),
    ) {
        (watched.asked, watched.notice_boot_us, watched.sign_boot_us) = (None, None, 0);
        let (mut now, mut notices, mut new) = (100 * S, Vec::new(), 0);
        for (text, wait) in asked {
            let before = watched.asked;
            let question = text.map(|text| Question::new(&text, &format!("screen of {text}")));
            let is_new = watched.replace_question(question, now);
            new += usize::from(is_new);
            prop_assert_eq!(watched.asked.is_some(), question.is_some());
            prop_assert_eq!(is_new, question.is_some_and(|now| before.is_none_or(|before| !before.question.is_same(&now))));
            if before.is_some() && question.is_none() {
                prop_assert_eq!(watched.sign_boot_us, now, "an answer is a sign of life");
            }
            // The supervisor sleeps until the next deadline.
            let end = now + wait;
            while let Some(due) = watched.notice_due_boot_us().filter(|due| *due <= end) {
                now = now.max(due);
                notices.push(now);
                watched.mark_notified(now);
            }
            now = end;
        }
        prop_assert!(notices.len() <= new);
        for pair in notices.windows(2) {
            prop_assert!(Duration::from_micros(pair[1] - pair[0]) >= NOTICE_EVERY, "{:?}", pair);
        }
    }
}
