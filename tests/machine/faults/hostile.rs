//! A hostile `/tmp`: forge does not follow, remove or wait for files that another user plants there.

mod planted;

use crate::machine::Machine;
use crate::ran::{self, Background};
use crate::suite::{Test, outside};
use serde_json::Value;
use std::time::Duration;

pub(super) fn tests() -> Vec<Test> {
    let races =
        vec![outside!(a_racing_attacker).limit_s(240), outside!(a_race_for_the_first_socket).limit_s(240)];
    [planted::tests(), races].concat()
}

pub(super) fn long_tests() -> Vec<Test> {
    vec![
        outside!(a_racing_attacker_for_a_minute).limit_s(600),
        outside!(a_race_for_the_first_socket_for_a_minute).limit_s(600),
    ]
}

/// How long a sweep may take here. Only the first two seconds are its own: four machines share two
/// processors.
const SWEEP: u64 = 2_000 + 6_000;

/// ada's files outside all swept directories: nothing in them may change.
struct Precious {
    before: String,
    listener: Background,
}

const PRECIOUS: &str = "/home/ada/precious";

impl Precious {
    #[track_caller]
    fn new(machine: &Machine) -> Self {
        let make = "rm -rf $0; mkdir -m 700 $0 && cd $0 && echo dear >file && mkdir folder && : >locked.lock";
        machine.user(&["sh", "-c", make, PRECIOUS]).ok();
        let bind = "import os, socket, sys\nos.chdir(sys.argv[1])\n\
                    for i in range(20): socket.socket(socket.AF_UNIX).bind('dead-%d' % i)\n\
                    s = socket.socket(socket.AF_UNIX); s.bind('listener'); s.listen(100); print('up', flush=True)\n\
                    while True: s.accept(); print('somebody came', flush=True)";
        let listener = machine.spawn_user(&["python3", "-c", bind, PRECIOUS]);
        let there = || machine.path(PRECIOUS).join("listener").symlink_metadata().is_ok();
        crate::support::wait_until(Duration::from_secs(20), "the listener", there);
        Self { before: Self::listing(machine), listener }
    }

    fn listing(machine: &Machine) -> String {
        let list = "stat --format='%i %A %z' $0; ls -liAR --time-style=full-iso $0";
        machine.user(&["sh", "-c", list, PRECIOUS]).ok().stdout
    }

    #[track_caller]
    fn untouched(self, machine: &Machine) {
        assert_eq!(Self::listing(machine), self.before, "nothing outside is removed, made or changed");
        let (_, ran) = self.listener.end(Duration::ZERO);
        assert_eq!(ran.stdout, "up\n", "no link to it was followed");
    }
}

/// ada's live servers: one unrelated to forge, and a session.
struct Live {
    before: Vec<String>,
}

impl Live {
    #[track_caller]
    fn start(machine: &Machine) -> Self {
        machine.user(&["tmux", "-L", "homebase", "new", "-d", "sleep 10000"]).ok();
        machine.user(&["forge", "spawn", "live", "--", "sleep", "10000"]).ok();
        Self { before: Self::pids(machine) }
    }

    #[track_caller]
    fn pids(machine: &Machine) -> Vec<String> {
        let pid = |label| {
            let ran = machine.user(&["tmux", "-N", "-L", label, "display", "-p", "#{pid}"]);
            ran.ok().stdout.trim().to_owned()
        };
        vec![pid("homebase"), pid("spawn-live")]
    }

    #[track_caller]
    fn survive(self, machine: &Machine) {
        assert_eq!(Self::pids(machine), self.before, "live servers of ada's");
        machine.user(&["forge", "stop", "live"]).ok();
        machine.user(&["tmux", "-L", "homebase", "kill-server"]).ok();
    }
}

/// A directory of ada's sockets that mallory can write to through its group, as with tmux.
const SHARED: &str = "/tmp/shared/tmux-1000";

fn share(machine: &Machine) {
    machine.root(&["rm", "-rf", "/tmp/shared"]).ok();
    machine.user(&["mkdir", "-p", SHARED]).ok();
    machine.root(&["chgrp", "mallory", SHARED]).ok();
    machine.root(&["chmod", "770", SHARED]).ok();
}

/// Creates dead sockets of ada's.
fn dead_sockets(machine: &Machine, dir: &str, names: &[&str]) {
    let bind = "import os, socket, sys\nos.chdir(sys.argv[1])\n\
                for name in sys.argv[2:]: socket.socket(socket.AF_UNIX).bind(name)";
    machine.user(&[&["python3", "-c", bind, dir], names].concat()).ok();
}

