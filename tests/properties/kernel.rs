//! Files of the kernel: processes, control groups, sockets, pressure. Processes and groups may have any name.

use std::net::{IpAddr, SocketAddr};

use forge::model::guard::pressure::{Brake, Move, Totals, total};
use forge::sys::cgroup::{keyed, path_in};
use forge::sys::proc::{Stat, parse_stat, terminal};
use forge::sys::tcp::{SocketRow, parse_row};
use proptest::prelude::*;

use crate::{properties, text};

/// The name of a process (15 bytes at most), with parts that look like the end of a name.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        text(),
        proptest::sample::select(vec![
            ") Z 1 (",
            "a) R 1 2",
            ")",
            "(",
            " ",
            "x) X 0 0 0",
            "))))",
            "\\n\\012"
        ])
        .prop_map(String::from),
    ]
}

/// The address as the kernel prints it.
fn printed(address: &SocketAddr) -> String {
    let bytes = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = bytes.chunks(4).map(|word| u32::from_ne_bytes(word.try_into().unwrap()));
    words.map(|word| format!("{word:08X}")).collect::<String>() + &format!(":{:04X}", address.port())
}

const S: u64 = 1_000_000;

properties! {
    #[test]
    fn a_process_is_parsed_whatever_its_name(
        pid: u32,
        name in name(),
        state in proptest::sample::select(vec!['R', 'S', 'D', 'Z', 'T', 't', 'X', 'I']),
        parent: u32,
        tty in -1..=i64::from(i32::MAX),
        flags: u32,
        start: u64,
        other in "[0-9 ]{0,20}",
    ) {
        let between = "20 0 1 0 5 6 7 8 9 10 11 12";
        let line = format!("{pid} ({name}) {state} {parent} 7 7 {tty} -1 {flags} {between} {start} {other}\n");
        let tty = u32::try_from(tty).unwrap_or(0);
        let stat = Stat { state, parent, tty, flags: flags.into(), start };
        prop_assert_eq!(parse_stat(&line), Some(stat), "{}", line);
        prop_assert_eq!(stat.has_ended(), "ZX".contains(state));
        terminal(&stat);
    }

    #[test]
    fn half_a_line_is_refused(name in name(), start in 1..u64::MAX, cut: prop::sample::Index) {
        let line = format!("7 ({name}) S 1 7 7 34816 -1 4194304 1 2 3 4 5 6 7 8 9 10 11 12 {start}");
        prop_assert!(parse_stat(&line).is_some());
        // Cut before the last number.
        let whole = line.len() - start.to_string().len();
        let cut = cut.index(whole);
        let half = String::from_utf8_lossy(&line.as_bytes()[..cut]).into_owned();
        // A name may look like a complete line to a parser that sees nothing else.
        prop_assert!(name.contains(')') || parse_stat(&half).is_none(), "{}", half);
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in text(), key in "[a-z_]{1,9}") {
        parse_stat(&text);
        parse_row(&text);
        path_in(&text);
        keyed(&text, &key);
        total(&text);
    }

    #[test]
    fn a_key_has_its_own_value(
        pairs in proptest::collection::btree_map("[a-z_]{1,6}", any::<u64>(), 0..8),
        key in "[a-z_]{1,6}",
    ) {
        let text = pairs.iter().map(|(key, value)| format!("{key} {value}\n")).collect::<String>();
        for (key, value) in &pairs {
            prop_assert_eq!(keyed(&text, key), Some(*value));
        }
        prop_assert_eq!(keyed(&text, &key), pairs.get(&key).copied());
    }

    #[test]
    fn the_cgroup_is_that_of_version_2(path in "/[ -9;-~]{0,20}", others in proptest::collection::vec("[1-9]:[a-z]{1,6}:/[a-z0:]{0,6}", 0..4), at: prop::sample::Index) {
        let mut lines = others.clone();
        lines.insert(at.index(others.len() + 1), format!("0::{path}"));
        let (with, without) = (lines.join("\n"), others.join("\n"));
        prop_assert_eq!(path_in(&with), Some(path.as_str()));
        prop_assert_eq!(path_in(&without), None);
    }

    #[test]
    fn a_listening_socket_is_parsed(address: SocketAddr, uid: u32, inode: u64, state in 1..=12u8, more in "[ -~]{0,20}") {
        // The kernel does not print the scope and the flow.
        let address = SocketAddr::new(address.ip(), address.port());
        let line = format!(
            "  12: {} 00000000:0000 {state:02X} 00000000:00000000 00:00000000 00000000  {uid}        0 {inode} {more}",
            printed(&address)
        );
        let row = (state == 10).then_some(SocketRow { address, inode, uid });
        prop_assert_eq!(parse_row(&line), row);
    }

    #[test]
    fn a_pressure_is_a_share_of_the_time(then: [u64; 3], now: [u64; 3], elapsed: u64, avg in "[0-9]{1,2}\\.[0-9]{2}") {
        let totals = |of: [u64; 3]| Totals { cpu: of[0], memory: of[1], io: of[2] };
        let pressure = totals(now).since(totals(then), elapsed);
        prop_assert!(pressure.highest() <= 100);
        prop_assert!(now[0] > then[0] || pressure.cpu == 0);
        let text = format!("some avg10={avg} avg60={avg} avg300={avg} total={}\nfull avg10={avg} total=7\n", now[0]);
        prop_assert_eq!(total(&text), Some(now[0]));
    }

    #[test]
    fn only_lasting_pressure_freezes_and_never_for_long(
        percent in 1..=100u64,
        looks in proptest::collection::vec((0..3 * S, 0..=100u64), 0..200),
    ) {
        let mut brake = Brake::new(percent);
        let (mut now, mut frozen, mut high_since) = (0u64, None::<u64>, None::<u64>);
        for (later, pressure) in looks {
            now += later;
            high_since = (pressure >= percent).then(|| high_since.unwrap_or(now));
            match brake.judge(now, pressure) {
                Some(Move::Freeze) => {
                    prop_assert!(frozen.is_none(), "it is frozen already");
                    prop_assert!(high_since.is_some_and(|since| now - since >= 2 * S), "the pressure lasted less than 2 seconds");
                    frozen = Some(now);
                }
                Some(Move::Thaw) => prop_assert!(frozen.take().is_some(), "it was not frozen"),
                // Measurements are 3 seconds apart at most.
                None => prop_assert!(frozen.is_none_or(|since| now - since < 60 * S), "frozen for too long"),
            }
            prop_assert_eq!(brake.is_on(), frozen.is_some());
        }
    }
}
