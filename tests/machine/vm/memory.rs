//! Sessions that exceed their memory limit.

use crate::suite::{Debian, Test, inside};
use crate::support::{
    Homebase, Supervised, TestFile, alive, cgroup_file, configured, event_since, events_since, forge,
    forge_json, journal_cursor, keyed, nothing_left_of, run_within, slice_of, spawn, systemctl, wait_until,
};
use serde_json::Value;
use std::time::Duration;

const A_MINUTE: Duration = Duration::from_secs(60);

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(exceeding_the_memory_limit_is_reported_as_out_of_memory),
        inside!(an_out_of_memory_child_does_not_end_the_session),
        inside!(a_kill_of_the_whole_pane_is_reported_and_repaired).only(Debian::Trixie),
        inside!(an_unsupervised_out_of_memory_exit_is_reported),
        inside!(a_program_above_its_memory_limit_does_not_start),
        inside!(above_memory_high_a_session_is_slow_and_alive),
    ]
}

/// Waits for a line, and then uses all the memory that it can get: `tail` keeps the last line, and this line
/// has no end.
const EATER: [&str; 3] = ["sh", "-c", "read x; exec tail /dev/zero"];

fn pid(of: &Value, key: &str) -> u32 {
    u32::try_from(of[key].as_u64().expect("a pid")).expect("a pid")
}

fn exceeding_the_memory_limit_is_reported_as_out_of_memory() {
    let homebase = Homebase::start();
    let other = Supervised::spawn("other", &[], &["sleep", "1000"]);
    let (neighbour, supervisor) = (other.up(), other.pid());
    let (_plain, plain) = spawn("plain", &[], &["sleep", "1000"]);

    let it = Supervised::spawn("eater", &["--memory-max", "64M"], &EATER);
    let before = it.up();
    let cursor = journal_cursor();
    forge(&["send", "eater", "go"]).ok();

    let oom = event_since(&cursor, "oom");
    assert_eq!((&oom["FORGE_SESSION"], &oom["PRIORITY"]), (&"eater".into(), &"3".into()));
    // The kernel killed only the program, not the server, which it could have chosen as well.
    assert_eq!(
        (&oom["FORGE_KILLS"], &oom["FORGE_MEMORY_MAX"]),
        (&"1".into(), &(64 << 20).to_string().into())
    );
    let crashed = event_since(&cursor, "crashed");
    let reported = crashed["MESSAGE"].as_str().expect("a message");
    assert!(reported.starts_with("eater crashed: an out-of-memory kill (ran "), "{reported}");

    let after = it.up_after(pid(&before, "pane_pid"));
    assert_eq!(after["command"], before["command"]);
    assert_eq!(cgroup_file(&slice_of("eater"), "memory.max").trim(), (64 << 20).to_string());
    assert_eq!(it.service("NRestarts"), "1");
    let spawned = events_since(&cursor).iter().filter(|event| event["FORGE_EVENT"] == "spawned").count();
    assert_eq!(spawned, 1, "once");
    let kills = &forge(&["--json", "probe"]).json()["oom_kills"];
    assert!(kills.as_u64().is_some_and(|kills| kills >= 1), "{kills}");

    let now = other.up();
    assert_eq!((&now["pane_pid"], &now["server_pid"]), (&neighbour["pane_pid"], &neighbour["server_pid"]));
    assert_eq!(other.pid(), supervisor);
    assert_eq!(forge_json(&["status", "plain"])["pane_pid"], plain["pane_pid"]);
    homebase.untouched();
}

fn an_out_of_memory_child_does_not_end_the_session() {
    let _configuration = configured(
        "[sessions.parent]\ncommand = ['sh', '-c', 'read x; tail /dev/zero; echo it is gone; exec sleep 1000']\n\
         limits = { memory_max = '64M' }\n",
    );
    let it = Supervised::start("parent");
    let (before, supervisor) = (it.up(), it.pid());
    let cursor = journal_cursor();
    forge(&["send", "parent", "go"]).ok();
    assert_eq!(event_since(&cursor, "oom")["FORGE_KILLS"], "1");
    wait_until(A_MINUTE, "the program to go on", || {
        forge(&["capture", "parent"]).stdout.contains("it is gone")
    });
    // As long as a manager needs to end a scope that it considers failed.
    std::thread::sleep(Duration::from_secs(5));
    let after = it.up();
    for key in ["pane_pid", "server_pid"] {
        assert_eq!(after[key], before[key], "{key}");
    }
    assert_eq!(it.pid(), supervisor);
    let ends = events_since(&cursor);
    assert!(ends.iter().all(|event| event["FORGE_EVENT"] == "oom"), "{ends:?}");
}

