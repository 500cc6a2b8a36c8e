//! The cost of an idle forge: start, size, memory, wake-ups.

use super::rounds::{LIMIT, in_turns, start, timed};
use super::{Goal, Row, Unit, Way};
use crate::ran;
use crate::support::{Supervised, configured, forge, run, run_within, systemctl, wait_until};
use std::fmt::Write as _;
use std::fs;
use std::process::Child;
use std::time::Duration;

/// How long wake-ups are counted: a supervisor notifies its watchdog every 90 s.
const SLEEP_S: u64 = 180;

/// The loop of a poller that checks every second.
const POLLER: &str = "while kill -0 $PPID; do sleep 1; done";

pub(super) fn rows(rounds: usize) -> Vec<Row> {
    let mut rows = vec![start_of(rounds), size()];
    rows.extend([1, 100].map(supervisors).into_iter().flatten());
    rows
}

fn start_of(rounds: usize) -> Row {
    let [forge, peer, floor] = in_turns(
        rounds,
        &mut [
            &mut || timed(&["forge", "--version"]),
            &mut || timed(&["systemctl", "--version"]),
            &mut || timed(&["true"]),
        ],
    );
    Row {
        what: "--version".to_owned(),
        size: String::new(),
        unit: Unit::Milliseconds,
        forge,
        peer: Some(Way::new("systemctl --version", peer)),
        floor: Some(Way::new("true", floor)),
        goals: vec![Goal::OfPeer(1.0)],
    }
}

#[allow(clippy::cast_precision_loss, reason = "megabytes for people")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1_000_000.0
}

fn size() -> Row {
    let size = |path: &str| megabytes(fs::metadata(path).expect("a program").len());
    Row {
        what: "size of the binary".to_owned(),
        size: String::new(),
        unit: Unit::Megabytes,
        forge: vec![size("/usr/bin/forge")],
        peer: None,
        floor: None,
        goals: vec![],
    }
}

/// The private memory of a process plus its share of shared memory (PSS), in bytes.
fn memory_of(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("its memory");
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).expect("its share");
    1024 * line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number")
}

fn memory(pids: &[u32]) -> f64 {
    megabytes(pids.iter().map(|pid| memory_of(*pid)).sum())
}

fn switches(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.expect("its wake-ups").trim().parse().expect("a number")
}

/// How often each process woke up in a minute. Steps in quick succession count once.
#[allow(clippy::cast_precision_loss, reason = "few")]
fn wake_ups(pids: &[u32]) -> Vec<f64> {
    let mut last: Vec<u64> = pids.iter().map(|pid| switches(*pid)).collect();
    let mut woke = vec![0_u32; pids.len()];
    for _ in 0..SLEEP_S * 4 {
        std::thread::sleep(Duration::from_millis(250));
        for (at, pid) in pids.iter().enumerate() {
            let now = switches(*pid);
            woke[at] += u32::from(now != last[at]);
            last[at] = now;
        }
    }
    woke.into_iter().map(|woke| f64::from(woke) * 60.0 / SLEEP_S as f64).collect()
}

fn supervisors(count: usize) -> [Row; 2] {
    let names: Vec<String> = (0..count).map(|number| format!("rest-{number}")).collect();
    let mut sessions = String::new();
    for name in &names {
        let _ = writeln!(sessions, "[sessions.{name}]\ncommand = 'sleep 100000'");
    }
    let _configured = configured(&sessions);
    forge(&["units", "install"]).ok();
    let units: Vec<String> = names.iter().map(|name| format!("forge-spawn@{name}.service")).collect();
    let start_all =
        [&["systemctl", "--user", "start"], &units.iter().map(String::as_str).collect::<Vec<_>>()[..]];
    run_within(LIMIT, &start_all.concat()).ok();
    let supervised: Vec<Supervised> = names
        .iter()
        .zip(&units)
        .map(|(name, unit)| Supervised { name: name.clone(), unit: unit.clone() })
        .collect();
    wait_until(LIMIT, "all supervisors to be at rest", || {
        run(&["pgrep", "-c", "-f", "^forge supervise --watch"]).stdout.trim() == count.to_string()
    });
    let ours: Vec<u32> = supervised.iter().map(Supervised::pid).collect();
    let mut pollers: Vec<_> = (0..count).map(|_| start(&["sh", "-c", POLLER])).collect();
    // The minimum of a waiting process: one that does nothing else.
    let mut sleepers: Vec<_> = (0..count).map(|_| start(&["sleep", "infinity"])).collect();
    let pids = |children: &[Child]| children.iter().map(Child::id).collect::<Vec<u32>>();
    let (theirs, least) = (pids(&pollers), pids(&sleepers));
    std::thread::sleep(Duration::from_secs(2));
    let size = format!("{count} idle supervisors");
    let memory = Row {
        what: "memory".to_owned(),
        size: size.clone(),
        unit: Unit::Megabytes,
        forge: vec![memory(&ours)],
        peer: Some(Way::new("a shell that checks every second", vec![memory(&theirs)])),
        floor: Some(Way::new("sleep infinity", vec![memory(&least)])),
        goals: vec![],
    };
    let all = wake_ups(&[&ours[..], &theirs, &least].concat());
    let [ours, theirs, least] = [0, 1, 2].map(|way| all[way * count..][..count].to_vec());
    let wake_ups = Row {
        what: "wake-ups in a minute".to_owned(),
        size,
        unit: Unit::PerMinute,
        forge: ours,
        peer: Some(Way::new("a shell that checks every second", theirs)),
        floor: Some(Way::new("sleep infinity", least)),
        // The supervisor notifies its watchdog every 90 s.
        goals: vec![Goal::AtMost(60.0 / 90.0)],
    };
    for child in pollers.iter_mut().chain(&mut sleepers) {
        ran::kill_tree(child.id());
        child.wait().expect("its end");
    }
    drop(supervised);
    systemctl(&["reset-failed"]);
    [memory, wake_ups]
}
