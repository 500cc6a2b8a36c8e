//! The journal record of each event, field by field.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::*;
use crate::model::guard::report::{Denial, Verdict};
use crate::model::guard::timeline::Changed;
use crate::model::guard::unit_state::{StateChange, UnitState};
use crate::model::notice::NoticeKind;
use crate::model::screen::typing::TextFate;
use crate::model::session::activity::{Activity, Source};
use crate::model::session::{End, EndCause};

fn session() -> SessionId {
    SessionId::from_name("demo").unwrap()
}

fn usage() -> Usage {
    Usage { cpu_usec: Some(2_300_000), memory_peak: Some(3 << 20), duration_usec: Some(61_000_000) }
}

fn changed(manager: ManagerKind) -> Box<Changed> {
    let before =
        UnitState { invocation: "a1".into(), main_pid: 7, result: "success".into(), ..UnitState::default() };
    let after = UnitState { invocation: "b2".into(), main_pid: 8, ..before.clone() };
    let unit = Guarded { manager, unit: "web.service".into() };
    Box::new(Changed { unit, change: StateChange::Restarted, before, after })
}

fn spawned(swept: usize, freed: Option<&str>) -> Event {
    Event::Spawned {
        session: session(),
        program: "sleep".into(),
        socket: "/tmp/x".into(),
        server_pid: 2,
        pane_pid: 3,
        attempts: 1,
        swept,
        freed: freed.map(str::to_owned),
        resume_id: None,
        fresh: None,
        elapsed_ms: 5,
    }
}

/// Each kind at least once, with and without its optional values.
fn samples() -> Vec<Event> {
    let end = End { status: Some(3), ..End::unknown(0, 0, None) };
    let killed = End { signal: Some(9), ..End::unknown(0, 0, None) };
    let oom = End::unknown(0, 0, Some(EndCause::OutOfMemory));
    let restarted = |resume_id: Option<&str>, fresh: Option<&str>| Event::Restarted {
        session: session(),
        why: "a request".into(),
        resume_id: resume_id.map(str::to_owned),
        fresh: fresh.map(str::to_owned),
    };
    let restored = |resume_id: Option<&str>, fresh: Option<&str>| Event::Restored {
        session: session(),
        resume_id: resume_id.map(str::to_owned),
        fresh: fresh.map(str::to_owned),
    };
    let stuck = |missing: &str, restarted| Event::Stuck {
        session: session(),
        missing: missing.into(),
        silent_s: 90,
        restarted,
    };
    let nudged = |outcome| Event::Nudged { session: session(), outcome };
    let guarded = || Subject::Guarded("g1".into());
    let web = Guarded { manager: ManagerKind::User, unit: "web.service".into() };
    let db = Guarded { manager: ManagerKind::System, unit: "db.service".into() };
    let disturbed = |guard: Option<&str>, manager| Event::GuardDisturbed {
        guard: guard.map(str::to_owned),
        changed: changed(manager),
        sessions: vec!["demo".into(), "b".into()],
        commands: vec!["g1".into()],
    };
    vec![
        spawned(0, None),
        spawned(1, Some("a server on port 80")),
        Event::SpawnRetried { session: session(), error: "no socket".into() },
        Event::SpawnFailed { session: session(), kind: "deadline", error: "too slow\u{1b}".into() },
        Event::Ready { session: session(), elapsed_ms: 12 },
        Event::Stopped { session: session(), processes: 4, killed: 1, elapsed_ms: 6, usage: usage() },
        Event::Exited { session: session(), end: End { status: Some(0), ..end.clone() }, usage: usage() },
        Event::Crashed { session: session(), end, usage: Usage::default() },
        Event::Crashed { session: session(), end: killed, usage: Usage::default() },
        Event::Crashed { session: session(), end: oom, usage: Usage::default() },
        restarted(None, None),
        restarted(Some("id-1"), None),
        restarted(None, Some("there is no conversation")),
        Event::BreakerOpen { session: session(), failures: 5, within_s: 600, error: "exit status 1".into() },
        Event::Adopted { session: session(), server_pid: 2, pane_pid: 3 },
        stuck("beat, cpu", false),
        stuck("server", true),
        nudged(Ok(TextFate::Submitted)),
        nudged(Ok(TextFate::Typed)),
        nudged(Ok(TextFate::Unconfirmed)),
        nudged(Err("it asks".into())),
        Event::Asking { session: session() },
        Event::Activity { session: session(), activity: Activity::Working, source: Source::Hook },
        Event::Activity { session: session(), activity: Activity::Unknown, source: Source::Screen },
        Event::Done { session: session() },
        Event::Oom { session: session(), kills: 2, limit: Some(1 << 30) },
        Event::Oom { session: session(), kills: 1, limit: None },
        Event::Swept { socket: "/tmp/x".into(), session: Some(session()) },
        Event::Swept { socket: "/tmp/x".into(), session: None },
        Event::SweepDone { scanned: 9, removed: 2, live: 6, unresponsive: 1, elapsed_ms: 7 },
        Event::SocketHealed { session: session(), socket: "/tmp/x".into() },
        Event::Frozen { subject: Subject::Session(session()), pressure: None },
        Event::Frozen { subject: guarded(), pressure: Some(40) },
        Event::Thawed { subject: Subject::Session(session()) },
        Event::Thawed { subject: guarded() },
        Event::GuardStarted {
            guard: "g1".into(),
            program: "make".into(),
            units: vec![web, db],
            deny_listen: Some(Denial::Watch),
        },
        Event::GuardStarted { guard: "g1".into(), program: "make".into(), units: vec![], deny_listen: None },
        disturbed(Some("g1"), ManagerKind::User),
        disturbed(Some("g1"), ManagerKind::System),
        disturbed(None, ManagerKind::System),
        Event::GuardRefused { program: "make".into(), error: "no unit".into() },
        Event::GuardListen { guard: "g1".into(), address: "[::]:80".into(), process: "nc".into(), pid: 44 },
        Event::GuardFinished {
            guard: "g1".into(),
            program: "make".into(),
            verdict: Verdict::Disturbed,
            result: "exit status 0".into(),
            exit_status: 6,
            elapsed_ms: 8,
        },
        Event::Saved { session: session(), resume_id: Some("id-1".into()) },
        Event::Saved { session: session(), resume_id: None },
        restored(Some("id-1"), None),
        restored(None, Some("no id")),
        restored(None, None),
        Event::RestoreFailed { session: session(), kind: "taken", error: "it runs".into() },
        Event::Notified { notice: NoticeKind::Boot, channel: "telegram", attempts: 2 },
        Event::NotifyFailed {
            notice: NoticeKind::Boot,
            channel: "webhook",
            attempts: 9,
            error: "status 500".into(),
        },
    ]
}

