//! A session whose program exits leaves nothing behind.

use super::IMMUNE;
use crate::suite::{Test, inside};
use crate::support::{
    Session, Supervised, TestFile, event_since, forge, forge_json, journal_cursor, nothing_left_of,
    processes_in, run, shell, socket, spawn, start, wait_until,
};
use serde_json::Value;
use std::time::{Duration, Instant};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(a_program_that_ends_takes_its_session_with_it),
        inside!(an_exit_without_a_socket_is_reported),
        inside!(a_session_with_its_own_home_ends_like_any_other),
        inside!(ending_a_run_does_not_end_the_next),
        inside!(dead_panes_that_the_user_keeps_stay),
        inside!(run_passes_the_exit_status_on),
        inside!(run_notifies_systemd_when_it_is_ready),
    ]
}

fn a_program_that_ends_takes_its_session_with_it() {
    for round in 0..16 {
        let cursor = journal_cursor();
        // Two of them leave a process behind that ends only when it is killed.
        let behind = if round % 8 == 0 { IMMUNE } else { "sleep 1000" };
        let program = format!("(setsid sh -c \"{behind}\" &); sleep 0.5; exit 4");
        let (_session, spawned) = spawn("brief", &[], &["sh", "-c", &program]);
        let slice = format!(
            "/user.slice/user-1000.slice/user@1000.service/forge.slice/{}",
            spawned["slice"].as_str().expect("it")
        );
        let ended = forge_json(&["wait", "brief", "--exit", "--timeout", "20"]);
        assert_eq!(
            (&ended["status"], &ended["result"]),
            (&4.into(), &"exit status 4".into()),
            "round {round}"
        );
        wait_until(Duration::from_secs(15), "the session to go", || {
            processes_in(&slice).is_empty() && !socket("spawn-brief").exists()
        });
        nothing_left_of("brief");
        let event = event_since(&cursor, "crashed");
        assert_eq!((&event["FORGE_EXIT_STATUS"], &event["FORGE_SESSION"]), (&"4".into(), &"brief".into()));
        assert!(event["FORGE_CPU_USEC"].is_string() && event["FORGE_DURATION_USEC"].is_string(), "{event}");
        // A later `forge wait` gets the same answer.
        assert_eq!(forge_json(&["wait", "brief", "--exit"])["status"], 4);
        let status = forge(&["status", "brief"]).code(1);
        assert!(status.stderr.contains("exit status 4"), "{status}");
    }
}

/// The session's server, which calls forge when the program exits, has the session's environment.
fn a_session_with_its_own_home_ends_like_any_other() {
    let own = [
        "HOME=/tmp",
        "PATH=/nowhere",
        "XDG_STATE_HOME=/tmp/state",
        "XDG_RUNTIME_DIR=/nowhere",
        "DBUS_SESSION_BUS_ADDRESS=unix:path=/nowhere",
    ];
    let options: Vec<&str> = own.iter().flat_map(|variable| ["--env", variable]).collect();
    let cursor = journal_cursor();
    let program = "[ $HOME$XDG_RUNTIME_DIR = /tmp/nowhere ] || exit 9; /usr/bin/setsid /bin/sleep 1000 & \
        /bin/sleep 0.5; exit 4";
    let (_session, _) = spawn("elsewhere", &options, &["/bin/sh", "-c", program]);
    assert_eq!(forge_json(&["wait", "elsewhere", "--exit", "--timeout", "20"])["status"], 4);
    assert_eq!(event_since(&cursor, "crashed")["FORGE_EXIT_STATUS"], "4");
    nothing_left_of("elsewhere");
}

fn an_exit_without_a_socket_is_reported() {
    let program = ["sh", "-c", "while [ -e going ]; do sleep 0.05; done; exit $0"];
    let going = || TestFile::new("going", "");
    let gone = |label: &str| {
        std::fs::remove_file(socket(label)).expect("a socket");
        std::fs::remove_file("going").expect("a file");
    };
    let _going = going();
    let (_session, _) = spawn("mute", &[], &[&program[..], &["4"]].concat());
    gone("spawn-mute");
    let ended = forge_json(&["wait", "mute", "--exit", "--timeout", "20"]);
    assert_eq!(ended["status"], 4);
    nothing_left_of("mute");
    // A supervisor without that record takes a clean exit for a crash.
    let _going = going();
    let mute = Supervised::spawn("mute", &[], &[&program[..], &["0"]].concat());
    let cursor = journal_cursor();
    gone("spawn-mute");
    assert_eq!(event_since(&cursor, "exited")["FORGE_SESSION"], "mute");
    mute.becomes("inactive");
}

