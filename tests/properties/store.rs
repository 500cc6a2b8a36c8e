//! forge's own files: forge reads back what it wrote, and refuses anything else.

use std::path::{Path, PathBuf};

use forge::model::guard::snapshot::Snapshot;
use forge::model::screen::prompts::{PatternKey, ScreenPattern};
use forge::model::session::activity::{EventLimit, KnownActivity, Question};
use forge::model::session::name::SessionId;
use forge::model::session::restore::{Again, Failed, Kept, Left, ManagerLife, Restored};
use forge::model::session::resume::{AgentKind, IdSource};
use forge::model::session::spec::{Keeper, Spec, VERSION};
use forge::model::session::{End, EndCause, Mark};
use forge::model::supervision::{
    AskedQuestion, Breaker, Record, Restart, Rules, Sign, StartOutcome, Terms, Watched,
};
use forge::model::sweep::LastSweep;
use forge::sys::env::Paths;
use forge::sys::files;
use forge::sys::store::Store;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::arguments::{argv, limits};
use crate::guard::snapshot;
use crate::{bytes, id, properties, text};

fn patterns() -> impl Strategy<Value = [Option<String>; 4]> {
    let pattern = || option::of("[a-z❯]{1,5}");
    [pattern(), pattern(), pattern(), pattern()]
}

fn pattern(key: PatternKey, text: Option<String>) -> Option<ScreenPattern> {
    text.map(|text| ScreenPattern::parse(key, &text).unwrap())
}

fn spec() -> impl Strategy<Value = Spec> {
    let variables = || vec((text(), text()), 0..3);
    let resume_id = option::of(prop_oneof![
        select(AgentKind::ALL.to_vec()).prop_map(IdSource::Agent),
        text()
            .prop_filter("a keyword", |text| AgentKind::ALL.iter().all(|agent| agent.word() != text))
            .prop_map(IdSource::Fixed),
        vec(text(), 0..3).prop_map(IdSource::Command),
    ]);
    let keeper = select(vec![Keeper::Forge, Keeper::Caller, Keeper::Supervisor]);
    let what = (id(), argv(), text(), variables(), variables(), patterns(), any::<u64>());
    let how = (
        limits(),
        option::of(argv()),
        option::of(argv()),
        resume_id,
        option::of(text()),
        keeper,
        any::<[bool; 3]>(),
    );
    (what, how, option::of(text()), vec(any::<u16>(), 0..3)).prop_map(|(what, how, agent, ports)| {
        let (session, command, cwd, env, kept_env, [ready, not_ready, asking, working], ready_timeout_s) =
            what;
        let (limits, begin, resume, resume_id, saved_id, keeper, [as_configured, fresh, over]) = how;
        Spec {
            version: VERSION,
            session,
            command,
            agent,
            cwd: format!("/{cwd}").into(),
            env,
            kept_env,
            ready: pattern(PatternKey::Ready, ready),
            ready_is_agents: fresh,
            not_ready: pattern(PatternKey::NotReady, not_ready),
            asking: pattern(PatternKey::Asking, asking),
            working: pattern(PatternKey::Working, working),
            ready_timeout_s,
            limits,
            begin,
            resume,
            resume_id,
            reported_id: saved_id.clone(),
            saved_id,
            agent_process: None,
            keeper,
            as_configured,
            ports,
            fresh,
            over,
        }
    })
}

fn end() -> impl Strategy<Value = End> {
    let cause =
        select(vec![None, Some(EndCause::OutOfMemory), Some(EndCause::ServerEnded), Some(EndCause::Stuck)]);
    (any::<[u64; 2]>(), any::<[Option<i32>; 2]>(), any::<bool>(), cause).prop_map(
        |([since_us, at_us], [status, signal], over, cause)| End {
            since_us,
            at_us,
            status,
            signal,
            over,
            cause,
        },
    )
}

fn mark() -> impl Strategy<Value = Mark> {
    (any::<[u32; 2]>(), any::<[u64; 3]>(), any::<u16>(), text(), any::<bool>()).prop_map(
        |([server_pid, pane_pid], [server_start, pane_start, since_us], pane, socket, up)| Mark {
            server_pid,
            server_start,
            pane: format!("%{pane}"),
            pane_pid,
            pane_start,
            socket: PathBuf::from(format!("/{socket}")),
            since_us,
            up,
        },
    )
}

