//! Many sessions: at once, and side by side.

use crate::suite::{Test, inside};
use crate::support::{Homebase, forge, forge_json, run_within, shell, spawn, start, user_unit_property};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(fifty_at_once_all_come_up).limit_s(240),
        inside!(three_hundred_exist_side_by_side).limit_s(420),
    ]
}

fn sessions() -> Vec<Value> {
    forge_json(&["list"])["sessions"].as_array().expect("sessions").clone()
}

fn all_are_apart(sessions: &[Value]) {
    for key in ["server_pid", "pane_pid", "socket"] {
        let distinct: BTreeSet<String> = sessions.iter().map(|session| session[key].to_string()).collect();
        assert_eq!(distinct.len(), sessions.len(), "{key}");
    }
    let odd: Vec<&Value> = sessions.iter().filter(|session| session["state"] != "running").collect();
    assert!(odd.is_empty(), "{odd:?}");
}

fn stop_all() {
    let stopped = run_within(Duration::from_secs(120), &["forge", "--json", "stop", "--all"]).ok().json();
    assert!(stopped["stopped"].as_array().expect("a list").iter().all(|one| one["killed"] == 0), "{stopped}");
    assert_eq!(sessions(), Vec::<Value>::new());
    let left = shell("ls /tmp/tmux-1000 | grep -c '^spawn-'").stdout;
    assert_eq!(left.trim(), "0", "sockets");
    let units = shell("systemctl --user list-units --no-legend 'forge-*'").ok().stdout;
    assert_eq!(units.trim(), "", "units");
    assert_eq!(user_unit_property("forge.slice", "TasksCurrent").parse::<u64>().unwrap_or(0), 0);
}

fn fifty_at_once_all_come_up() {
    let homebase = Homebase::start();
    let begin = Instant::now();
    let spawns: Vec<_> = (0..50)
        .map(|n| start(&["forge", "--json", "spawn", &format!("crowd-{n}"), "--", "sleep", "1000"]))
        .collect();
    for spawn in spawns {
        spawn.wait(Duration::from_secs(180)).ok();
    }
    println!("50 spawns at once: {} ms", begin.elapsed().as_millis());
    let found = sessions();
    assert_eq!(found.len(), 50);
    all_are_apart(&found);
    stop_all();
    homebase.untouched();
}

/// How many messages forge sends on the bus for `forge list`.
fn messages(verb: &str) -> usize {
    let argv = ["strace", "-f", "-qq", "-o", "/tmp/messages", "-e", "trace=sendmsg", "forge", "-q", verb];
    run_within(Duration::from_secs(60), &argv);
    std::fs::read_to_string("/tmp/messages").expect("strace's output").matches("sendmsg(").count()
}

fn three_hundred_exist_side_by_side() {
    let homebase = Homebase::start();
    let (_one, _) = spawn("mass-1", &[], &["sleep", "1000"]);
    let few = ["list", "probe"].map(messages);
    assert!(few[0] > 1, "strace saw nothing: {few:?}");
    forge(&["stop", "mass-1"]).ok();
    let spawn = "seq 300 | xargs -P 6 -I{} forge -q spawn mass-{} -- sleep 1000";
    run_within(Duration::from_secs(300), &["sh", "-c", spawn]).ok();
    let begin = Instant::now();
    let found = sessions();
    println!("list of 300: {} ms", begin.elapsed().as_millis());
    assert_eq!(found.len(), 300);
    all_are_apart(&found);
    assert_eq!(forge(&["list"]).ok().stdout.lines().count(), 301);
    let many = ["list", "probe"].map(messages);
    assert!((0..2).all(|at| many[at] < few[at] + 10), "for one session {few:?}, for 300 {many:?}");
    stop_all();
    homebase.untouched();
}
