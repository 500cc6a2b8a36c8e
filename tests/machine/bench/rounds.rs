//! Taking turns, and what is timed: a program's run, a program's first sign of life.

use crate::ran::ended_within;
use crate::support::run;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Nothing that is measured takes longer.
pub(super) const LIMIT: Duration = Duration::from_secs(300);

/// Has the ways take turns, each round beginning with another, and gives what each gave. The first
/// round does not count: it brings programs into memory.
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

/// Starts a program whose output nobody wants.
#[track_caller]
pub(super) fn start(argv: &[impl AsRef<OsStr>]) -> Child {
    Command::new(&argv[0])
        .args(&argv[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", argv[0].as_ref().display()))
}

/// Waits for its end, which must be a good one.
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

/// Where programs say that they run: a FIFO, which all ways of starting one can reach.
pub(super) struct Signs(File);

impl Signs {
    const PATH: &str = "/tmp/signs";
    /// A program that says so and stays.
    pub(super) const PROGRAM: [&str; 3] = ["sh", "-c", "echo > /tmp/signs; exec sleep 100000"];

    pub(super) fn new() -> Self {
        let _ = std::fs::remove_file(Self::PATH);
        run(&["mkfifo", "-m", "600", Self::PATH]).ok();
        // For reading and writing: never at its end, and its opening waits for nobody.
        Self(File::options().read(true).write(true).open(Self::PATH).expect("the FIFO"))
    }

    /// Waits until so many programs have said that they run.
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

/// Sessions that are there while something else is measured.
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