/// A layer that writes down the level and the fields of each record, a line each.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<String>>);

struct Line(String);

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = write!(self.0, " {}={value}", field.name().to_uppercase());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name().to_uppercase());
    }
}

impl<S: tracing::Subscriber> Layer<S> for Written {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut line = Line(format!("{} {}", event.metadata().target(), event.metadata().level()));
        event.record(&mut line);
        let mut text = self.0.lock().unwrap();
        text.push_str(&line.0);
        text.push('\n');
    }
}

#[test]
fn each_event_has_its_fields_in_the_journal() {
    let written = Written::default();
    let subscriber = tracing_subscriber::registry().with(written.clone());
    tracing::subscriber::with_default(subscriber, || {
        for event in samples() {
            event.record();
        }
    });
    let written = written.0.lock().unwrap();
    let records = include_str!("expected_records.txt");
    for (now, expected) in written.lines().zip(records.lines()) {
        assert_eq!(now, expected);
    }
    assert_eq!(written.lines().count(), records.lines().count());
}

/// The fields of the sample records of a kind.
fn fields_of(word: &str) -> Vec<&'static str> {
    let kind = format!(" FORGE_EVENT={word}");
    let records = include_str!("expected_records.txt").lines().filter(|line| line.contains(&kind));
    records.flat_map(|line| line.split(' ')).filter_map(|part| Some(part.split_once('=')?.0)).collect()
}

#[test]
fn words_and_message_ids_are_unique() {
    for (at, (word, id)) in KINDS.iter().enumerate() {
        assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{word}");
        assert!(KINDS[..at].iter().all(|(other, same)| other != word && same != id), "{word}");
    }
}

#[test]
fn the_catalog_has_each_kind_and_names_only_its_fields() {
    let catalog = include_str!("../../../packaging/forge.catalog");
    assert_eq!(catalog.matches("\n-- ").count(), KINDS.len());
    for (word, id) in KINDS {
        let entry = catalog.split(&format!("\n-- {id}\n")).nth(1);
        let entry = entry.unwrap_or_else(|| panic!("packaging/forge.catalog has no entry for {word}"));
        let entry = entry.split("\n-- ").next().unwrap();
        let fields = fields_of(word);
        assert!(fields.contains(&"MESSAGE_ID"), "expected_records.txt has no sample of {word}");
        for name in entry.split('@').skip(1).step_by(2) {
            assert!(fields.contains(&name), "the entry of {word} names {name}");
        }
    }
}

#[test]
fn the_document_lists_each_kind() {
    let document = include_str!("../../../docs/events.md");
    let rows = document.lines().skip_while(|line| !line.starts_with("| events |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let mut listed: Vec<&str> = rows.flat_map(|row| row.split('`').skip(1).step_by(2)).collect();
    let mut words: Vec<&str> = KINDS.iter().map(|(word, _)| *word).collect();
    listed.sort_unstable();
    words.sort_unstable();
    assert_eq!(listed, words);
}

#[test]
fn a_message_counts_the_cleaned_sockets() {
    assert_eq!(spawned(1, None).message(), "spawned demo after cleaning 1 stale socket: sleep");
    assert_eq!(spawned(0, None).message(), "spawned demo: sleep");
}
