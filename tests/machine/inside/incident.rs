//! The main purpose: a spawn cleans dead sockets, isolates the session and limits it.

use crate::suite::{Debian, Test, inside};
use crate::support::{
    Homebase, Session, TestFile, alive, cgroup_of, dead_socket, event_since, events_since, forge, forge_json,
    journal_cursor, nothing_left_of, run, signal, socket, spawn, start, tmux, user_unit_property, wait_for,
    wait_until,
};
use serde_json::Value;
use std::time::{Duration, Instant};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(a_spawn_cleans_dead_sockets_first),
        inside!(server_and_program_are_in_the_slice),
        inside!(panes_that_tmux_moves_stay_in_the_slice).only(Debian::Trixie),
        inside!(killing_another_server_does_not_disturb_a_spawn),
        inside!(a_spawn_wakes_no_other_server),
        inside!(a_protected_socket_stays),
        inside!(a_socket_error_is_retried_once),
        inside!(a_second_socket_error_reaches_the_user),
        inside!(a_session_is_ready_when_its_prompt_appears),
        inside!(a_briefly_stopped_server_is_waited_for),
        inside!(a_prompt_that_never_appears_is_reported),
        inside!(an_early_exit_is_reported_with_the_last_output),
        inside!(the_environment_is_exactly_the_callers),
        inside!(arguments_arrive_as_they_are),
        inside!(the_users_tmux_conf_is_honoured),
        inside!(a_broken_tmux_conf_is_an_error),
        inside!(limits_are_on_the_slice),
    ]
}

fn pid(value: &Value) -> u32 {
    value.as_u64().expect("a pid").try_into().expect("a pid")
}

fn a_spawn_cleans_dead_sockets_first() {
    let homebase = Homebase::start();
    let dead = [dead_socket("old-1"), dead_socket("old-2")];
    let _session = Session("demo".into());
    let said = forge(&["spawn", "demo", "--", "sleep", "1000"]).ok().stdout;
    assert!(said.starts_with("spawned demo after cleaning 2 stale sockets"), "{said}");
    assert!(dead.iter().all(|socket| !socket.exists()));
    assert!(!socket("default").exists(), "the shared socket is never used");
    homebase.untouched();
    forge(&["stop", "demo"]).ok();
    let dead = dead_socket("old-3");
    let spawned = forge_json(&["spawn", "demo", "--", "sleep", "1000"]);
    let keys: Vec<&str> = spawned.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "attempts",
            "elapsed_ms",
            "freed",
            "fresh",
            "outside",
            "pane_pid",
            "ready",
            "resumed",
            "scope",
            "server_pid",
            "session",
            "slice",
            "socket",
            "swept"
        ]
    );
    assert_eq!(spawned["swept"], serde_json::json!([dead]));
    assert_eq!((&spawned["attempts"], &spawned["ready"]), (&1.into(), &true.into()));
    let asked =
        tmux("spawn-demo", &["-N", "display", "-p", "#{pid} #{pane_pid} #{session_name}"]).ok().stdout;
    assert_eq!(asked.trim(), format!("{} {} demo", spawned["server_pid"], spawned["pane_pid"]));
    forge(&["stop", "demo"]).ok();
    nothing_left_of("demo");
    homebase.untouched();
}

fn server_and_program_are_in_the_slice() {
    let (_session, spawned) = spawn("in-slice", &[], &["sleep", "1000"]);
    let slice = "/user.slice/user-1000.slice/user@1000.service/forge.slice/forge-in\\x2dslice.slice/";
    for key in ["server_pid", "pane_pid"] {
        let group = cgroup_of(pid(&spawned[key]));
        assert!(group.starts_with(slice), "{key} is in {group}");
    }
    assert_eq!(spawned["slice"], "forge-in\\x2dslice.slice");
    assert_eq!(user_unit_property("forge-spawn-in-slice.scope", "Slice"), "forge-in\\x2dslice.slice");
    let exe = std::fs::read_link(format!("/proc/{}/exe", spawned["pane_pid"])).expect("the program");
    assert!(exe.ends_with("sleep"), "the pane's process is the program itself, not {}", exe.display());
}

fn panes_that_tmux_moves_stay_in_the_slice() {
    let (_session, spawned) = spawn("moved", &[], &["sleep", "1000"]);
    let group = cgroup_of(pid(&spawned["pane_pid"]));
    let (slice, scope) = group.rsplit_once('/').expect("a path");
    assert!(slice.ends_with("/forge-moved.slice") && scope.starts_with("tmux-spawn-"), "{group}");
}