pub(crate) fn rules() -> impl Strategy<Value = Rules> {
    let restart = select(vec![Restart::Never, Restart::OnFailure, Restart::Always]);
    let sign = select(vec![Sign::Beat, Sign::Output, Sign::Cpu]);
    (restart, option::of(1..1000u64), vec(sign, 1..4), option::of(text()), option::of(any::<u64>())).prop_map(
        |(restart, stuck, signs, nudge_text, longer)| Rules {
            restart,
            stuck_after: stuck.map(std::time::Duration::from_secs),
            signs,
            nudge_text,
            stuck_restart_after: longer
                .map(|longer| std::time::Duration::from_secs(longer.saturating_add(stuck.unwrap_or(0)))),
        },
    )
}

pub(crate) fn watched() -> impl Strategy<Value = Watched> {
    let terms = (option::of(text()), rules(), any::<u32>(), any::<u64>(), any::<u32>()).prop_map(
        |(file, rules, burst, interval, restarts)| Terms {
            config_file: file.map(PathBuf::from),
            rules,
            breaker: Breaker { burst, interval: std::time::Duration::from_micros(interval) },
            restarts,
        },
    );
    let asked = (text(), text(), any::<u64>(), any::<bool>()).prop_map(
        |(question, screen, since_boot_us, notified)| AskedQuestion {
            question: Question::new(&question, &screen),
            since_boot_us,
            notified,
        },
    );
    let seen = (any::<[u64; 5]>(), any::<[Option<u64>; 4]>(), any::<[bool; 2]>(), option::of(asked));
    (mark(), text(), text(), terms, seen).prop_map(|(mark, cgroup, program, terms, seen)| {
        let (times, optional, [reported, nudged], asked) = seen;
        let [since_boot_us, sign_boot_us, checked_boot_us, cpu_usec, booted_wall_us] = times;
        let [wedged_boot_us, output_wall_us, screen, notice_boot_us] = optional;
        Watched {
            mark,
            cgroup,
            program,
            terms,
            since_boot_us,
            wedged_boot_us,
            sign_boot_us,
            checked_boot_us,
            output_wall_us,
            cpu_usec,
            booted_wall_us,
            reported,
            nudged,
            screen,
            asked,
            notice_boot_us,
            matched_report: notice_boot_us,
            seen: output_wall_us
                .map(|since| KnownActivity { since: Some(since), ..KnownActivity::default() }),
            events: EventLimit::default(),
        }
    })
}

fn record() -> impl Strategy<Value = Record> {
    let up = text()
        .prop_map(|text| StartOutcome::Up(serde_json::json!({ "socket": text, "pid": 7, "swept": [] })));
    let failed = (text(), text(), option::of(text()))
        .prop_map(|(kind, message, hint)| StartOutcome::Failed { kind, message, hint });
    let started = option::of(prop_oneof![up, failed]);
    let next = (any::<[bool; 2]>(), option::of(any::<u64>()));
    let rest = (next, option::of(text()), option::of(watched()));
    (vec(any::<u64>(), 0..6), option::of(any::<u64>()), started, rest).prop_map(
        |(
            failures_boot_us,
            running_wall_us,
            started,
            (([poked, by_itself], manager_boot_us), failure, watched),
        )| Record {
            failures_boot_us,
            running_wall_us,
            started,
            poked,
            by_itself,
            manager_boot_us,
            failure,
            watched,
        },
    )
}

fn restored() -> impl Strategy<Value = Restored> {
    let again = (id(), any::<[Option<u8>; 2]>(), any::<u32>(), any::<u64>()).prop_map(
        |(session, [resume_id, fresh], pane_pid, elapsed_ms)| {
            let text = |number: u8| number.to_string();
            Again { session, resume_id: resume_id.map(text), fresh: fresh.map(text), pane_pid, elapsed_ms }
        },
    );
    let failed = (id(), text(), text(), option::of(text())).prop_map(|(session, kind, error, aside)| {
        Failed { session, kind, error, set_aside: aside.map(PathBuf::from) }
    });
    let left = (id(), text()).prop_map(|(session, reason)| Left { session, reason });
    (text(), any::<[u64; 2]>(), vec(again, 0..3), vec(failed, 0..3), vec(left, 0..3)).prop_map(
        |(boot_id, [manager_us, at_us], restored, failed, left)| Restored {
            life: ManagerLife { boot_id, manager_us },
            at_us,
            restored,
            failed,
            left,
        },
    )
}

