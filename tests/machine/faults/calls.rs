//! Each system call of the changing commands fails once, is interrupted, comes late, or is the last one: no
//! live server is lost, no foreign socket is touched, no half-written file is accepted, and the next run of
//! the same command succeeds and leaves nothing behind.

mod bystanders;
mod inject;
mod left;

use crate::suite::{Test, inside};
use crate::support::{
    Homebase, Session, TestFile, configured, forge, nothing_left_of, run, socket, spawn, systemctl,
    wait_until,
};
use bystanders::{Bystanders, Wedged, dead};
use inject::{Hit, faults_of};
use left::{Files, programs};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The short form: a sample of the faults.
pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(a_spawn_with_some_faults).limit_s(240),
        inside!(a_sweep_with_some_faults).limit_s(240),
        inside!(a_stop_with_some_faults).limit_s(240),
        inside!(a_restore_with_some_faults).limit_s(240),
        inside!(an_install_with_some_faults).limit_s(240),
        inside!(list_works_without_a_second_thread),
        inside!(a_restore_works_without_a_second_thread),
        inside!(restart_starts_a_session_that_could_not_be_restored),
    ]
}

/// The long form: every fault.
pub(crate) fn long_tests() -> Vec<Test> {
    vec![
        inside!(a_spawn_with_every_fault).limit_s(7200),
        inside!(a_spawn_that_waits_with_every_fault).limit_s(7200),
        inside!(a_sweep_with_every_fault).limit_s(7200),
        inside!(a_stop_with_every_fault).limit_s(7200),
        inside!(a_restore_with_every_fault).limit_s(7200),
        inside!(an_install_with_every_fault).limit_s(7200),
    ]
}

/// The selection of faults to try.
#[derive(Clone, Copy)]
enum Breadth {
    /// This many, evenly spread, and the known difficult ones.
    Some(usize),
    Every,
}

/// As many as fit into 15 s.
const SOME: Breadth = Breadth::Some(40);

/// After this many broken invariants further ones add nothing.
const ENOUGH: usize = 30;

/// Tries the faults of one command line. `before` prepares the machine, `after` checks the result.
fn try_faults(breadth: Breadth, arguments: &[&str], mut before: impl FnMut(), mut after: impl FnMut(&Hit)) {
    let bystanders = Bystanders::new();
    before();
    let faults = faults_of(arguments);
    after(&Hit::none());
    let stride = match breadth {
        Breadth::Some(wanted) => faults.len() / wanted,
        Breadth::Every => 1,
    };
    let (mut tried, mut unreached) = (BTreeMap::<&str, usize>::new(), 0);
    let mut broken = Vec::new();
    let mut slowest = (Duration::ZERO, String::new());
    let chosen = faults.iter().enumerate().filter(|(at, fault)| at % stride == 0 || fault.is_nasty());
    for (_, fault) in chosen {
        before();
        let hit = fault.strike(arguments);
        let reached = hit.reached.as_deref().unwrap_or_default();
        *(if hit.reached.is_some() { tried.entry(fault.word()).or_default() } else { &mut unreached }) += 1;
        if hit.took > slowest.0 {
            slowest = (hit.took, fault.to_string());
        }
        let kept = catch_unwind(AssertUnwindSafe(|| {
            hit.check(fault);
            bystanders.untouched();
            after(&hit);
            bystanders.untouched();
        }));
        if let Err(panic) = kept {
            let why = panic.downcast_ref::<String>().map(String::as_str);
            let why = why.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
            broken.push(format!("{fault}\n{reached}\n{}\n{why}", hit.ran));
            println!("BROKEN {}: {}", broken.len(), broken.last().unwrap());
            for name in ["cut", "kept", "configured"] {
                forge(&["stop", "--timeout", "1", name]);
            }
        }
        if broken.len() == ENOUGH {
            break;
        }
    }
    let count: usize = tried.values().sum();
    println!(
        "forge {}: {count} faults tried {tried:?}, {} invariants broken; {unreached} not reached; the \
         slowest took {} ms: {}",
        arguments.join(" "),
        broken.len(),
        slowest.0.as_millis(),
        slowest.1
    );
    assert!(count > 20, "only {count} faults were reached");
    assert!(broken.is_empty(), "{} invariants broken:\n\n{}", broken.len(), broken.join("\n\n"));
}

/// Asserts that no process waits behind a gate that nobody will open.
fn gates_are_gone() {
    wait_until(Duration::from_secs(10), "the processes behind the gates to end", || {
        programs("gate-server") + programs("gate-pane") == 0
    });
}

fn is_running(name: &str) -> bool {
    let status = forge(&["--json", "status", name]);
    status.code == 0 && status.json()["state"] == "running"
}

