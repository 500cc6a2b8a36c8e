//! Sessions that one kill or several at once end by force, and the supervisor's response.

use crate::suite::{Debian, Test, inside};
use crate::support::{
    DropIn, Homebase, Supervised, TestFile, alive, configured, event_since, events_since, forge, forge_json,
    journal_cursor, nothing_left_of, run, run_within, sent_at, shell, signal, start, systemctl, wait_for,
    wait_until,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(each_kind_of_exit_is_reported_as_such),
        inside!(killing_any_two_processes_restarts_the_session_once).limit_s(300),
        inside!(restart_says_when),
        inside!(a_crashed_session_resumes_its_conversation),
        inside!(processes_of_the_last_run_are_ended_before_the_next),
        inside!(pauses_grow),
        inside!(growing_pauses_of_systemd_are_left_to_systemd).only(Debian::Trixie),
        inside!(too_many_failures_open_the_breaker),
        inside!(the_last_of_many_failures_is_reported).only(Debian::Trixie),
        inside!(a_poke_forgives_nothing),
        inside!(a_failed_start_counts_for_the_breaker),
        inside!(a_run_that_lasts_clears_the_history),
        inside!(half_of_a_hundred_killed_supervisors_come_back).limit_s(400),
    ]
}

const MANY: &str = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestartSec=50ms\n";

type Kill = fn(&Supervised);

fn each_kind_of_exit_is_reported_as_such() {
    let script = "trap 'exit 7' USR1; echo up; while :; do sleep 0.05; done";
    let _settings = DropIn::new("reported", MANY);
    let it = Supervised::spawn("reported", &["--ready", "up"], &["sh", "-c", script]);
    let ways: [(&str, Kill, &str, Option<&str>); 4] = [
        ("status", |it| signal("USR1", it.program()), "exit status 7", Some("7")),
        ("signal", |it| signal("KILL", it.program()), "signal 9 (SIGKILL)", None),
        ("server", |it| signal("KILL", it.server()), "the end of its tmux server", None),
        (
            "scope",
            |it| drop(systemctl(&["stop", &format!("forge-spawn-{}.scope", it.name)]).ok()),
            "the end of its tmux server",
            None,
        ),
    ];
    for (what, kill, result, status) in ways {
        let before = it.up();
        let cursor = journal_cursor();
        kill(&it);
        let crashed = event_since(&cursor, "crashed");
        assert_eq!(
            (&crashed["FORGE_RESULT"], &crashed["FORGE_SESSION"]),
            (&result.into(), &"reported".into()),
            "{what}"
        );
        assert_eq!(crashed["FORGE_EXIT_STATUS"].as_str(), status, "{what}");
        let restarted = event_since(&cursor, "restarted");
        assert_eq!(restarted["FORGE_WHY"], result, "{what}");
        it.up_after(u32::try_from(before["pane_pid"].as_u64().expect("a pid")).expect("a pid"));
        let crashes = events_since(&cursor).iter().filter(|event| event["FORGE_EVENT"] == "crashed").count();
        assert_eq!(crashes, 1, "{what}: reported once");
    }
}

fn killing_any_two_processes_restarts_the_session_once() {
    let homebase = Homebase::start();
    let _settings = DropIn::new("pair", MANY);
    let it = Supervised::spawn("pair", &[], &["sleep", "2468"]);
    let things = ["supervisor", "server", "program", "scope"];
    for first in things {
        for second in things {
            // Growing pauses start from the beginning again.
            systemctl(&["reset-failed", &it.unit]).ok();
            let before = it.up();
            let pids: BTreeMap<&str, u32> =
                [("supervisor", it.pid()), ("server", it.server()), ("program", it.program())].into();
            let cursor = journal_cursor();
            for thing in BTreeSet::from([first, second]) {
                match pids.get(thing) {
                    Some(pid) => signal("KILL", *pid),
                    None => drop(systemctl(&["kill", "-s", "KILL", "forge-spawn-pair.scope"])),
                }
            }
            let only_the_supervisor = first == "supervisor" && second == "supervisor";
            if only_the_supervisor {
                event_since(&cursor, "adopted");
                assert_eq!(it.up()["pane_pid"], before["pane_pid"]);
            } else {
                it.up_after(pids["program"]);
                assert!(!alive(pids["server"]) && !alive(pids["program"]), "{first} and {second}");
                wait_until(Duration::from_secs(10), "the record", || {
                    events_since(&cursor).iter().any(|event| event["FORGE_EVENT"] == "crashed")
                });
            }
            let programs = run(&["pgrep", "-c", "-x", "-f", "sleep 2468"]).stdout;
            let servers = run(&["pgrep", "-c", "-f", "tmux.*spawn-pair"]).stdout;
            assert_eq!((programs.trim(), servers.trim()), ("1", "1"), "{first} and {second}");
            homebase.untouched();
        }
    }
}