/// The store of a user without other files.
pub(crate) fn store_in(root: &Path) -> Store {
    let dir = |name: &str| root.join(name);
    Store::new(&Paths {
        uid: nix::unistd::geteuid().as_raw(),
        home: dir("home"),
        config: dir("config"),
        state: dir("state"),
        runtime: dir("runtime"),
        tmux_tmpdir: dir("tmp"),
    })
}

fn spec_file(root: &Path, id: &SessionId) -> PathBuf {
    root.join(format!("state/sessions/{id}.json"))
}

/// The only file below a directory.
fn only_file(below: &Path) -> PathBuf {
    let entries: Vec<_> = std::fs::read_dir(below).unwrap().map(|entry| entry.unwrap()).collect();
    let dir = entries.iter().find(|entry| entry.file_type().unwrap().is_dir());
    match dir {
        Some(dir) => only_file(&dir.path()),
        None => entries[0].path(),
    }
}

/// Writes a value and reads it back, and checks that a truncated file is refused.
macro_rules! kept {
    ($dir:literal, $cut:expr, $written:expr, $write:expr, $read:expr, $is_same:expr) => {{
        let root = tempfile::tempdir().unwrap();
        let store = store_in(root.path());
        $write(&store, &$written).unwrap();
        let read = $read(&store).unwrap().unwrap();
        prop_assert!($is_same(&read, &$written), "{:?} became {:?}", $written, read);
        let file = only_file(&root.path().join($dir));
        let whole = std::fs::read(&file).unwrap();
        // The line break at the end is not a part of the value.
        std::fs::write(&file, &whole[..$cut.index(whole.len() - 1)]).unwrap();
        prop_assert!($read(&store).is_err(), "half a file was read");
    }};
}

/// Compares values by their JSON.
fn same<T: serde::Serialize>(one: &T, other: &T) -> bool {
    serde_json::to_value(one).unwrap() == serde_json::to_value(other).unwrap()
}

