//! One session as a user and a bot handle it: list, freeze, send, wait, attach and the rest.

use crate::suite::{Test, inside};
use crate::support::{
    TestFile, alive, forge, forge_json, run, run_within, shell, spawn, start, tmux, wait_until,
};
use serde_json::Value;
use std::time::{Duration, Instant};

const TEN_S: Duration = Duration::from_secs(10);

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(watching_a_session_does_not_end_it),
        inside!(a_waiting_spawn_does_not_count_as_attached),
        inside!(list_has_one_shape),
        inside!(a_session_is_starting_until_it_is_ready),
        inside!(a_frozen_program_stands_still),
        inside!(a_session_cannot_freeze_itself),
        inside!(a_restart_keeps_what_was_asked_for),
        inside!(text_is_typed_as_it_is),
        inside!(waiting_meets_its_deadline),
        inside!(attach_shows_it_in_a_terminal),
        inside!(generated_texts),
        inside!(output_suits_its_reader),
    ]
}

fn list_has_one_shape() {
    let (_session, spawned) = spawn("shaped", &["--cwd", "/tmp"], &["sleep", "1000"]);
    let session = forge_json(&["list"])["sessions"][0].clone();
    let keys: Vec<&str> = session.as_object().expect("an object").keys().map(String::as_str).collect();
    let expected = [
        "activity",
        "activity_since",
        "activity_source",
        "agent",
        "attached",
        "command",
        "cpu_usec",
        "cwd",
        "failure",
        "idle_s",
        "memory_bytes",
        "outside",
        "pane_pid",
        "resume_id",
        "server_pid",
        "session",
        "since",
        "socket",
        "state",
        "supervised",
        "tasks",
    ];
    assert_eq!(keys, expected);
    assert_eq!(
        (&session["state"], &session["attached"], &session["supervised"]),
        (&"running".into(), &false.into(), &false.into())
    );
    assert_eq!(
        (&session["pane_pid"], &session["server_pid"]),
        (&spawned["pane_pid"], &spawned["server_pid"])
    );
    assert_eq!(
        (&session["command"], &session["cwd"]),
        (&serde_json::json!(["sleep", "1000"]), &"/tmp".into())
    );
    assert_eq!(session["tasks"], 2);
    assert_eq!(session, {
        let mut status = forge_json(&["status", "shaped"]);
        // Two move, and a list does not look for processes outside.
        for other in ["cpu_usec", "idle_s", "outside"] {
            status[other] = session[other].clone();
        }
        status
    });
}

fn a_session_is_starting_until_it_is_ready() {
    let spawning = start(&[
        "forge",
        "spawn",
        "slow",
        "--ready",
        "now",
        "--",
        "sh",
        "-c",
        "read x; echo now; sleep 1000",
    ]);
    let state = || forge(&["--json", "status", "slow"]);
    wait_until(TEN_S, "it to be starting", || {
        let ran = state();
        ran.code == 0 && ran.json()["state"] == "starting" && ran.json()["pane_pid"].is_u64()
    });
    tmux("spawn-slow", &["-N", "send-keys", "Enter"]).ok();
    spawning.wait(TEN_S).ok();
    assert_eq!(state().json()["state"], "running");
    forge(&["stop", "slow"]).ok();
}

fn a_frozen_program_stands_still() {
    let _ = std::fs::remove_file("/tmp/count");
    let (_session, _) =
        spawn("counter", &[], &["sh", "-c", "while :; do echo >>/tmp/count; sleep 0.02; done"]);
    let count = || std::fs::metadata("/tmp/count").map_or(0, |metadata| metadata.len());
    wait_until(TEN_S, "the first counts", || count() > 3);
    forge(&["freeze", "counter"]).ok();
    let events = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/forge.slice/forge-counter.slice/cgroup.events";
    assert!(std::fs::read_to_string(events).expect("the events").contains("frozen 1"));
    let before = count();
    // The test lets time pass in which a running program would count.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(count(), before);
    assert_eq!(forge_json(&["status", "counter"])["state"], "frozen");
    forge(&["thaw", "counter"]).ok();
    wait_until(TEN_S, "it to count again", || count() > before);
    assert_eq!(forge_json(&["status", "counter"])["state"], "running");
}