fn killing_another_server_does_not_disturb_a_spawn() {
    let homebase = Homebase::start();
    for round in 0..10 {
        let name = format!("mid-{round}");
        tmux("victim", &["new", "-d", "sleep 1000"]).ok();
        let victim = tmux("victim", &["display", "-p", "#{pid}"]).ok().stdout;
        let spawning = start(&["forge", "spawn", &name, "--", "sleep", "1000"]);
        let _session = Session(name);
        run(&["kill", "-9", victim.trim()]).ok();
        spawning.wait(Duration::from_secs(20)).ok();
    }
    homebase.untouched();
    // A sweep of the socket that the last round left after its spawn had swept.
    forge(&["sweep"]).ok();
}

fn a_spawn_wakes_no_other_server() {
    let homebase = Homebase::start();
    let (_other, other) = spawn("other", &[], &["sleep", "1000"]);
    dead_socket("dead");
    // The server may still be starting.
    std::thread::sleep(Duration::from_millis(500));
    let woken = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", other["server_pid"]));
        let status = status.expect("the other server's status");
        status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).expect("a count").to_owned()
    };
    let before = woken();
    let (_session, spawned) = spawn("alone", &[], &["sleep", "1000"]);
    assert_eq!(spawned["swept"].as_array().map(Vec::len), Some(1), "{spawned}");
    assert_eq!(woken(), before);
    // Observing the server asks whether it answers.
    forge(&["list"]).ok();
    assert_ne!(woken(), before);
    homebase.untouched();
}

fn a_protected_socket_stays() {
    let _config = TestFile::new(".config/forge/forge.toml", "[sweep]\nprotect = ['keep-*']\n");
    let kept = dead_socket("keep-1");
    let swept = dead_socket("other-1");
    let (_session, spawned) = spawn("protecting", &[], &["sleep", "1000"]);
    assert!(kept.exists() && !swept.exists());
    assert_eq!(spawned["swept"], serde_json::json!([swept]));
    std::fs::remove_file(kept).expect("it is ours");
}

/// A `tmux` that prints one of tmux's own errors for the first COUNT starts of a server, and then runs the
/// real tmux.
fn failing_tmux(count: u32, text: &str, status: u32) -> TestFile {
    let script = format!(
        "#!/bin/sh\ncase \" $* \" in *' new-session '*) echo x >>/tmp/starts\n\
         if [ $(wc -l </tmp/starts) -le {count} ]; then echo '{text}' >&2; exit {status}; fi;; esac\n\
         exec /usr/bin/tmux \"$@\"\n"
    );
    let file = TestFile::new("/tmp/shim/tmux", &script);
    run(&["chmod", "755", "/tmp/shim/tmux"]).ok();
    let _ = std::fs::remove_file("/tmp/starts");
    file
}

const SHIM: &str = "PATH=/tmp/shim:/usr/bin:/bin";

fn starts() -> usize {
    std::fs::read_to_string("/tmp/starts").expect("the starts").lines().count()
}

fn a_socket_error_is_retried_once() {
    for (text, status) in [
        ("error creating /tmp/tmux-1000/spawn-retried (Address already in use)", 0),
        ("server exited unexpectedly", 1),
        ("lost server", 1),
    ] {
        let _tmux = failing_tmux(1, text, status);
        let cursor = journal_cursor();
        let _session = Session("retried".into());
        let spawned =
            run(&["env", SHIM, "forge", "--json", "spawn", "retried", "--", "sleep", "1000"]).ok().json();
        assert_eq!((&spawned["attempts"], starts()), (&2.into(), 2), "{text}");
        assert!(alive(pid(&spawned["pane_pid"])));
        let retried = event_since(&cursor, "spawn_retried");
        assert!(retried["FORGE_ERROR"].as_str().expect("a text").contains(text), "{retried}");
    }
}

fn a_second_socket_error_reaches_the_user() {
    let _tmux = failing_tmux(9, "error creating /tmp/tmux-1000/spawn-never (Address already in use)", 0);
    let cursor = journal_cursor();
    let failed = run(&["env", SHIM, "forge", "--json", "spawn", "never", "--", "sleep", "1000"]).code(1);
    assert_eq!(failed.json()["error"]["kind"], "socket", "{failed}");
    assert!(failed.stderr.contains("Address already in use"), "{failed}");
    assert_eq!(starts(), 2, "exactly one retry");
    nothing_left_of("never");
    event_since(&cursor, "spawn_failed");
}