properties! {
    #[test]
    fn a_specification_is_read_back_and_half_of_it_is_broken(spec in spec(), cut: Index, other in id()) {
        let root = tempfile::tempdir().unwrap();
        let store = store_in(root.path());
        store.write_spec(&spec).unwrap();
        prop_assert_eq!(store.spec(&spec.session).unwrap(), Some(spec.clone()));
        let all = store.specs().unwrap();
        prop_assert!(matches!(all.get(&spec.session), Some(Kept::Spec(kept)) if **kept == spec));

        let file = spec_file(root.path(), &spec.session);
        let whole = std::fs::read(&file).unwrap();
        if other != spec.session {
            std::fs::copy(&file, spec_file(root.path(), &other)).unwrap();
            prop_assert!(matches!(store.specs().unwrap()[&other], Kept::Broken(_)), "the file names another session");
        }
        std::fs::write(&file, &whole[..cut.index(whole.len() - 1)]).unwrap();
        prop_assert!(store.spec(&spec.session).is_err());
        prop_assert!(matches!(store.specs().unwrap()[&spec.session], Kept::Broken(_)));
        // Half a file does not count as missing, and nothing changes it.
        prop_assert!(store.change_spec(&spec, |spec| spec.over = true).is_err());
    }

    #[test]
    fn any_file_is_a_specification_of_that_session_or_an_error(
        spec in spec(), junk in bytes(), at: Index, version in option::of(2..9u32),
    ) {
        let root = tempfile::tempdir().unwrap();
        let store = store_in(root.path());
        store.write_spec(&spec).unwrap();
        let file = spec_file(root.path(), &spec.session);
        let whole = std::fs::read(&file).unwrap();
        let at = at.index(whole.len());
        let changed = [&whole[..at], &junk, &whole[at..]].concat();
        for bytes in [junk.clone(), changed] {
            std::fs::write(&file, bytes).unwrap();
            match &store.specs().unwrap()[&spec.session] {
                Kept::Spec(read) => prop_assert_eq!(&read.session, &spec.session),
                Kept::Broken(why) | Kept::Unusable(why) => prop_assert!(!why.is_empty()),
            }
        }
        if let Some(version) = version {
            // A file of a newer forge is not broken, whatever it contains.
            std::fs::write(&file, format!(r#"{{ "version": {version}, "session": 1 }}"#)).unwrap();
            prop_assert!(matches!(store.specs().unwrap()[&spec.session], Kept::Unusable(_)));
        }
    }

    #[test]
    fn files_with_other_names_are_ignored(name in text(), id in id()) {
        prop_assume!(!name.contains(['/', '\0']) && !name.is_empty() && name != "." && name != "..");
        let root = tempfile::tempdir().unwrap();
        let store = store_in(root.path());
        let dir = root.path().join("state/sessions");
        files::private_dir(&dir).unwrap();
        std::fs::write(dir.join(&name), "x").unwrap();
        // A writer that was killed leaves such a file.
        let half = dir.join(format!("{id}.12-0.tmp"));
        std::fs::write(&half, "x").unwrap();
        for id in store.specs().unwrap().into_keys() {
            prop_assert_eq!(format!("{id}.json"), name.clone());
        }
        files::clear_leftovers(&dir, "", std::time::Duration::ZERO);
        prop_assert!(!half.exists());
        prop_assert!(dir.join(&name).exists() || name.ends_with(".tmp"));
    }

    #[test]
    fn an_end_is_read_back(id in id(), end in end(), cut: Index) {
        kept!("runtime", cut, end, |store: &Store, end| store.write_end(&id, end), |store: &Store| store.end(&id), PartialEq::eq);
        prop_assert!(!end.is_clean() || end.cause.is_none());
        prop_assert!(!end.words().is_empty());
        end.shell_status();
    }

    #[test]
    fn a_record_is_read_back(id in id(), record in record(), cut: Index) {
        kept!("runtime", cut, record, |store: &Store, record| store.write_record(&id, record), |store: &Store| store.record(&id), PartialEq::eq);
    }

    #[test]
    fn the_results_of_a_restore_are_read_back(restored in restored(), cut: Index) {
        kept!("state", cut, restored, |store: &Store, restored| store.write_restored(restored), |store: &Store| store.restored(), same);
    }

    #[test]
    fn the_last_sweep_is_read_back(at_us: u64, removed: usize, cut: Index) {
        let sweep = LastSweep { at_us, removed };
        kept!("runtime", cut, sweep, |store: &Store, sweep| store.write_last_sweep(sweep), |store: &Store| store.last_sweep(), same);
    }

    #[test]
    fn watched_units_and_frozen_sessions_are_read_back(snapshot in snapshot(), ids in vec(id(), 1..4), cut: Index) {
        kept!("runtime", cut, snapshot, |store: &Store, snapshot: &Snapshot| store.write_watched(Some(snapshot)), |store: &Store| store.watched(), PartialEq::eq);
        kept!("runtime", cut, ids, |store: &Store, ids: &Vec<SessionId>| store.write_frozen(ids), |store: &Store| store.frozen().map(Some), PartialEq::eq);
    }

    #[test]
    fn any_bytes_are_parsed_or_refused(id in id(), junk in bytes()) {
        let root = tempfile::tempdir().unwrap();
        let store = store_in(root.path());
        let dirs = ["runtime/ended", "runtime/supervised", "runtime/guard", "state"];
        for dir in dirs {
            files::private_dir(&root.path().join(dir)).unwrap();
        }
        for name in ["last-sweep.json", "guard/frozen.json", "guard/watched.json"] {
            std::fs::write(root.path().join("runtime").join(name), &junk).unwrap();
        }
        for dir in ["ended", "supervised"] {
            std::fs::write(root.path().join(format!("runtime/{dir}/{id}.json")), &junk).unwrap();
        }
        std::fs::write(root.path().join("state/restored.json"), &junk).unwrap();
        let is_refused = [
            store.end(&id).is_err(), store.record(&id).is_err(), store.frozen().is_err(), store.watched().is_err(),
            store.last_sweep().is_err(), store.restored().is_err(),
        ];
        // An empty object is a valid record, and an empty list means that nothing is frozen.
        let is_json = serde_json::from_slice::<serde_json::Value>(&junk).is_ok();
        prop_assert!(is_json || is_refused == [true; 6], "{:?}", is_refused);
    }

    #[test]
    fn every_value_that_can_be_written_can_be_read(length in 0..300_000usize, c in select(vec!['a', '"', '\u{1}', 'ж'])) {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("kept/value.json");
        let text = c.to_string().repeat(length);
        match files::write_json(&path, &text) {
            Ok(()) => prop_assert_eq!(files::read_json::<String>(&path).unwrap(), Some(text)),
            Err(error) => {
                prop_assert!(error.message.contains("value.json"), "{}", error);
                prop_assert_eq!(files::read_json::<String>(&path).unwrap(), None, "the failed write changed nothing");
            }
        }
    }
}