fn restart_says_when() {
    for (policy, ends, comes_back, left) in [
        ("never", "exit 0", false, "inactive"),
        ("never", "exit 3", false, "failed"),
        ("on-failure", "exit 0", false, "inactive"),
        ("on-failure", "exit 3", true, ""),
        ("always", "exit 0", true, ""),
        ("always", "exit 3", true, ""),
    ] {
        let _settings = DropIn::new("policy", MANY);
        let _configuration = configured(&format!(
            "[sessions.policy]\ncommand = ['sh', '-c', 'read x; {ends}']\nrestart = '{policy}'\n"
        ));
        let it = Supervised::start("policy");
        let before = it.program();
        let cursor = journal_cursor();
        forge(&["send", "policy", "end"]).ok();
        let event = if ends == "exit 0" { "exited" } else { "crashed" };
        assert_eq!(event_since(&cursor, event)["FORGE_SESSION"], "policy");
        if comes_back {
            it.up_after(before);
        } else {
            it.becomes(left);
            assert_eq!(it.service("NRestarts"), "0", "{policy} {ends}");
            // The next start uses the same specification.
            systemctl(&["start", &it.unit]).ok();
            assert_eq!(it.up()["command"][2], format!("read x; {ends}"));
        }
    }
}

fn a_crashed_session_resumes_its_conversation() {
    let _settings = DropIn::new("talk", MANY);
    let _configuration = configured(
        "[sessions.talk]\ncommand = ['sleep', '1111']\nresume = ['sleep', '{resume_id}']\nresume_id = '2222'\n",
    );
    let it = Supervised::start("talk");
    let line = || std::fs::read_to_string(format!("/proc/{}/cmdline", it.program())).expect("a line");
    assert_eq!(line(), "sleep\u{0}1111\u{0}", "at first there is nothing to resume");
    let before = it.program();
    signal("KILL", before);
    it.up_after(before);
    assert_eq!(line(), "sleep\u{0}2222\u{0}");
}

fn processes_of_the_last_run_are_ended_before_the_next() {
    let _settings = DropIn::new("bridge", MANY);
    let script = "setsid sh -c 'trap \"\" HUP TERM; exec sleep 1928' & exec sleep 1000";
    let it = Supervised::spawn("bridge", &[], &["sh", "-c", script]);
    let left = || run(&["pgrep", "-x", "-f", "sleep 1928"]).stdout.trim().to_owned();
    wait_until(Duration::from_secs(5), "the bridge", || !left().is_empty());
    let (old, before) = (left(), it.program());
    signal("KILL", before);
    it.up_after(before);
    wait_until(Duration::from_secs(5), "the bridge", || !left().is_empty());
    assert!(left() != old && left().lines().count() == 1, "{old} {}", left());
}

/// The first pauses before a restart of a session that crashes at once, in milliseconds.
fn pauses(name: &str, settings: &str) -> Vec<u128> {
    let _settings = DropIn::new(name, &format!("[Unit]\nStartLimitBurst=100\n[Service]\n{settings}"));
    let _it = Supervised::named(name);
    let cursor = journal_cursor();
    forge(&["spawn", name, "--supervise", "--", "sh", "-c", "sleep 0.5; exit 1"]).ok();
    let times = |kind: &str| -> Vec<u128> {
        events_since(&cursor).iter().filter(|event| event["FORGE_EVENT"] == kind).map(sent_at).collect()
    };
    wait_until(Duration::from_secs(60), "five starts", || times("spawned").len() >= 5);
    times("crashed")
        .iter()
        .zip(times("spawned").iter().skip(1))
        .map(|(end, start)| (start - end) / 1000)
        .collect()
}

fn pauses_grow() {
    let pauses = pauses("slow", "");
    for (pause, at_least) in pauses.iter().zip([1000, 2267, 5143, 11665]) {
        assert!(*pause >= at_least, "{pauses:?}");
    }
    assert!(pauses[0] < 2267 && pauses[2] < 11665, "{pauses:?}");
}

fn growing_pauses_of_systemd_are_left_to_systemd() {
    let pauses = pauses("own", "RestartSec=50ms\nRestartSteps=1\nRestartMaxDelaySec=1s\n");
    // With forge's own curve the second pause would be 206 ms long, and the fourth 3536 ms.
    assert!(pauses[1] >= 1000 && pauses[3] < 3536, "{pauses:?}");
}