/// The file names in a list of a sweep's report.
#[track_caller]
fn names<'a>(report: &'a Value, key: &str) -> Vec<&'a str> {
    let paths = report[key].as_array().unwrap_or_else(|| panic!("{key} in {report}"));
    let path = |one: &'a Value| one.as_str().or_else(|| one["path"].as_str()).expect("a path");
    paths.iter().map(|one| path(one).strip_prefix("/tmp/shared/tmux-1000/").unwrap_or(path(one))).collect()
}

/// Swaps at full speed, and the name always exists: renameat2(2) with `RENAME_EXCHANGE`.
const SWAPS: &str = r#"
use POSIX; use Config;
my ($seconds, @pairs) = @ARGV;
my $renameat2 = $Config{archname} =~ /x86_64/ ? 316 : 276;
my ($end, $swaps) = (time() + $seconds, 0);
while (time() < $end) {
    for (1 .. 100) {
        my ($a, $b) = split /=/, $pairs[rand @pairs];
        $swaps++ if syscall($renameat2, -100, $a, -100, $b, 2) == 0;
    }
}
print "$swaps\n";
"#;

fn swapping(machine: &Machine, seconds: u64, pairs: &[&str]) -> Background {
    let seconds = seconds.to_string();
    let argv = [&["perl", "-e", SWAPS, &seconds], pairs].concat();
    ran::start(machine.command("mallory", &argv), "the attacker")
}

/// Runs a command as ada repeatedly while the attacker runs; returns each output.
const AGAIN: &str =
    "end=$(($(date +%s) + $0)); while [ $(date +%s) -lt $end ]; do \"$@\" 2>/dev/null; done; true";

fn again(machine: &Machine, seconds: u64, argv: &[&str]) -> Background {
    let seconds = seconds.to_string();
    machine.spawn_user(&[&["sh", "-c", AGAIN, &seconds], argv].concat())
}

fn a_racing_attacker(machine: &mut Machine) {
    race(machine, 8);
}

fn a_racing_attacker_for_a_minute(machine: &mut Machine) {
    race(machine, 60);
}

/// mallory swaps ada's directory, inside one that mallory owns, with links and other directories, and swaps
/// entries in the shared directory, while ada sweeps, spawns and stops there.
fn race(machine: &mut Machine, seconds: u64) {
    let (live, precious) = (Live::start(machine), Precious::new(machine));
    share(machine);
    machine.root(&["rm", "-rf", "/tmp/field"]).ok();
    machine.as_user("mallory", &["mkdir", "-m", "777", "/tmp/field"]).ok();
    machine.user(&["mkdir", "-m", "700", "/tmp/field/tmux-1000"]).ok();
    let plant = "cd /tmp/field && ln -s /home/ada/precious link && mkdir -m 777 other && mkfifo fifo && : >file && \
                 cd /tmp/shared/tmux-1000 && ln -s /home/ada/precious/listener to-listener && \
                 ln -s /home/ada/precious/dead-2 to-dead && : >a-file && ln -s /home/ada/made-by-a-lock to-lock && \
                 mkdir a-folder && mkfifo a-fifo";
    machine.as_user("mallory", &["sh", "-c", plant]).ok();
    let dead = ["ada-1", "ada-2", "ada-3", "spawn-4"];
    dead_sockets(machine, SHARED, &dead);
    machine.user(&["sh", "-c", "cd $0 && : >ada-1.lock && : >ada-2.lock && : >spawn-4.lock", SHARED]).ok();

    let field =
        ["link", "other", "fifo", "file"].map(|name| format!("/tmp/field/tmux-1000=/tmp/field/{name}"));
    let swapped = [
        ("ada-1", "to-listener"),
        ("ada-1", "to-dead"),
        ("ada-2", "a-file"),
        ("ada-2", "a-folder"),
        ("ada-3", "a-fifo"),
        ("spawn-4", "to-listener"),
        ("ada-1.lock", "to-lock"),
        ("ada-2.lock", "a-file"),
        ("spawn-4.lock", "to-lock"),
    ];
    let shared = swapped.map(|(a, b)| format!("{SHARED}/{a}={SHARED}/{b}"));
    let pairs: Vec<&str> = field.iter().chain(&shared).map(String::as_str).collect();
    let attacker = swapping(machine, seconds, &pairs);

    let rebind = "import os, socket, sys, time\nos.chdir(sys.argv[2]); end = time.time() + int(sys.argv[1])\n\
                  while time.time() < end:\n for name in sys.argv[3:]:\n  try: socket.socket(socket.AF_UNIX).bind(name)\n\
                  \x20 except OSError: pass\n time.sleep(0.01)";
    let text = seconds.to_string();
    let ada = machine.spawn_user(&[&["python3", "-c", rebind, &text, SHARED][..], &dead].concat());
    let sweep = ["forge", "--json", "sweep", "--dir", "/tmp/field/tmux-1000", "--dir", SHARED];
    let sweeps = [0, 1].map(|_| again(machine, seconds, &sweep));
    let here = "forge --json spawn race -- sleep 1000 && forge --json stop race";
    let spawns = again(machine, seconds, &["sh", "-c", here]);
    let there = ["env", "TMUX_TMPDIR=/tmp/field", "forge", "--json", "spawn", "lured", "--", "sleep", "1000"];
    let lured = again(machine, seconds, &there);

    let limit = Duration::from_secs(seconds + 60);
    let swaps: u64 = attacker.wait(limit).ok().stdout.trim().parse().expect("a number of swaps");
    ada.wait(limit).ok();
    let reports: Vec<Value> = sweeps.into_iter().flat_map(|sweeps| lines(sweeps, limit)).collect();
    let longest = reports.iter().map(|report| report["elapsed_ms"].as_u64().expect("a time")).max();
    let removed: usize = reports.iter().map(|report| names(report, "removed").len()).sum();
    let (spawns, lured) = (lines(spawns, limit), lines(lured, limit));
    println!(
        "{} sweeps ({removed} sockets removed, the longest {} ms), {} spawns and {} refusals raced {swaps} swaps",
        reports.len(),
        longest.expect("sweeps"),
        spawns.len() / 2,
        lured.len()
    );
    assert!(longest.is_some_and(|longest| longest < SWEEP), "a sweep took {longest:?} ms");
    assert!(removed > 0 && swaps > 1000, "there was no race");
    assert!(spawns.len() > 2 && spawns.iter().all(|one| one["error"].is_null()), "{spawns:?}");
    assert!(!lured.is_empty() && lured.iter().all(|one| one["error"]["kind"] == "unsafe"), "{lured:?}");
    assert!(
        machine.path("/home/ada/made-by-a-lock").symlink_metadata().is_err(),
        "a lock's link was followed"
    );
    live.survive(machine);
    precious.untouched(machine);
}