/// As `an_out_of_memory_child_does_not_end_the_session`, without forge's drop-in.
fn a_kill_of_the_whole_pane_is_reported_and_repaired() {
    let it = Supervised::named("whole");
    let _default =
        TestFile::new(".config/systemd/user/tmux-spawn-.scope.d/z-test.conf", "[Scope]\nOOMPolicy=stop\n");
    systemctl(&["daemon-reload"]).ok();
    let line = "read x; tail /dev/zero; exec sleep 1000";
    forge(&["spawn", "whole", "--supervise", "--memory-max", "64M", "--", "sh", "-c", line]).ok();
    let before = it.up();
    let cursor = journal_cursor();
    forge(&["send", "whole", "go"]).ok();
    let crashed = event_since(&cursor, "crashed");
    let reported = crashed["MESSAGE"].as_str().expect("a message");
    assert!(reported.starts_with("whole crashed: an out-of-memory kill (ran "), "{reported}");
    // The manager sent SIGTERM, which is otherwise a clean exit.
    assert_eq!(crashed["FORGE_SIGNAL"], "15");
    it.up_after(pid(&before, "pane_pid"));
}

fn an_unsupervised_out_of_memory_exit_is_reported() {
    let (_session, spawned) = spawn("lonely", &["--memory-max", "64M"], &EATER);
    let cursor = journal_cursor();
    forge(&["send", "lonely", "go"]).ok();
    // A waiting forge also repairs: tmux 3.3a notices some exits only after a signal (`ops/heal`).
    let ended = forge_json(&["wait", "lonely", "--exit", "--timeout", "60"]);
    assert_eq!((&ended["result"], &ended["signal"]), (&"an out-of-memory kill".into(), &9.into()));
    let crashed = event_since(&cursor, "crashed");
    let reported = crashed["MESSAGE"].as_str().expect("a message");
    assert!(reported.starts_with("lonely crashed: an out-of-memory kill (ran "), "{reported}");
    let oom = event_since(&cursor, "oom");
    assert_eq!((&oom["FORGE_KILLS"], &oom["FORGE_SESSION"]), (&"1".into(), &"lonely".into()));
    nothing_left_of("lonely");
    assert!(!alive(pid(&spawned, "server_pid")));
}

fn a_program_above_its_memory_limit_does_not_start() {
    let options = ["--memory-max", "64M", "--ready", "never", "--ready-timeout", "300"];
    let spawn = [&["forge", "spawn", "big"], &options[..], &["--", "tail", "/dev/zero"]].concat();
    let refused = run_within(Duration::from_secs(300), &spawn).code(1);
    assert!(refused.stderr.contains("tail ended before big was up: an out-of-memory kill"), "{refused}");
    nothing_left_of("big");
}

fn above_memory_high_a_session_is_slow_and_alive() {
    let (_session, spawned) = spawn("slow", &["--memory-high", "32M"], &EATER);
    forge(&["send", "slow", "go"]).ok();
    let slice = slice_of("slow");
    wait_until(A_MINUTE, "the limit", || keyed(&cgroup_file(&slice, "memory.events"), "high") > 0);
    let stalled = || {
        let pressure = cgroup_file(&slice, "memory.pressure");
        let some = pressure.lines().find_map(|line| line.strip_prefix("some ")).expect("a line");
        let total = some.split("total=").nth(1).expect("a total");
        total.parse::<u64>().expect("microseconds")
    };
    wait_until(A_MINUTE, "a second of pressure", || stalled() > 1_000_000);
    // Half of the machine's memory, which the program would have used by now.
    let memory = cgroup_file(&slice, "memory.current").trim().parse::<u64>().expect("bytes");
    assert!(memory < 512 << 20, "{memory}");
    // The server shares the limit, is as slow, and may seem wedged; forge kills nothing.
    let status = forge_json(&["status", "slow"]);
    for key in ["pane_pid", "server_pid"] {
        assert_eq!(status[key], spawned[key], "{status}");
        assert!(alive(pid(&status, key)), "{status}");
    }
    assert_eq!(keyed(&cgroup_file(&slice, "memory.events"), "oom_kill"), 0);
}