fn too_many_failures_open_the_breaker() {
    let homebase = Homebase::start();
    let _settings = DropIn::new("flap", "[Service]\nRestartSec=50ms\n");
    let reported = "reported.json";
    let _ = std::fs::remove_file(reported);
    let _configuration = configured(
        "[sessions.flap]\ncommand = ['sh', '-c', 'sleep 0.1; test -e fixed || exit 3; exec sleep 1000']\n\
         [notify]\ncommand = ['tee', '-a', '/home/ada/reported.json']\n",
    );
    let other = Supervised::spawn("other", &[], &["sleep", "1000"]);
    let (before, supervisor) = (other.up(), other.pid());
    let cursor = journal_cursor();
    let it = Supervised::start("flap");
    it.becomes("failed");
    let open = event_since(&cursor, "breaker_open");
    assert_eq!((&open["FORGE_FAILURES"], &open["FORGE_ERROR"]), (&"5".into(), &"exit status 3".into()));
    assert_eq!((&open["PRIORITY"], &open["FORGE_WITHIN_S"]), (&"3".into(), &"600".into()));
    assert_eq!(it.status()["state"], "failed");
    assert!(it.service("StatusText").contains("'forge restart flap'"), "{}", it.service("StatusText"));
    let probe = forge(&["--json", "probe"]).code(5).json();
    assert!(probe["units_failed"].to_string().contains(&it.unit), "{probe}");
    // forge sends one notice, with the reason.
    let notice = wait_for(Duration::from_secs(20), "the notice", || {
        serde_json::from_str::<Value>(&std::fs::read_to_string(reported).ok()?).ok()
    });
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(std::fs::read_to_string(reported).expect("a notice").matches("\"kind\"").count(), 1, "once");
    let text = notice["text"].as_str().expect("a text");
    assert!(text.contains("forge does not start flap again: exit status 3"), "{notice}");
    assert_eq!(notice["unit"], it.unit);
    // Starts that succeeded counted nevertheless.
    let spawned = events_since(&cursor).iter().filter(|event| event["FORGE_EVENT"] == "spawned").count();
    assert_eq!(spawned, 5);
    // The other sessions were not affected.
    assert_eq!((other.up()["pane_pid"].clone(), other.pid()), (before["pane_pid"].clone(), supervisor));
    // The session stays failed until the user starts it.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(it.service("ActiveState"), "failed");
    let _mended = TestFile::new("fixed", "");
    systemctl(&["reset-failed", &it.unit]).ok();
    systemctl(&["start", &it.unit]).ok();
    it.up();
    systemctl(&["stop", &it.unit]).ok();
    // The other way to start it.
    std::fs::remove_file("fixed").expect("its removal");
    systemctl(&["start", &it.unit]);
    it.becomes("failed");
    let _mended = TestFile::new("fixed", "");
    forge(&["restart", "flap"]).ok();
    it.up();
    let _ = std::fs::remove_file(reported);
    homebase.untouched();
}

fn the_last_of_many_failures_is_reported() {
    // systemd starts the notice unit at each of them, more often than the default start limit allows.
    let _settings = DropIn::new(
        "many",
        "[Unit]\nStartLimitBurst=8\n[Service]\nRestartSec=50ms\nRestartSteps=1\nRestartMaxDelaySec=60ms\n",
    );
    let reported = "reported.json";
    let _ = std::fs::remove_file(reported);
    let _configuration = configured(
        "[sessions.many]\ncommand = ['sh', '-c', 'sleep 0.5; exit 3']\n\
         [notify]\ncommand = ['tee', '-a', '/home/ada/reported.json']\n",
    );
    let it = Supervised::start("many");
    it.becomes("failed");
    wait_until(Duration::from_secs(20), "the notice", || {
        std::fs::read_to_string(reported).is_ok_and(|text| text.contains("forge does not start many again"))
    });
    let _ = std::fs::remove_file(reported);
}

fn a_failed_start_counts_for_the_breaker() {
    let _settings = DropIn::new("unstartable", "[Unit]\nStartLimitBurst=3\n[Service]\nRestartSec=50ms\n");
    let _configuration = configured("[sessions.unstartable]\ncommand = 'nosuchprogram'\n");
    let cursor = journal_cursor();
    let it = Supervised::named("unstartable");
    assert_ne!(systemctl(&["start", &it.unit]).code, 0);
    it.becomes("failed");
    let open = event_since(&cursor, "breaker_open");
    assert!(open["FORGE_ERROR"].as_str().expect("an error").contains("nosuchprogram"), "{open}");
    let failed = events_since(&cursor).iter().filter(|event| event["FORGE_EVENT"] == "spawn_failed").count();
    assert_eq!(failed, 3);
    nothing_left_but_the_file("unstartable");
}

#[track_caller]
fn nothing_left_but_the_file(name: &str) {
    let _ = std::fs::remove_file(format!(".local/state/forge/sessions/{name}.json"));
    nothing_left_of(name);
}