fn a_session_cannot_freeze_itself() {
    let program = "forge freeze selfish >/tmp/selfish 2>&1; echo $? >/tmp/selfish-status; sleep 1000";
    let _ = std::fs::remove_file("/tmp/selfish-status");
    let (_session, _) = spawn("selfish", &[], &["sh", "-c", program]);
    wait_until(TEN_S, "the refusal", || {
        std::fs::read_to_string("/tmp/selfish-status").is_ok_and(|text| text.trim() == "2")
    });
    assert!(
        std::fs::read_to_string("/tmp/selfish")
            .expect("it")
            .contains("selfish is the session that this command runs in")
    );
}

fn a_restart_keeps_what_was_asked_for() {
    let options = ["--cwd", "/var", "--env", "KEPT=yes", "--tasks-max", "33"];
    let (_session, first) = spawn("again", &options, &["sleep", "1000"]);
    let second = forge_json(&["restart", "again"])["restarted"][0].clone();
    for key in ["server_pid", "pane_pid"] {
        assert_ne!(first[key], second[key]);
        assert!(!alive(u32::try_from(first[key].as_u64().expect("a pid")).expect("a pid")));
    }
    let environment = std::fs::read_to_string(format!("/proc/{}/environ", second["pane_pid"])).expect("it");
    assert!(environment.split('\0').any(|variable| variable == "KEPT=yes"));
    let cwd = std::fs::read_link(format!("/proc/{}/cwd", second["pane_pid"])).expect("it");
    assert_eq!(cwd.to_str(), Some("/var"));
    assert_eq!(crate::support::user_unit_property("forge-again.slice", "TasksMax"), "33");
    // Without its specification forge leaves the session alone.
    std::fs::remove_file(".local/state/forge/sessions/again.json").expect("its file");
    forge(&["restart", "again"]).code(1);
    assert_eq!(forge_json(&["status", "again"])["pane_pid"], second["pane_pid"]);
}

fn text_is_typed_as_it_is() {
    let _ = std::fs::remove_file("/tmp/typed");
    let (_session, _) = spawn(
        "typist",
        &["--ready", "go"],
        &["sh", "-c", "stty -icanon; echo go; exec head -n 3 >/tmp/typed"],
    );
    tmux("spawn-typist", &["-N", "copy-mode"]).ok();
    let long = "мост ❯ ".repeat(400);
    // The long text scrolls the pattern off the screen; forge types nothing after it.
    for text in ["$HOME 'x' \"y\" ; #{pid};", "[31mred\\;", long.trim_end()] {
        forge(&["send", "typist", text]).ok();
    }
    let refused = forge(&["send", "typist", "\u{1b}[31mred\u{3}"]).code(2);
    assert!(refused.stderr.contains("(Escape)"), "{refused}");
    wait_until(TEN_S, "the lines", || {
        std::fs::read_to_string("/tmp/typed").is_ok_and(|text| text.lines().count() == 3)
    });
    let typed = std::fs::read_to_string("/tmp/typed").expect("the lines");
    let lines: Vec<&str> = typed.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines, ["$HOME 'x' \"y\" ; #{pid};", "[31mred\\;", long.trim_end()]);
}

fn waiting_meets_its_deadline() {
    let (_session, _) = spawn("waited", &[], &["sh", "-c", "echo hello there; read x; exit 6"]);
    let late = forge(&["--json", "wait", "waited", "--exit", "--timeout", "1"]).code(4);
    assert_eq!(late.json()["error"]["kind"], "deadline");
    assert!(forge(&["capture", "waited"]).ok().stdout.contains("hello there"));
    let waiting = start(&["forge", "--json", "wait", "waited", "--exit", "--timeout", "20"]);
    forge(&["send", "waited", ""]).ok();
    let ended = waiting.wait(TEN_S * 3).ok().json();
    assert_eq!((&ended["status"], &ended["signal"]), (&6.into(), &Value::Null));
    forge(&["wait", "no-such", "--exit"]).code(1);
    // A killed server reports nothing; the wait ends nevertheless.
    let (_other, spawned) = spawn("cut-off", &[], &["sleep", "1000"]);
    let waiting = start(&["forge", "--json", "wait", "cut-off", "--exit", "--timeout", "30"]);
    wait_until(TEN_S, "the wait to begin", || {
        shell("ls -l /proc/$(pgrep -x -f 'forge --json wait cut-off --exit --timeout 30')/fd | grep pidfd")
            .code
            == 0
    });
    // The program is killed first: otherwise the hang-up may end it before its own SIGKILL.
    run(&["kill", "-9", &spawned["pane_pid"].to_string(), &spawned["server_pid"].to_string()]).ok();
    assert_eq!(waiting.wait(TEN_S * 3).ok().json()["result"], "an unknown result");
}