fn spawns(breadth: Breadth, arguments: &[&str]) {
    let files = Files::of_sessions();
    let before = || {};
    let after = |hit: &Hit| {
        files.are_whole();
        let there = is_running("cut");
        if hit.ran.code == 0 {
            assert!(there, "it was said to be spawned");
        } else if !hit.died() && !there {
            // A failed run reports the error and leaves nothing.
            nothing_left_of("cut");
        }
        files.age();
        let next = forge(&["--json", "spawn", "cut", "--", "sleep", "2000"]);
        if next.code != 0 {
            assert_eq!(next.json()["error"]["kind"], "taken", "{next}");
            assert!(there, "refused because of an incomplete file: {next}");
        }
        assert!(is_running("cut"), "after {next}");
        assert_eq!(programs("sleep 1000") + programs("sleep 2000"), 1, "one program alone");
        forge(&["stop", "cut"]).ok();
        nothing_left_of("cut");
        gates_are_gone();
        files.are_whole();
        files.have_no_leftovers();
    };
    try_faults(breadth, arguments, before, after);
}

const PLAIN: [&str; 5] = ["spawn", "cut", "--", "sleep", "1000"];

fn a_spawn_with_some_faults() {
    spawns(SOME, &PLAIN);
}

fn a_spawn_with_every_fault() {
    spawns(Breadth::Every, &PLAIN);
}

fn a_spawn_that_waits_with_every_fault() {
    let program = "echo up; exec sleep 1000";
    spawns(Breadth::Every, &["spawn", "cut", "--ready", "up", "--", "sh", "-c", program]);
}

fn sweeps(breadth: Breadth) {
    const DEAD: [&str; 3] = ["dead-1", "dead-2", "spawn-gone"];
    let files = Files::of_sessions();
    let _config = configured("[sweep]\nprotect = ['keep-*']\ntimeout_ms = 30\n");
    let wedged = Wedged::new();
    dead("keep-me");
    let _not_a_socket = TestFile::new(socket("notes").to_str().unwrap(), "mine\n");
    let before = || DEAD.into_iter().for_each(dead);
    let spared = || {
        assert!(socket("keep-me").exists(), "a protected socket was removed");
        assert!(socket("notes").exists(), "a file was removed");
        assert!(socket("wedged").exists(), "a wedged server's socket was removed");
        assert!(Path::new(&format!("/proc/{}", wedged.0)).exists(), "the wedged server");
    };
    let after = |_: &Hit| {
        spared();
        files.are_whole();
        files.age();
        forge(&["sweep"]).ok();
        spared();
        let left: Vec<&str> = DEAD.into_iter().filter(|label| socket(label).exists()).collect();
        assert!(left.is_empty(), "the next sweep left {left:?}");
        assert!(!socket("spawn-gone.lock").exists(), "the next sweep left the lock of its own socket");
        files.are_whole();
        files.have_no_leftovers();
    };
    try_faults(breadth, &["sweep"], before, after);
    for label in ["keep-me", "keep-me.lock", "dead-1.lock", "dead-2.lock"] {
        let _ = std::fs::remove_file(socket(label));
    }
}

fn a_sweep_with_some_faults() {
    sweeps(SOME);
}

fn a_sweep_with_every_fault() {
    sweeps(Breadth::Every);
}

fn stops(breadth: Breadth) {
    let files = Files::of_sessions();
    let before = || {
        forge(&["spawn", "cut", "--", "sleep", "1000"]).ok();
    };
    let after = |hit: &Hit| {
        files.are_whole();
        if hit.ran.code != 0 {
            let next = forge(&["--json", "stop", "cut"]);
            assert!(next.code == 0 || next.json()["error"]["kind"] == "no_session", "{next}");
        }
        if socket("spawn-cut").exists() || socket("spawn-cut.lock").exists() {
            // Lock files of a removed or unreadable socket: the next sweep or spawn removes them.
            forge(&["sweep"]).ok();
        }
        assert_eq!(programs("sleep 1000"), 0, "the program");
        nothing_left_of("cut");
        files.have_no_leftovers();
    };
    try_faults(breadth, &["stop", "cut"], before, after);
}

fn a_stop_with_some_faults() {
    stops(SOME);
}

fn a_stop_with_every_fault() {
    stops(Breadth::Every);
}

/// The programs of the two sessions to restore: one was running, one is configured.
const RESTORED: [(&str, &str); 2] = [("kept", "sleep 1001"), ("configured", "sleep 1002")];