fn dead_panes_that_the_user_keeps_stay() {
    let _conf = TestFile::new(".tmux.conf", "set -g remain-on-exit on\n");
    let (_session, _) = spawn("kept", &[], &["sh", "-c", "echo bye; sleep 0.5; exit 0"]);
    assert_eq!(forge_json(&["wait", "kept", "--exit", "--timeout", "20"])["status"], 0);
    let status = forge_json(&["status", "kept"]);
    assert_eq!((&status["state"], &status["pane_pid"]), (&"dead".into(), &Value::Null));
    let shown = forge(&["capture", "kept", "-n", "50"]).ok().stdout;
    assert!(shown.contains("bye"), "{shown}");
    forge(&["send", "kept", "x"]).code(1);
    let restarted = forge_json(&["restart", "kept"]);
    assert_eq!(restarted["restarted"][0]["session"], "kept");
}

fn run_passes_the_exit_status_on() {
    for (program, status) in
        [("exit 0", 0), ("exit 3", 3), ("sleep 0.3; exit 3", 3), ("sleep 0.3; kill -9 $$", 137)]
    {
        let ran = forge(&["run", "fore", "--", "sh", "-c", program]);
        assert_eq!(ran.code, status, "however short it is: {program}: {ran}");
        nothing_left_of("fore");
    }
    assert_eq!(forge(&["run", "fore", "--", "sh", "-c", "sleep 0.3; exit 0"]).code, 0);
    assert_eq!(forge(&["run", "fore", "--", "no-such-program"]).code, 125);
    let running = start(&["forge", "run", "fore", "--", "sleep", "1000"]);
    let _session = Session("fore".into());
    wait_until(Duration::from_secs(10), "the session", || forge(&["status", "fore"]).code == 0);
    wait_until(Duration::from_secs(10), "it to run", || {
        forge_json(&["status", "fore"])["state"] == "running"
    });
    let begin = Instant::now();
    shell("pkill -TERM -x -f 'forge run fore -- sleep 1000'").ok();
    assert_eq!(running.wait(Duration::from_secs(20)).code, 143);
    assert!(begin.elapsed() < Duration::from_secs(5), "sleep ends when asked: nothing blocks its signals");
    nothing_left_of("fore");
}

fn run_notifies_systemd_when_it_is_ready() {
    let options = ["systemd-run", "--user", "--unit=engine", "-p", "Type=notify", "--quiet", "--collect"];
    let command =
        ["forge", "run", "engine", "--ready", "up", "--", "sh", "-c", "sleep 0.3; echo up; sleep 1000"];
    // `systemctl start` returns when the service is ready.
    run(&[&options[..], &command[..]].concat()).ok();
    let _session = Session("engine".into());
    assert!(forge(&["capture", "engine"]).ok().stdout.contains("up"));
    run(&["systemctl", "--user", "stop", "engine"]).ok();
    nothing_left_of("engine");
}

/// The forge that cleans up after a program is delayed at the worst moment, while the name is used again.
fn ending_a_run_does_not_end_the_next() {
    let script = r#"
        units=/sys/fs/cgroup$(systemctl --user show -P ControlGroup)
        forge spawn next -- sh -c 'setsid sh -c "trap : HUP TERM; sleep 1000" & sleep 1'
        end=$(($(date +%s) + 20))
        until [ "$frozen" ]; do
            for freeze in $units/app.slice/forge-outside-*.scope/cgroup.freeze; do
                [ -e $freeze ] && echo 1 >$freeze && frozen=$freeze
            done
            [ $(date +%s) -lt $end ] || exit 9
        done
        forge spawn next --replace -- sleep 5000 &
        sleep 1
        echo 0 >$frozen
        wait $!
    "#;
    let _session = Session("next".into());
    shell(script).ok();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(forge_json(&["status", "next"])["state"], "running");
    shell("test -s ~/.local/state/forge/sessions/next.json").ok();
}
