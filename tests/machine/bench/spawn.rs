//! One session: the time until its program runs, and until the command has ended.

use super::rounds::{LIMIT, Signs, clear, finish, grow_to, in_turns, millis, start};
use super::{Goal, Row, Unit, Way};
use crate::support::{forge, kill_server, run, socket, systemctl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::ffi::OsStr;
use std::os::fd::AsFd as _;
use std::time::Instant;

/// The two times of a start.
#[derive(Clone, Copy)]
struct Times {
    listens: f64,
    runs: f64,
    returns: f64,
}

fn times(argv: &[String], label: &str, sockets: &Inotify, signs: &Signs) -> Times {
    // The FIFO may hold reports of earlier starts.
    let _ = sockets.read_events();
    let begin = Instant::now();
    let child = start(argv);
    appears(sockets, label);
    let listens = millis(begin);
    signs.wait(1);
    let runs = millis(begin);
    finish(child, &argv[0]);
    Times { listens, runs, returns: millis(begin) }
}

/// The directory of tmux's sockets.
fn sockets() -> Inotify {
    run(&["mkdir", "-p", "-m", "700", "/tmp/tmux-1000"]).ok();
    let sockets = Inotify::init(InitFlags::IN_NONBLOCK).expect("an inotify");
    sockets.add_watch("/tmp/tmux-1000", AddWatchFlags::IN_CREATE).expect("a watch");
    sockets
}

/// Waits until a file of this name is created.
#[track_caller]
fn appears(sockets: &Inotify, name: &str) {
    let timeout = PollTimeout::try_from(LIMIT).expect("a timeout");
    loop {
        let ready = poll(&mut [PollFd::new(sockets.as_fd(), PollFlags::POLLIN)], timeout);
        assert_eq!(ready, Ok(1), "no socket {name}");
        let made = sockets.read_events().expect("events");
        if made.iter().any(|event| event.name.as_deref() == Some(OsStr::new(name))) {
            return;
        }
    }
}

/// Ends a tmux server that forge does not know, and removes its socket.
pub(super) fn end_server(label: &str) {
    kill_server(label);
    std::fs::remove_file(socket(label)).expect("its socket");
}

/// The same for several.
pub(super) fn end_servers(labels: &[String]) {
    for label in labels {
        end_server(label);
    }
}

fn argv(program: &[&str]) -> Vec<String> {
    program.iter().chain(&Signs::PROGRAM).map(|&word| word.to_owned()).collect()
}

pub(super) fn forge_argv(name: &str) -> Vec<String> {
    argv(&["forge", "-q", "spawn", name, "--"])
}

pub(super) fn bare_argv(label: &str) -> Vec<String> {
    argv(&["tmux", "-L", label, "new-session", "-d"])
}

/// In a separate slice, as with forge: the slice limits a session and ends it completely.
pub(super) fn systemd_run_argv(label: &str) -> Vec<String> {
    let (slice, unit) = (format!("--slice={label}.slice"), format!("--unit={label}.scope"));
    let scope = ["systemd-run", "--user", "--quiet", "--scope", &slice, &unit, "--"];
    argv(&[&scope[..], &["tmux", "-L", label, "new-session", "-d"]].concat())
}

pub(super) fn rows(rounds: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    for crowd in [0, 100, 300] {
        grow_to(crowd);
        rows.extend(beside(crowd, rounds));
    }
    clear();
    rows
}

fn beside(crowd: usize, rounds: usize) -> Vec<Row> {
    let (signs, sockets) = (Signs::new(), sockets());
    let [ours, theirs, bare] = in_turns(
        rounds,
        &mut [
            &mut || {
                let times = times(&forge_argv("bench"), "spawn-bench", &sockets, &signs);
                forge(&["-q", "stop", "bench"]).ok();
                times
            },
            &mut || {
                let times = times(&systemd_run_argv("bench"), "bench", &sockets, &signs);
                end_server("bench");
                systemctl(&["stop", "bench.slice"]);
                times
            },
            &mut || {
                let times = times(&bare_argv("bench"), "bench", &sockets, &signs);
                end_server("bench");
                times
            },
        ],
    );
    let row = |what: &str, of: fn(&Times) -> f64, goals: Vec<Goal>| {
        let values = |way: &[Times]| way.iter().map(of).collect::<Vec<f64>>();
        Row {
            what: what.to_owned(),
            size: format!("{crowd} others"),
            unit: Unit::Milliseconds,
            forge: values(&ours),
            peer: Some(Way::new("systemd-run --scope tmux", values(&theirs))),
            floor: Some(Way::new("tmux alone", values(&bare))),
            goals,
        }
    };
    vec![
        row("spawn: the tmux server listens", |times| times.listens, vec![]),
        row("spawn: the program runs", |times| times.runs, vec![Goal::OfPeer(1.0)]),
        row("spawn: the command returns", |times| times.returns, vec![]),
    ]
}