fn a_session_is_ready_when_its_prompt_appears() {
    let program = "sleep 0.6; touch /tmp/was-ready; printf '❯ '; sleep 1000";
    let _ = std::fs::remove_file("/tmp/was-ready");
    let cursor = journal_cursor();
    let begin = Instant::now();
    let (_session, spawned) =
        spawn("prompt", &["--ready", "❯", "--ready-timeout", "20"], &["sh", "-c", program]);
    assert!(std::path::Path::new("/tmp/was-ready").exists(), "not before it is there");
    assert!(begin.elapsed() < Duration::from_secs(10), "and soon after");
    assert_eq!(spawned["ready"], true);
    event_since(&cursor, "ready");
    forge(&["wait", "prompt", "--ready", "--timeout", "5"]).ok();
}

fn a_briefly_stopped_server_is_waited_for() {
    let program = "sleep 8; printf up; sleep 1000";
    let _session = Session("still".into());
    let spawning = start(&[
        "forge",
        "spawn",
        "still",
        "--ready",
        "up",
        "--ready-timeout",
        "60",
        "--",
        "sh",
        "-c",
        program,
    ]);
    let server = wait_for(Duration::from_secs(20), "its server", || {
        let status = forge(&["--json", "status", "still"]);
        (status.code == 0).then(|| status.json()["server_pid"].as_u64()).flatten()
    });
    let server = u32::try_from(server).expect("a pid");
    // Longer than the deadline of one query.
    signal("STOP", server);
    std::thread::sleep(Duration::from_secs(7));
    signal("CONT", server);
    spawning.wait(Duration::from_secs(60)).ok();
}

fn a_prompt_that_never_appears_is_reported() {
    let command = [
        "spawn",
        "mute",
        "--ready",
        "❯",
        "--ready-timeout",
        "1",
        "--",
        "sh",
        "-c",
        "echo thinking; sleep 1000",
    ];
    let failed = forge(&command).code(4);
    assert!(failed.stderr.contains("boot failed: the prompt never appeared"), "{failed}");
    assert!(failed.stderr.contains("| thinking"), "{failed}");
    nothing_left_of("mute");
}

fn an_early_exit_is_reported_with_the_last_output() {
    let missing = forge(&["spawn", "brief", "--", "no-such-program"]).code(1);
    assert!(
        missing.stderr.contains("no-such-program") && missing.stderr.contains("exit status 127"),
        "{missing}"
    );
    for round in 0..15 {
        let reported = forge(&["spawn", "brief", "--", "sh", "-c", "echo last words; exit 7"]).code(1);
        assert!(reported.stderr.contains("exit status 7"), "round {round}: {reported}");
        assert!(reported.stderr.contains("| last words"), "round {round}: {reported}");
        let reported = forge(&["spawn", "brief", "--", "sleep", "0.005"]).code(1);
        assert!(reported.stderr.contains("exit status 0"), "round {round}: {reported}");
    }
    let killed = forge(&["spawn", "brief", "--", "sh", "-c", "kill -9 $$"]).code(1);
    assert!(killed.stderr.contains("signal 9 (SIGKILL)"), "{killed}");
    nothing_left_of("brief");
}

fn the_environment_is_exactly_the_callers() {
    let _session = Session("environ".into());
    let given = [
        "MINE=1",
        "REPLACED=old",
        "NOTIFY_SOCKET=/run/x",
        "LISTEN_FDS=3",
        "LISTEN_PID=1",
        "TMUX=/tmp/x,1,0",
        "TMUX_PANE=%9",
        "INVOCATION_ID=1",
        "JOURNAL_STREAM=1:2",
        "FORGE_SESSION=outer",
        "FORGE_X=1",
    ];
    let command = [
        "forge",
        "--json",
        "spawn",
        "environ",
        "--env",
        "REPLACED=new",
        "--env",
        "SECRET=s3cr3t",
        "--",
        "sleep",
        "1000",
    ];
    let cursor = journal_cursor();
    let spawned = run(&[&["env"], &given[..], &command[..]].concat()).ok().json();
    let bytes = std::fs::read(format!("/proc/{}/environ", spawned["pane_pid"])).expect("its environment");
    let text = String::from_utf8(bytes).expect("text");
    let has = |wanted: &str| text.split('\0').any(|variable| variable == wanted);
    let names = |name: &str| text.split('\0').any(|variable| variable.split('=').next() == Some(name));
    assert!(
        has("MINE=1") && has("REPLACED=new") && has("SECRET=s3cr3t") && has("FORGE_SESSION=environ"),
        "{text}"
    );
    for name in ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "INVOCATION_ID", "JOURNAL_STREAM", "FORGE_X"] {
        assert!(!names(name), "{name} is handed on");
    }
    assert!(has(&format!("TMUX=/tmp/tmux-1000/spawn-environ,{},0", spawned["server_pid"])), "{text}");
    assert!(!events_since(&cursor).iter().any(|event| event.to_string().contains("s3cr3t")));
    let server = std::fs::read(format!("/proc/{}/cmdline", spawned["server_pid"])).expect("its command line");
    assert!(!String::from_utf8_lossy(&server).contains("s3cr3t"));
}

