//! Tools of the tests in a machine: run programs, wait, read the journal and cgroups.

mod cgroups;
mod journal;
mod sessions;

pub(crate) use cgroups::{cgroup_file, cgroup_of, keyed, processes_in, slice_of};
pub(crate) use journal::{event_since, events_since, journal, journal_catches_up, journal_cursor, sent_at};
pub(crate) use sessions::{DropIn, Homebase, Session, Supervised, nothing_left_of, spawn};

use crate::ran::{self, Background, Ran};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long one program may take unless the test sets a deadline.
const USUAL: Duration = Duration::from_secs(60);

fn command(argv: &[&str]) -> (Command, String) {
    let mut command = Command::new(argv[0]);
    command.args(&argv[1..]);
    (command, argv.join(" "))
}

/// Runs a program to its end, without a shell.
#[track_caller]
pub(crate) fn run(argv: &[&str]) -> Ran {
    run_within(USUAL, argv)
}

#[track_caller]
pub(crate) fn run_within(limit: Duration, argv: &[&str]) -> Ran {
    let (command, line) = command(argv);
    ran::run(command, &line, limit)
}

/// Starts a program and leaves it running.
#[track_caller]
pub(crate) fn start(argv: &[&str]) -> Background {
    let (command, line) = command(argv);
    ran::start(command, &line)
}

/// Runs a line of shell.
#[track_caller]
pub(crate) fn shell(line: &str) -> Ran {
    run(&["sh", "-c", line])
}

#[track_caller]
pub(crate) fn forge(args: &[&str]) -> Ran {
    run(&[&["forge"], args].concat())
}

/// Runs `forge --json`, asserts success and returns its JSON object.
#[track_caller]
pub(crate) fn forge_json(args: &[&str]) -> Value {
    forge(&[&["--json"], args].concat()).ok().json()
}

/// Runs tmux on the socket `label`.
#[track_caller]
pub(crate) fn tmux(label: &str, args: &[&str]) -> Ran {
    run(&[&["tmux", "-L", label], args].concat())
}

/// The path of the socket `label`.
pub(crate) fn socket(label: &str) -> PathBuf {
    PathBuf::from(format!("/tmp/tmux-{}/{label}", nix::unistd::getuid()))
}

/// The process of the tmux server on the socket `label`.
#[track_caller]
pub(crate) fn server_pid(label: &str) -> u32 {
    tmux(label, &["-N", "display", "-p", "#{pid}"]).ok().stdout.trim().parse().expect("a pid")
}

/// Ends the tmux server on the socket `label` and waits until it is gone: a killed server answers and listens
/// for a moment longer.
#[track_caller]
pub(crate) fn kill_server(label: &str) {
    let pid = server_pid(label);
    tmux(label, &["kill-server"]).ok();
    wait_until(USUAL, "the end of a tmux server", || !alive(pid));
}

/// Leaves a socket without a server, as a crashed server does.
#[track_caller]
pub(crate) fn dead_socket(label: &str) -> PathBuf {
    tmux(label, &["new", "-d", "sleep 1000"]).ok();
    let pids = tmux(label, &["display", "-p", "#{pid} #{pane_pid}"]).ok().stdout;
    for pid in pids.split_whitespace() {
        shell(&format!("kill -9 {pid}"));
        wait_until(USUAL, "the end of a killed tmux server", || !alive(pid.parse().unwrap()));
    }
    assert!(socket(label).exists());
    socket(label)
}

/// Whether the process exists and is not a zombie.
pub(crate) fn alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !is_zombie(&stat))
}

/// Whether a line of `/proc/PID/stat` is of a zombie.
pub(crate) fn is_zombie(stat: &str) -> bool {
    stat.rsplit(')').next().unwrap_or_default().starts_with(" Z")
}

/// Waits until `probe` is true. After `limit` the test fails and reports `what` it waited for.
#[track_caller]
pub(crate) fn wait_until(limit: Duration, what: &str, mut probe: impl FnMut() -> bool) {
    wait_for(limit, what, || probe().then_some(()));
}

/// Waits until `probe` returns a value, and returns it; the limit is as in `wait_until`.
#[track_caller]
pub(crate) fn wait_for<T>(limit: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < end, "waited {} s in vain for {what}", limit.as_secs());
        // There is no single event for everything that tests wait for.
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A property of a user unit, as `systemctl show` prints it.
#[track_caller]
pub(crate) fn user_unit_property(unit: &str, property: &str) -> String {
    let ran = run(&["systemctl", "--user", "show", "--value", "-p", property, unit]).ok();
    ran.stdout.trim_end().to_owned()
}

/// A file that is removed when the test ends.
pub(crate) struct TestFile(PathBuf);

impl TestFile {
    #[track_caller]
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let path = PathBuf::from(path);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("its directory");
        std::io::Write::write_all(&mut std::fs::File::create(&path).expect("a file"), text.as_bytes())
            .expect("its text");
        Self(path)
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Runs `systemctl --user`.
#[track_caller]
pub(crate) fn systemctl(args: &[&str]) -> Ran {
    run(&[&["systemctl", "--user"], args].concat())
}

/// Sends a signal, given by name.
#[track_caller]
pub(crate) fn signal(signal: &str, pid: u32) {
    assert!(pid > 1, "no process");
    run(&["kill", "-s", signal, &pid.to_string()]);
}

/// Writes forge's configuration; it is removed when the test ends.
#[track_caller]
pub(crate) fn configured(text: &str) -> TestFile {
    TestFile::new(".config/forge/forge.toml", text)
}