fn attach_shows_it_in_a_terminal() {
    let (_session, _) =
        spawn("shown", &["--ready", "look here"], &["sh", "-c", "echo look here; sleep 1000"]);
    assert_eq!(forge(&["attach", "shown"]).code, 2, "no terminal");
    let mut terminal = start(&["script", "-qefc", "env TERM=xterm forge attach shown", "/tmp/terminal"]);
    wait_until(TEN_S, "it to be attached", || forge_json(&["status", "shown"])["attached"] == true);
    wait_until(TEN_S, "it to be shown", || {
        std::fs::read("/tmp/terminal").is_ok_and(|seen| String::from_utf8_lossy(&seen).contains("look here"))
    });
    tmux("spawn-shown", &["-N", "detach-client", "-s", "=shown"]).ok();
    wait_until(TEN_S, "it to be detached", || forge_json(&["status", "shown"])["attached"] == false);
    wait_until(TEN_S, "the client to end", || !terminal.running());
}

fn generated_texts() {
    let bash = forge(&["completions", "bash"]).ok().stdout;
    let _file = TestFile::new("/tmp/completions.bash", &bash);
    run(&["bash", "-n", "/tmp/completions.bash"]).ok();
    for shell in ["zsh", "fish"] {
        assert!(forge(&["completions", shell]).ok().stdout.contains("capture"), "{shell}");
    }
    let page = forge(&["man"]).ok().stdout;
    for part in [".TH forge 1", "spawn", "EXIT STATUS", "EXAMPLES"] {
        assert!(page.contains(part), "{part}");
    }
    assert!(forge(&["man", "spawn"]).ok().stdout.contains("ready"));
    assert!(!page.contains("gate"), "what is internal is not for the manual");
    forge(&["man", "gate-pane"]).code(2);
}

fn output_suits_its_reader() {
    let (_session, _) = spawn("plain", &[], &["sleep", "1000"]);
    for arguments in [&["list"][..], &["status", "plain"], &["sweep"], &["status", "none-such"]] {
        let ran = forge(arguments);
        assert!(
            !ran.stdout.contains('\u{1b}') && !ran.stderr.contains('\u{1b}'),
            "colour into a pipe: {ran}"
        );
    }
    let coloured = shell("script -qec 'forge status none-such' /dev/null").stdout;
    assert!(coloured.contains('\u{1b}'), "{coloured}");
    let plain = shell("NO_COLOR=1 script -qec 'forge status none-such' /dev/null").stdout;
    assert!(plain.contains("no session none-such") && !plain.contains('\u{1b}'), "{plain}");
    let closed =
        run(&["bash", "-c", "forge list 2>/tmp/closed | true; echo ${PIPESTATUS[0]}; cat /tmp/closed"]).ok();
    assert_eq!(closed.stdout.trim(), "0", "{closed}");
    assert_eq!(forge(&["-q", "stop", "plain"]).ok().stdout, "");
}

fn a_waiting_spawn_does_not_count_as_attached() {
    let spawning = start(&[
        "forge",
        "spawn",
        "watched",
        "--ready",
        "never",
        "--ready-timeout",
        "12",
        "--",
        "sleep",
        "99",
    ]);
    wait_until(TEN_S, "the session", || !forge_json(&["list", "watched"])["sessions"].to_string().eq("[]"));
    let looking = Instant::now();
    while looking.elapsed() < Duration::from_secs(3) {
        let clients = tmux("spawn-watched", &["-N", "list-clients"]);
        assert!(clients.stdout.is_empty(), "no client that could end the server: {clients}");
        assert_eq!(forge_json(&["list", "watched"])["sessions"][0]["attached"], false);
    }
    spawning.wait(Duration::from_secs(30)).code(4);
}

/// Four at a time, so that watching clients come and go at every moment of an attach.
fn watching_a_session_does_not_end_it() {
    let (_session, spawned) = spawn("watched", &["--ready", "up"], &["sh", "-c", "echo up; sleep 1000"]);
    let watch = "for n in $(seq 150); do forge -q wait watched --ready || exit 1; done & ";
    let all = format!("{}wait", watch.repeat(4));
    run_within(Duration::from_secs(60), &["sh", "-c", &all]).ok();
    let now = forge_json(&["status", "watched"]);
    assert_eq!((&now["server_pid"], &now["state"]), (&spawned["server_pid"], &"running".into()));
}