fn arguments_arrive_as_they_are() {
    let arguments = ["a b", "", "$HOME", "'\"", "tail;", ";", "line\nbreak", "❯ мост", "#{pid}", "-x"];
    let directory = "/tmp/odd #{pid} dir;";
    std::fs::create_dir_all(directory).expect("a directory");
    let print = "printf '%s\\0' \"$@\" >/tmp/arguments; pwd >/tmp/directory; exec sleep 1000";
    let (_session, _) =
        spawn("arguments", &["--cwd", directory], &[&["sh", "-c", print, "sh"], &arguments[..]].concat());
    wait_until(Duration::from_secs(5), "the program's report", || {
        std::fs::read_to_string("/tmp/directory").is_ok_and(|text| !text.is_empty())
    });
    let seen = std::fs::read_to_string("/tmp/arguments").expect("the arguments");
    assert_eq!(seen.strip_suffix('\0').expect("an end").split('\0').collect::<Vec<_>>(), arguments);
    assert_eq!(std::fs::read_to_string("/tmp/directory").expect("it").trim_end(), directory);
}

fn the_users_tmux_conf_is_honoured() {
    let text = "set -g status off\nset -g base-index 1\nset -g exit-empty off\nset -g destroy-unattached on\n\
                set -g remain-on-exit on\nset -g pane-base-index 1\n";
    let _conf = TestFile::new(".tmux.conf", text);
    let (session, spawned) = spawn("conf", &["--ready", "up"], &["sh", "-c", "echo up; sleep 1000"]);
    let shown = tmux("spawn-conf", &["-N", "display", "-p", "#{window_index} #{pane_index}"]).ok().stdout;
    assert_eq!(shown.trim(), "1 1");
    assert_eq!(tmux("spawn-conf", &["-N", "show", "-gv", "status"]).ok().stdout.trim(), "off");
    assert!(alive(pid(&spawned["pane_pid"])), "not destroyed for being unattached");
    drop(session);
    nothing_left_of("conf");
    let failed = forge(&["spawn", "conf", "--", "sh", "-c", "exit 3"]).code(1);
    assert!(failed.stderr.contains("exit status 3"), "{failed}");
    nothing_left_of("conf");
    assert_eq!(std::fs::read_to_string(".tmux.conf").expect("it"), text);
}

fn a_broken_tmux_conf_is_an_error() {
    let _conf = TestFile::new(".tmux.conf", "set -g status off\nbind-key -T nosuch\n");
    let failed = forge(&["--json", "spawn", "misconf", "--", "sleep", "1000"]).code(1);
    assert_eq!(failed.json()["error"]["kind"], "tmux_config", "{failed}");
    assert!(failed.stderr.contains("/home/ada/.tmux.conf:2:"), "{failed}");
    nothing_left_of("misconf");
}

fn limits_are_on_the_slice() {
    let options = [
        "--memory-max",
        "300M",
        "--memory-high",
        "200M",
        "--tasks-max",
        "50",
        "--cpu-weight",
        "20",
        "--cpu-quota",
        "50%",
    ];
    let (_session, _) = spawn("limited", &options, &["sleep", "1000"]);
    let property = |name: &str| user_unit_property("forge-limited.slice", name);
    assert_eq!(property("MemoryMax"), (300u64 << 20).to_string());
    assert_eq!(property("MemoryHigh"), (200u64 << 20).to_string());
    assert_eq!((property("TasksMax"), property("CPUWeight")), ("50".to_owned(), "20".to_owned()));
    assert_eq!(property("CPUQuotaPerSecUSec"), "500ms");
}