fn a_run_that_lasts_clears_the_history() {
    let _settings = DropIn::new(
        "lasting",
        "[Unit]\nStartLimitIntervalSec=4s\nStartLimitBurst=3\n[Service]\nRestartSec=50ms\n",
    );
    let it = Supervised::spawn("lasting", &[], &["sleep", "1000"]);
    for _ in 0..3 {
        for _ in 0..2 {
            let before = it.program();
            signal("KILL", before);
            it.up_after(before);
        }
        assert_eq!(it.service("NRestarts"), "2");
        wait_until(Duration::from_secs(20), "the history to be forgotten", || it.service("NRestarts") == "0");
        it.up();
    }
    let cursor = journal_cursor();
    for _ in 0..3 {
        signal(
            "KILL",
            wait_for(Duration::from_secs(20), "the program", || Some(it.program()).filter(|pid| *pid > 0)),
        );
        std::thread::sleep(Duration::from_millis(400));
    }
    event_since(&cursor, "breaker_open");
    it.becomes("failed");
}

fn half_of_a_hundred_killed_supervisors_come_back() {
    let homebase = Homebase::start();
    forge(&["units", "install"]).ok();
    let _configuration = configured("[restore]\nconcurrency = 8\n");
    let names: Vec<String> = (0..100).map(|n| format!("crowd-{n}")).collect();
    let spawns: Vec<_> = names
        .iter()
        .map(|name| start(&["forge", "-q", "spawn", name, "--supervise", "--", "sleep", "7531"]))
        .collect();
    for spawn in spawns {
        spawn.wait(Duration::from_secs(200)).ok();
    }
    let sessions = || -> BTreeMap<String, Value> {
        let list = forge_json(&["list"]);
        let sessions = list["sessions"].as_array().expect("sessions");
        sessions
            .iter()
            .map(|one| (one["session"].as_str().expect("a name").to_owned(), one.clone()))
            .collect()
    };
    let before = sessions();
    assert_eq!(before.len(), 100);
    assert!(before.values().all(|one| one["state"] == "running" && one["supervised"] == true));
    let victims: Vec<&Value> = before.values().step_by(2).collect();
    let pids: Vec<String> = victims.iter().map(|one| one["pane_pid"].to_string()).collect();
    run(&[&["kill", "-9"], &pids.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat()).ok();
    let after = wait_for(Duration::from_secs(120), "all to be back", || {
        let now = sessions();
        let back = now.values().all(|one| {
            one["state"] == "running"
                && one["supervised"] == true
                && !pids.contains(&one["pane_pid"].to_string())
        });
        (now.len() == 100 && back).then_some(now)
    });
    for (name, one) in &before {
        let was_killed = pids.contains(&one["pane_pid"].to_string());
        assert_eq!(after[name]["pane_pid"] != one["pane_pid"], was_killed, "{name}");
    }
    // No session runs twice.
    assert_eq!(run(&["pgrep", "-c", "-x", "-f", "sleep 7531"]).stdout.trim(), "100");
    assert_eq!(run(&["pgrep", "-c", "-f", "tmux.*spawn-crowd"]).stdout.trim(), "100");
    assert_eq!(run(&["pgrep", "-c", "-f", "forge supervise --watch crowd"]).stdout.trim(), "100");
    let memory = shell(
        "for p in $(pgrep -f 'forge supervise --watch crowd'); do grep -h ^Pss: /proc/$p/smaps_rollup; done | awk '{s+=$2} END {print s}'",
    );
    println!("100 idle supervisors: {} KiB in all", memory.stdout.trim());
    run_within(Duration::from_secs(120), &["forge", "stop", "--all"]).ok();
    let units = shell(
        "systemctl --user list-units --all --no-legend 'forge-spawn@crowd*' | grep -v not-found | grep -c ' active '",
    );
    assert_eq!(units.stdout.trim(), "0");
    homebase.untouched();
}

fn a_poke_forgives_nothing() {
    let _settings = DropIn::new(
        "poked",
        "[Unit]\nStartLimitBurst=3\n[Service]\nRestartSec=1min\nRestartMaxDelaySec=2min\n",
    );
    let it = Supervised::spawn("poked", &[], &["sleep", "1000"]);
    let cursor = journal_cursor();
    for _ in 0..2 {
        signal("KILL", it.program());
        wait_until(Duration::from_secs(5), "the pause", || it.service("SubState") == "auto-restart");
        forge(&["poke", "poked"]).ok();
        it.up();
    }
    signal("KILL", it.program());
    it.becomes("failed");
    assert_eq!(event_since(&cursor, "breaker_open")["FORGE_FAILURES"], "3");
}
