//! The output of tmux, and the output of forge.

use forge::model::event::Event;
use forge::model::notice::{TELEGRAM_LIMIT, split};
use forge::model::output::{Output, Piece, plain};
use forge::model::session::End;
use forge::model::time;
use forge::model::tmux::{Ids, config_error, is_pane, is_socket_error, is_version_mismatch, pane};
use forge::model::usage::{Usage, cpu, duration, size};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::{has_control, id, properties, text};

fn is_plain(shown: &Output) -> bool {
    shown.text.iter().all(|piece| match piece {
        Piece::Line(line) => !has_control(line),
        Piece::Raw(_) => true,
        Piece::Table { rows, .. } => rows.iter().flatten().all(|cell| !has_control(cell)),
    })
}

properties! {
    #[test]
    fn ids_are_found_between_other_lines(
        server in 2..u32::MAX, pane in any::<u32>(), program in 2..u32::MAX, socket in "/[ -~é]{0,40}",
        noise in vec(text().prop_map(|text| text.replace("forge ", "")), 0..4),
        end in proptest::sample::select(vec!["\n", "\r\n", ""]),
    ) {
        let line = format!("forge {server} %{pane} {program} {socket}");
        let before: String = noise.iter().map(|noise| format!("{noise}\n")).collect();
        let ids = Ids { server_pid: server, pane: format!("%{pane}"), pane_pid: program, socket };
        prop_assert_eq!(Ids::parse(&format!("{before}{line}{end}")), Some(ids));
    }

    #[test]
    fn incomplete_ids_are_refused(server in 2..u32::MAX, pane: u32, program in 2..u32::MAX, cut: prop::sample::Index) {
        let line = format!("forge {server} %{pane} {program} /");
        prop_assert!(Ids::parse(&line).is_some());
        prop_assert_eq!(Ids::parse(&line[..cut.index(line.len())]), None);
    }

    #[test]
    fn any_output_of_tmux_is_parsed_or_refused(text in text()) {
        if let Some(ids) = Ids::parse(&text) {
            prop_assert!(ids.server_pid > 1 && ids.pane_pid > 1 && is_pane(&ids.pane));
        }
        pane(&text);
        if let Some(line) = config_error(&text) {
            prop_assert!(text.contains(line) && !line.contains('\n'));
        }
        is_socket_error(&text);
        is_version_mismatch(&text);
    }

    #[test]
    fn the_state_of_a_pane_is_parsed(dead: bool, mode in 0..3u32, attached: u32, status: Option<u8>, signal in option::of(1..65u8)) {
        let number = |of: Option<u8>| of.map_or(String::new(), |of| of.to_string());
        let line = format!("{} {mode} {attached} {}/{}\n", u8::from(dead), number(status), number(signal));
        let read = pane(&line).unwrap();
        prop_assert_eq!((read.dead, read.in_mode, read.attached), (dead, mode != 0, attached));
        prop_assert_eq!((read.status, read.signal), (status.map(i32::from), signal.map(i32::from)));
        prop_assert_eq!(read.has_result(), dead && (status.is_some() || signal.is_some()));
        let end = read.end(1, 2);
        // An end has either a signal or a status.
        prop_assert!(end.signal.is_none() || end.status.is_none());
        prop_assert!(end.signal.is_some() == signal.is_some());
    }

    #[test]
    fn a_long_text_is_split_without_loss(
        lines in vec((text(), 1..20usize), 0..12),
        limit in prop_oneof![2..60usize, Just(TELEGRAM_LIMIT)],
    ) {
        let long: String = lines.iter().map(|(line, times)| line.repeat(*times) + "\n").collect();
        let parts = split(&long, limit);
        for part in &parts {
            prop_assert!(part.encode_utf16().count() <= limit && !part.trim().is_empty());
        }
        // Messages without visible characters are left out; everything else is there, in its order.
        let dense = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
        prop_assert_eq!(dense(&parts.concat()), dense(&long));
        if long.encode_utf16().count() <= limit && !long.trim().is_empty() {
            prop_assert_eq!(parts, [long]);
        }
    }

    #[test]
    fn printed_text_does_not_control_the_terminal(text in text(), cells in vec(text(), 0..4)) {
        prop_assert!(!has_control(&plain(&text)));
        prop_assert_eq!(plain(&plain(&text)), plain(&text));
        prop_assert!(has_control(&text) || plain(&text) == text);
        let shown = Output::new(&text).line(text.clone()).table(&["WHAT"], vec![cells]);
        prop_assert!(is_plain(&shown));
        // Bots get the unchanged text.
        prop_assert_eq!(shown.json, serde_json::Value::from(text));
    }

    #[test]
    fn a_journal_message_has_no_control_characters(session in id(), text in text()) {
        let events = [
            Event::SpawnFailed { session: session.clone(), kind: "failed", error: text.clone() },
            Event::Swept { socket: text.clone().into(), session: None },
            Event::GuardRefused { program: text.clone(), error: text.clone() },
            Event::Crashed { session, end: End::unknown(1, 2, None), usage: Usage::default() },
        ];
        for event in events {
            // journalctl does not print messages with control characters.
            prop_assert!(!has_control(&event.message()), "{:?}", event.message());
        }
    }

    #[test]
    fn numbers_for_people_are_short_and_ordered(number: u64, more: u64) {
        for shown in [duration(number), size(number), cpu(number)] {
            prop_assert!(shown.len() <= 24 && shown.is_ascii(), "{}", shown);
        }
        // With the same unit, the larger number is never printed as the smaller one.
        let (less, more) = (number.min(more), number.max(more));
        let value = |text: String| text.get(..text.len() - 1).unwrap().parse::<f64>().unwrap();
        let (less, more) = (size(less), size(more));
        prop_assert!(less.chars().last() != more.chars().last() || value(less) <= value(more));
        if let Some(shown) = time::rfc3339(number) {
            let read: jiff::Timestamp = shown.parse().unwrap();
            prop_assert_eq!(read.as_millisecond(), i64::try_from(number / 1000).unwrap());
        }
    }
}