fn restores(breadth: Breadth) {
    let files = Files::of_sessions();
    let (noted, spec) = (files.state("restored.json"), files.state("sessions/kept.json"));
    drop(spawn("kept", &[], &["sleep", "1"]));
    let (session, _) = spawn("kept", &[], &["sleep", "1001"]);
    let kept = std::fs::read(&spec).expect("a specification");
    drop(session);
    let _config = configured(
        "[restore]\nconcurrency = 1\n[sessions.configured]\ncommand = ['sleep', '1002']\nboot = true\n",
    );
    let before = || {
        // As if this instance of the manager had just started.
        let _ = std::fs::remove_file(&noted);
        std::fs::write(&spec, &kept).expect("a specification");
    };
    let after = |hit: &Hit| {
        files.are_whole();
        files.age();
        forge(&["restore"]).ok();
        let reported = std::fs::read_to_string(&noted).expect("what the restore noted");
        let reported: serde_json::Value = serde_json::from_str(&reported).expect("JSON");
        for (name, program) in RESTORED {
            if !is_running(name) {
                // The session is reported and not lost: it failed, or another forge seemed to be starting it.
                let is_reported = |list: &str| {
                    reported[list]
                        .as_array()
                        .expect("a list")
                        .iter()
                        .any(|reported| reported["session"] == name)
                };
                assert!(is_reported("left") || is_reported("failed"), "{name}: {reported}");
                assert!(hit.ran.code != 0 || is_reported("left"), "{name} was said to be restored");
                // If forge could not even write the specification, the configuration has the session.
                let again =
                    if files.state(&format!("sessions/{name}.json")).exists() { "restart" } else { "spawn" };
                forge(&[again, name]).ok();
            }
            assert_eq!(programs(program), 1, "{name}'s program");
            forge(&["stop", name]).ok();
            nothing_left_of(name);
        }
        gates_are_gone();
        files.are_whole();
        files.have_no_leftovers();
    };
    try_faults(breadth, &["restore"], before, after);
}

fn a_restore_with_some_faults() {
    restores(SOME);
}

fn a_restore_with_every_fault() {
    restores(Breadth::Every);
}

fn installs(breadth: Breadth) {
    let files = Files::of_units();
    let own = TestFile::new(".config/systemd/user/forge-spawn@.service.d/mine.conf", "[Service]\nNice=1\n");
    let other = TestFile::new(".config/systemd/user/mine.service", "[Service]\nExecStart=true\n");
    forge(&["units", "install"]).ok();
    let wanted: Vec<(PathBuf, Vec<u8>)> = files.all();
    let before = || {
        forge(&["units", "uninstall"]).ok();
    };
    let after = |hit: &Hit| {
        for (path, text) in files.all() {
            let whole = wanted.iter().any(|wanted| *wanted == (path.clone(), text.clone()));
            assert!(whole || path.extension().is_some_and(|end| end == "tmp"), "{}", path.display());
        }
        if hit.ran.code == 0 {
            assert_eq!(files.all(), wanted, "they were said to be installed");
        }
        files.age();
        forge(&["units", "install"]).ok();
        assert_eq!(files.all(), wanted, "after the next install");
        for unit in ["forge-tmux-socket-sweep.timer", "forge-post-boot-sessions.service"] {
            assert_eq!(systemctl(&["is-enabled", unit]).stdout, "enabled\n");
        }
    };
    try_faults(breadth, &["units", "install"], before, after);
    drop((own, other));
    forge(&["units", "uninstall"]).ok();
}

fn an_install_with_some_faults() {
    installs(SOME);
}

fn an_install_with_every_fault() {
    installs(Breadth::Every);
}

fn list_works_without_a_second_thread() {
    run(&["prlimit", "--nproc=1", "forge", "list"]).ok();
}

fn a_restore_works_without_a_second_thread() {
    let names = ["one", "two"];
    let sessions = names.map(|name| format!("[sessions.{name}]\ncommand = 'sleep 1000'\nboot = true\n"));
    let _config = configured(&sessions.concat());
    let _sessions = names.map(|name| Session(name.to_owned()));
    let _ = std::fs::remove_file(Files::of_sessions().state("restored.json"));
    let strace = ["strace", "-qqq", "-o", "/dev/null", "-e", "trace=clone3", "-e"];
    run(&[&strace[..], &["inject=clone3:error=EAGAIN:when=1", "forge", "restore"]].concat()).ok();
    assert!(names.into_iter().all(is_running), "all are restored");
}

fn restart_starts_a_session_that_could_not_be_restored() {
    let _config = configured("[sessions.configured]\ncommand = 'sleep 1000'\nboot = true\n");
    let _session = Session("configured".into());
    let _homebase = Homebase::start();
    let _ = std::fs::remove_file(Files::of_sessions().state("restored.json"));
    run(&["chmod", "500", "/tmp/tmux-1000"]).ok();
    let ran = forge(&["restore"]);
    run(&["chmod", "700", "/tmp/tmux-1000"]).ok();
    assert!(ran.code == 1 && ran.stdout.contains("not restored: configured"), "{ran}");
    forge(&["restart", "configured"]).ok();
    assert!(is_running("configured"));
}
