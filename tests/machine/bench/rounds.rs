//! Measurement in turns, and the timing of a program's run and first output.

use crate::ran::ended_within;
use crate::support::run;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The deadline of each measurement.
pub(super) const LIMIT: Duration = Duration::from_secs(300);

/// Measures the alternatives in turns, each round starting with another, and returns the values of each. The
/// first round does not count: it loads the programs into memory.
pub(super) fn in_turns<T, const WAYS: usize>(
    rounds: usize,
    ways: &mut [&mut dyn FnMut() -> T; WAYS],
) -> [Vec<T>; WAYS] {
    let mut values = [const { Vec::new() }; WAYS];
    for round in 0..=rounds {
        for turn in 0..WAYS {
            let at = (round + turn) % WAYS;
            let value = ways[at]();
            if round > 0 {
                values[at].push(value);
            }
        }
    }
    values
}

pub(super) fn millis(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64() * 1000.0
}

/// Starts a program and discards its output.
#[track_caller]
pub(super) fn start(argv: &[impl AsRef<OsStr>]) -> Child {
    Command::new(&argv[0])
        .args(&argv[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", argv[0].as_ref().display()))
}

/// Waits for its end and asserts success.
#[track_caller]
pub(super) fn finish(mut child: Child, what: &str) {
    assert!(ended_within(&mut child, LIMIT), "no end: {what}");
    let status = child.wait().expect("its status");
    assert!(status.success(), "{what}: {status}");
}

/// How long a program takes from start to end, in milliseconds.
#[track_caller]
pub(super) fn timed(argv: &[&str]) -> f64 {
    let begin = Instant::now();
    finish(start(argv), argv[0]);
    millis(begin)
}

/// A FIFO in which programs report that they run; every way of starting a program can reach it.
pub(super) struct Signs(File);

impl Signs {
    const PATH: &str = "/tmp/signs";
    /// A program that reports to the FIFO and stays.
    pub(super) const PROGRAM: [&str; 3] = ["sh", "-c", "echo > /tmp/signs; exec sleep 100000"];

    pub(super) fn new() -> Self {
        let _ = std::fs::remove_file(Self::PATH);
        run(&["mkfifo", "-m", "600", Self::PATH]).ok();
        // Opened for reading and writing: it never reaches end of file, and opening does not block.
        Self(File::options().read(true).write(true).open(Self::PATH).expect("the FIFO"))
    }

    /// Waits until this many programs have reported.
    #[track_caller]
    pub(super) fn wait(&self, mut programs: usize) {
        let end = Instant::now() + LIMIT;
        let mut bytes = [0; 256];
        while programs > 0 {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{programs} programs never said that they run");
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            if poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], timeout) == Ok(1) {
                programs -= (&self.0).read(&mut bytes).expect("a sign").min(programs);
            }
        }
    }
}

/// Sessions that exist during another measurement.
pub(super) fn grow_to(sessions: usize) {
    let have = crate::support::forge_json(&["list", "crowd-*"])["sessions"].as_array().map_or(0, Vec::len);
    let numbers: Vec<String> = (have..sessions).map(|number| format!("crowd-{number}")).collect();
    for four in numbers.chunks(4) {
        let spawn = |name: &String| start(&["forge", "-q", "spawn", name, "--", "sleep", "100000"]);
        let children: Vec<Child> = four.iter().map(spawn).collect();
        for child in children {
            finish(child, "forge spawn");
        }
    }
}

/// Ends all sessions.
pub(super) fn clear() {
    crate::support::run_within(LIMIT, &["forge", "-q", "stop", "--all"]).ok();
}