/// The JSON objects that a loop printed, one in each line.
fn lines(running: Background, limit: Duration) -> Vec<Value> {
    let ran = running.wait(limit).ok();
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{ran}"))).collect()
}

fn a_race_for_the_first_socket(machine: &mut Machine) {
    race_for_the_first(machine, 6);
}

fn a_race_for_the_first_socket_for_a_minute(machine: &mut Machine) {
    race_for_the_first(machine, 60);
}

/// Before ada's socket directory exists, mallory creates one of that name and swaps it.
fn race_for_the_first(machine: &mut Machine, seconds: u64) {
    machine.root(&["rm", "-rf", "/tmp/tmux-1000"]).ok();
    let precious = Precious::new(machine);
    let plant = "cd /tmp && rm -rf to-precious mine fifo && ln -s /home/ada/precious to-precious && mkdir -m 777 mine && \
                 mkfifo fifo && mkdir -m 777 tmux-1000";
    machine.as_user("mallory", &["sh", "-c", plant]).ok();
    let pairs = ["to-precious", "mine", "fifo"].map(|name| format!("/tmp/tmux-1000=/tmp/{name}"));
    let attacker = swapping(machine, seconds, &pairs.each_ref().map(String::as_str));
    let sweeps = again(machine, seconds, &["forge", "--json", "sweep"]);
    let spawns = again(machine, seconds, &["forge", "--json", "spawn", "first", "--", "sleep", "1000"]);
    let limit = Duration::from_secs(seconds + 60);
    let swaps: u64 = attacker.wait(limit).ok().stdout.trim().parse().expect("a number of swaps");
    let (sweeps, spawns) = (lines(sweeps, limit), lines(spawns, limit));
    println!(
        "{} sweeps and {} spawns raced {swaps} swaps of the whole directory",
        sweeps.len(),
        spawns.len()
    );
    assert!(swaps > 1000 && sweeps.len() > 3 && spawns.len() > 3, "there was no race");
    assert!(sweeps.iter().all(|report| names(report, "skipped").len() == 1), "{sweeps:?}");
    assert!(sweeps.iter().all(|report| report["elapsed_ms"].as_u64().expect("a time") < SWEEP), "{sweeps:?}");
    assert!(spawns.iter().all(|one| one["error"]["kind"] == "unsafe"), "{spawns:?}");
    precious.untouched(machine);
    machine
        .as_user("mallory", &["sh", "-c", "rm -rf /tmp/tmux-1000 /tmp/to-precious /tmp/mine /tmp/fifo"])
        .ok();
    machine.user(&["forge", "spawn", "first", "--", "sleep", "9"]).ok();
    machine.user(&["forge", "stop", "first"]).ok();
}
