//! Runs one program with a deadline and keeps its output.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The exit status and output of a program.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ran {
    pub(crate) argv: String,
    /// The exit status; 128 plus the signal's number after a signal.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Fails the test unless the program ended with 0.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.code(0)
    }

    /// Fails the test unless the program ended with `code`.
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Self {
        assert!(self.code == code, "status {code} was wanted:\n{self}");
        self
    }

    /// The JSON value on stdout.
    #[track_caller]
    #[allow(dead_code, reason = "for the tests that need it")]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}):\n{self}"))
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "$ {}\nended with {}", self.argv, self.code)?;
        // The reason first: the output of a long test is cut somewhere, and its panic message is on stderr.
        for (name, text) in [("stderr", &self.stderr), ("stdout", &self.stdout)] {
            if !text.is_empty() {
                writeln!(out, "--- {name}:\n{}", text.trim_end())?;
            }
        }
        Ok(())
    }
}

/// A running program with its output in files: with pipes, a daemon that it leaves behind would keep the
/// reader waiting.
pub(crate) struct Background {
    argv: String,
    child: Child,
    stdout: File,
    stderr: File,
}

/// Starts `command`; failures print `argv`.
#[track_caller]
pub(crate) fn start(mut command: Command, argv: &str) -> Background {
    let file = || tempfile::tempfile().unwrap_or_else(|error| panic!("a file for the output: {error}"));
    let (stdout, stderr) = (file(), file());
    let child = command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone().unwrap())
        .stderr(stderr.try_clone().unwrap())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {argv}: {error}"));
    Background { argv: argv.to_owned(), child, stdout, stderr }
}

/// Runs `command` to its end. After the deadline it is killed and the test fails.
#[track_caller]
pub(crate) fn run(command: Command, argv: &str, limit: Duration) -> Ran {
    start(command, argv).wait(limit)
}

impl Background {
    /// Waits for the program's end. After the deadline it is killed and the test fails.
    #[track_caller]
    pub(crate) fn wait(self, limit: Duration) -> Ran {
        let (in_time, ran) = self.end(limit);
        assert!(in_time, "no end after {} s, so it was killed:\n{ran}", limit.as_secs());
        ran
    }

    /// Waits for the program's end; returns whether it came in time. After the deadline it is killed.
    pub(crate) fn end(mut self, limit: Duration) -> (bool, Ran) {
        let in_time = ended_within(&mut self.child, limit);
        if !in_time {
            self.kill();
        }
        (in_time, self.collect())
    }

    #[allow(dead_code, reason = "for the tests that need it")]
    pub(crate) fn running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Kills the program and its descendants.
    pub(crate) fn kill(&mut self) {
        kill_tree(self.child.id());
        self.child.wait().unwrap();
    }

    fn collect(&mut self) -> Ran {
        use std::os::unix::process::ExitStatusExt as _;
        let status = self.child.wait().unwrap();
        Ran {
            argv: self.argv.clone(),
            code: status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
            stdout: text(&mut self.stdout),
            stderr: text(&mut self.stderr),
        }
    }
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether the child ends within `limit`.
pub(crate) fn ended_within(child: &mut Child, limit: Duration) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd as _;
    let pid = rustix::process::Pid::from_child(child);
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
    let end = Instant::now() + limit;
    loop {
        if child.try_wait().unwrap().is_some() {
            return true;
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        // An interrupted or early poll only means another round.
        let _ = poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], timeout);
    }
}

/// Kills a child process and its descendants. The parent first, because otherwise it could start more
/// children.
pub(crate) fn kill_tree(pid: u32) {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    kill(pid);
    for child in children.split_whitespace() {
        if let Ok(child) = child.parse() {
            kill_tree(child);
        }
    }
}

pub(crate) fn kill(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
}
