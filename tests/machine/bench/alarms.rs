//! How soon forge detects an unannounced event: a crash, a disturbance of a guarded unit.

use super::rounds::{LIMIT, in_turns};
use super::{Goal, Row, Unit, Way};
use crate::inside::guarding::Production;
use crate::ran::ended_within;
use crate::support::{DropIn, Supervised, event_since, journal_cursor, sent_at, signal, systemctl};
use std::process::{Child, Command};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A distribution needs more than a median.
const ROUNDS: usize = 200;

pub(super) fn rows(rounds: usize) -> Vec<Row> {
    let rounds = ROUNDS.max(rounds);
    vec![crashes(rounds), disturbances(rounds)]
}

/// How long three watchers took to notice a kill, in milliseconds.
struct Seen {
    forge: f64,
    poller: f64,
    kernel: f64,
}

/// Kills a process at a random moment of a poller's second. `polling` is a shell command line that ends when
/// it notices; `event` is the record that forge writes.
fn kill(pid: u32, polling: &str, event: &str) -> Seen {
    let mut poller = Command::new("sh").args(["-c", polling]).spawn().expect("a poller");
    // The poller runs and has completed its first check.
    std::thread::sleep(Duration::from_millis(50 + u64::from(moment() % 1000)));
    let kernel = kernel_tells(pid);
    let (begin, at) = (Instant::now(), journal_cursor());
    signal("KILL", pid);
    let kernel = kernel.join().expect("the kernel's word").duration_since(begin).as_secs_f64() * 1000.0;
    assert!(ended_within(&mut poller, LIMIT), "the poller saw nothing");
    let poller = begin.elapsed().as_secs_f64() * 1000.0;
    let reported = u64::try_from(sent_at(&event_since(&at, event)) - at).expect("a time");
    Seen { forge: Duration::from_micros(reported).as_secs_f64() * 1000.0, poller, kernel }
}

/// An arbitrary number of milliseconds.
fn moment() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").subsec_micros()
}

/// The minimum: when the kernel reports the end of the process.
fn kernel_tells(pid: u32) -> std::thread::JoinHandle<Instant> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    use std::os::fd::AsFd as _;
    let pid = Pid::from_raw(pid.cast_signed()).expect("a pid");
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("the process");
    std::thread::spawn(move || {
        let timeout = PollTimeout::try_from(LIMIT).expect("a timeout");
        assert_eq!(poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], timeout), Ok(1));
        Instant::now()
    })
}

fn row(what: &str, peer: &str, rounds: usize, mut once: impl FnMut() -> Seen) -> Row {
    let [seen] = in_turns(rounds, &mut [&mut once]);
    let values = |of: fn(&Seen) -> f64| seen.iter().map(of).collect::<Vec<f64>>();
    Row {
        what: what.to_owned(),
        size: format!("{rounds} kills"),
        unit: Unit::Milliseconds,
        forge: values(|seen| seen.forge),
        peer: Some(Way::new(peer, values(|seen| seen.poller))),
        floor: Some(Way::new("poll(2) on a pidfd", values(|seen| seen.kernel))),
        goals: vec![Goal::OfPeer(1.0)],
    }
}

fn crashes(rounds: usize) -> Row {
    // No breaker and short pauses, because the session crashes often.
    let _settings = DropIn::new("crashing", "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestartSec=50ms\n");
    let it = Supervised::spawn("crashing", &[], &["sleep", "100000"]);
    let mut last = 0;
    row("a crash is recorded", "kill -0 every second", rounds, || {
        systemctl(&["reset-failed", &it.unit]).ok();
        it.up_after(last);
        last = it.program();
        kill(last, &format!("while kill -0 {last} 2>/dev/null; do sleep 1; done"), "crashed")
    })
}

fn disturbances(rounds: usize) -> Row {
    let web = Production::lasting("web");
    let mut guard: Child = Command::new("forge")
        .args(["-q", "guard", "run", "--unit", "web", "--", "sleep", "100000"])
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("a guard");
    crate::support::wait_until(LIMIT, "the guarded command", || {
        crate::support::run(&["pgrep", "-x", "-f", "sleep 100000"]).code == 0
    });
    let row = row("a guard reports a disturbance", "systemctl show every second", rounds, || {
        web.is_up();
        let pid = web.pid();
        let polling = format!(
            "while [ \"$(systemctl --user show --value -p MainPID web)\" = {pid} ]; do sleep 1; done"
        );
        kill(pid, &polling, "guard_disturbed")
    });
    signal("TERM", guard.id());
    guard.wait().expect("the guard's end");
    row
}
