//! Sessions that exceed their limits of CPU time and of processes.

use crate::suite::{Test, inside};
use crate::support::{cgroup_file, forge, forge_json, keyed, slice_of, spawn, wait_until};
use std::time::{Duration, Instant};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(ten_times_the_weight_gets_most_of_the_cpu),
        inside!(a_quota_is_kept),
        inside!(the_limit_of_tasks_holds),
    ]
}

/// One loop per processor: without limits the session would use them all.
const LOOPS: [&str; 3] = ["sh", "-c", "while :; do :; done & while :; do :; done"];

/// The CPU time that each session gets during a while.
fn shares(names: &[&str]) -> Vec<f64> {
    let used = || -> (Instant, Vec<f64>) {
        let list = forge_json(&["list"]);
        let sessions = list["sessions"].as_array().expect("sessions");
        let of = |name: &&str| {
            let session = sessions.iter().find(|one| one["session"] == *name).expect("the session");
            session["cpu_usec"].as_f64().expect("CPU time") / 1e6
        };
        (Instant::now(), names.iter().map(of).collect())
    };
    let (start, before) = used();
    std::thread::sleep(Duration::from_secs(15));
    let (end, after) = used();
    let took = (end - start).as_secs_f64();
    before.iter().zip(after).map(|(before, after)| (after - before) / took).collect()
}

fn ten_times_the_weight_gets_most_of_the_cpu() {
    let (_loud, _) = spawn("loud", &["--cpu-weight", "100"], &LOOPS);
    let (_quiet, _) = spawn("quiet", &["--cpu-weight", "10"], &LOOPS);
    let shares = shares(&["loud", "quiet"]);
    assert!(shares[0] > 4.0 * shares[1] && shares[1] > 0.0, "{shares:?}");
}

fn a_quota_is_kept() {
    let (_session, _) = spawn("bounded", &["--cpu-quota", "20%"], &LOOPS);
    let shares = shares(&["bounded"]);
    assert!(shares[0] > 0.02 && shares[0] < 0.4, "{shares:?}");
    assert!(keyed(&cgroup_file(&slice_of("bounded"), "cpu.stat"), "nr_throttled") > 0);
}

fn the_limit_of_tasks_holds() {
    let line = "(for n in $(seq 40); do sleep 1000 & done); echo that was all; exec sleep 1000";
    let (_session, _) = spawn("many", &["--tasks-max", "20"], &["sh", "-c", line]);
    wait_until(Duration::from_secs(60), "the last of them", || {
        forge(&["capture", "many"]).stdout.contains("that was all")
    });
    let screen = forge(&["capture", "many"]).stdout;
    assert!(screen.contains("Cannot fork"), "{screen}");
    let status = forge_json(&["status", "many"]);
    assert!(
        status["state"] == "running" && status["tasks"].as_u64().is_some_and(|tasks| tasks <= 20),
        "{status}"
    );
}
