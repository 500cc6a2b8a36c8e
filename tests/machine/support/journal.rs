//! The journal, and the records of forge in it.

use super::{run, wait_for, wait_until};
use libsystemd::logging::{Priority, journal_send};
use serde_json::Value;
use std::time::Duration;

/// Waits until journald has stored every record sent so far. journald stores records in order, so a mark that
/// is stored proves it.
#[track_caller]
pub(crate) fn journal_catches_up() {
    let mark = journal_cursor().to_string();
    let fields = [("FORGE_TEST_MARK", mark.as_str())];
    journal_send(Priority::Debug, "a mark of the tests", fields.into_iter()).expect("journald");
    wait_until(Duration::from_secs(20), "journald", || {
        !run(&["journalctl", "-o", "cat", "--no-pager", &format!("FORGE_TEST_MARK={mark}")]).stdout.is_empty()
    });
}

/// Entries of the user's journal, oldest first; `args` filter them.
#[track_caller]
pub(crate) fn journal(args: &[&str]) -> Vec<Value> {
    journal_catches_up();
    let argv = [&["journalctl", "--user", "-o", "json", "--all", "--no-pager"], args].concat();
    // journalctl exits with 1 when no entry matches.
    run(&argv).stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The current time in microseconds, for `events_since`.
pub(crate) fn journal_cursor() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_micros()
}

/// forge's records since `cursor`, from the user's and the system journal.
#[track_caller]
pub(crate) fn events_since(cursor: &u128) -> Vec<Value> {
    journal_catches_up();
    let since = format!("--since=@{}", cursor / 1_000_000);
    let argv = ["journalctl", "-o", "json", "--all", "--no-pager", "-t", "forge", &since, "_UID=1000"];
    run(&argv)
        .stdout
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|entry| sent_at(entry) >= *cursor)
        .collect()
}

/// When a record was sent, in microseconds: a busy journald stores it noticeably later.
#[track_caller]
pub(crate) fn sent_at(entry: &Value) -> u128 {
    let time = ["_SOURCE_REALTIME_TIMESTAMP", "__REALTIME_TIMESTAMP"];
    let time = time.iter().find_map(|field| entry[field].as_str()?.parse().ok());
    time.unwrap_or_else(|| panic!("no time in: {entry}"))
}

/// Waits for a record of forge since `cursor` with this `FORGE_EVENT`.
#[track_caller]
pub(crate) fn event_since(cursor: &u128, event: &str) -> Value {
    wait_for(Duration::from_secs(20), &format!("the record of {event}"), || {
        events_since(cursor).into_iter().find(|entry| entry["FORGE_EVENT"] == event)
    })
}
