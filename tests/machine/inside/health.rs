//! `probe` finds problems early, `doctor` finds what would stop forge; both print the remedy.

use crate::suite::{Test, inside};
use crate::support::{
    Session, TestFile, dead_socket, forge, forge_json, kill_server, run, server_pid, shell, socket, spawn,
    start, tmux, wait_until,
};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(probe_has_one_shape_on_a_healthy_machine),
        inside!(doctor_reports_dead_wedged_and_missing_sockets),
        inside!(servers_and_processes_without_a_session_are_reported),
        inside!(a_lost_session_is_reported),
        inside!(probe_and_doctor_change_nothing),
        inside!(numbers_for_prometheus),
        inside!(doctor_prints_nothing_on_a_healthy_machine),
        inside!(each_finding_has_its_remedy),
        inside!(a_unit_named_like_forges_is_left_alone),
        inside!(commands_fail_cleanly_without_a_manager),
    ]
}

#[track_caller]
fn ill() -> Value {
    forge(&["--json", "probe"]).code(5).json()
}

#[track_caller]
fn says(probe: &Value, what: &str, hint: &str) {
    let problems = probe["problems"].as_array().expect("problems");
    assert!(
        problems.iter().any(|problem| {
            problem["what"].as_str().expect("what").contains(what)
                && problem["hint"].as_str().expect("a hint").contains(hint)
        }),
        "'{what}' and '{hint}' are not in {probe}"
    );
}

fn probe_has_one_shape_on_a_healthy_machine() {
    let probe = forge_json(&["probe"]);
    let mut keys: Vec<&str> = probe.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "activity",
            "healthy",
            "last_restore",
            "last_sweep",
            "linger",
            "oom_kills",
            "orphans",
            "problems",
            "sessions",
            "sockets_dead",
            "sockets_live",
            "sockets_missing",
            "sockets_wedged",
            "state_free_bytes",
            "units_failed",
        ]
    );
    assert_eq!((&probe["healthy"], &probe["problems"]), (&true.into(), &json!([])));
    assert_eq!(probe["linger"], true);
    let states = probe["sessions"].as_object().expect("states");
    assert_eq!(states.len(), 7, "each state is always there: {states:?}");
    let text = forge(&["probe"]).ok().stdout;
    assert!(text.starts_with("WHAT ") && text.ends_with("all is well\n"), "{text}");
    let (_session, _) = spawn("well", &[], &["sleep", "1000"]);
    tmux("homebase", &["new", "-d", "sleep 1000"]).ok();
    let probe = forge_json(&["probe"]);
    assert_eq!((&probe["sockets_live"], &probe["sessions"]["running"]), (&2.into(), &1.into()));
    assert_eq!(probe["last_sweep"]["removed"], 0, "the spawn swept: {probe}");
    kill_server("homebase");
    forge(&["sweep"]).ok();
}

fn doctor_reports_dead_wedged_and_missing_sockets() {
    let (_session, spawned) = spawn("missing", &[], &["sleep", "1000"]);
    let path = spawned["socket"].as_str().expect("a socket");
    std::fs::remove_file(path).expect("its removal");
    dead_socket("rot-1");
    dead_socket("rot-2");
    tmux("stopped", &["new", "-d", "sleep 1000"]).ok();
    let pid = server_pid("stopped");
    shell(&format!("kill -STOP {pid}")).ok();
    let probe = ill();
    shell(&format!("kill -CONT {pid}")).ok();
    assert_eq!(probe["sockets_missing"], 1, "{probe}");
    assert_eq!(probe["sockets_dead"], 2, "{probe}");
    assert_eq!(probe["sockets_wedged"], 1, "{probe}");
    says(&probe, "missing is alive without a socket", "forge sweep");
    says(&probe, "2 dead sockets", "forge sweep");
    says(&probe, "/tmp/tmux-1000/stopped", "nothing of forge touches");
    kill_server("stopped");
    forge(&["sweep"]).ok();
    forge(&["probe"]).ok();
}

fn servers_and_processes_without_a_session_are_reported() {
    tmux("spawn-stray", &["new", "-d", "sleep 1000"]).ok();
    let pid = server_pid("spawn-stray");
    let probe = ill();
    assert_eq!(probe["orphans"], 1, "{probe}");
    says(&probe, &format!("spawn-stray (process {pid})"), "kill-server");
    kill_server("spawn-stray");
    forge(&["sweep"]).ok();
    let mut left =
        start(&["systemd-run", "--user", "--scope", "-q", "--slice=forge-left.slice", "sleep", "1000"]);
    wait_until(Duration::from_secs(10), "a process in the slice", || {
        forge(&["--json", "probe"]).json()["orphans"] == 1
    });
    says(&ill(), "forge-left.slice has processes", "forge stop left");
    forge(&["stop", "left"]).ok();
    left.kill();
    forge(&["probe"]).ok();
}

fn a_lost_session_is_reported() {
    let (_session, spawned) = spawn("lost", &["--env", "KEEP=1"], &["sleep", "1000"]);
    // The program loses its terminal with the server, and may exit before the SIGKILL reaches it.
    shell(&format!("kill -9 {} {}", spawned["server_pid"], spawned["pane_pid"]));
    wait_until(Duration::from_secs(10), "its end", || forge_json(&["list"])["sessions"] == json!([]));
    let status = forge(&["status", "lost"]).code(1);
    assert!(
        status.stderr.contains("nobody stopped it") && status.stderr.contains("forge restart lost"),
        "{status}"
    );
    // No restore ran in this boot, so the session may be from an earlier boot.
    says(&ill(), "lost ran before", "forge restore");
    forge(&["restart", "lost"]).ok();
    assert_eq!(forge_json(&["status", "lost"])["state"], "running");
    let pid = forge_json(&["status", "lost"])["pane_pid"].to_string();
    let environment = std::fs::read_to_string(format!("/proc/{pid}/environ")).expect("its environment");
    assert!(environment.contains("KEEP=1\0"));
    let pids = forge_json(&["status", "lost"]);
    shell(&format!("kill -9 {} {}", pids["server_pid"], pids["pane_pid"]));
    wait_until(Duration::from_secs(10), "its end", || forge_json(&["list"])["sessions"] == json!([]));
    let stopped = forge_json(&["stop", "lost"]);
    assert_eq!(stopped["stopped"][0]["processes"], 0, "{stopped}");
    forge(&["stop", "lost"]).code(1);
    // The stop has removed the socket of the killed server.
    forge(&["probe"]).ok();
}

fn probe_and_doctor_change_nothing() {
    let socket = dead_socket("kept");
    let files = || shell("find /tmp/tmux-1000 ~/.local ~/.config -type f -o -type s | sort").ok().stdout;
    let before = files();
    ill();
    forge(&["doctor"]);
    assert_eq!(files(), before);
    assert!(socket.exists());
    forge(&["sweep"]).ok();
}

fn numbers_for_prometheus() {
    dead_socket("rot");
    let text = forge(&["probe", "--metrics"]).code(5).stdout;
    for line in [
        "forge_healthy 0",
        "forge_problems 1",
        "forge_sockets{state=\"dead\"} 1",
        "forge_sessions{state=\"running\"} 0",
        "forge_linger 1",
        "forge_oom_kills_total 0",
    ] {
        assert!(text.lines().any(|other| other == line), "'{line}' is not in\n{text}");
    }
    for line in text.lines() {
        let is_comment = line.starts_with("# HELP forge_") || line.starts_with("# TYPE forge_");
        let number = line.rsplit_once(' ').and_then(|(_, number)| number.parse::<u64>().ok());
        assert!(is_comment || number.is_some(), "{line}");
    }
    forge(&["sweep"]).ok();
    let seconds = forge(&["probe", "--metrics"]).ok().stdout;
    assert!(seconds.contains("\nforge_last_sweep_timestamp_seconds 1"), "{seconds}");
}

fn doctor_prints_nothing_on_a_healthy_machine() {
    let ran = forge(&["doctor"]).code(5);
    assert_eq!(
        ran.stdout,
        "not installed: forge's units; forge neither sweeps nor restores at boot\n  forge units install --now\n"
    );
    forge(&["units", "install", "--now"]).ok();
    let ran = forge(&["doctor"]).ok();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""), "quiet when all is well");
    assert_eq!(forge_json(&["doctor"]), json!({ "healthy": true, "problems": [] }));
}

/// The report of `forge doctor` with this environment; the units must be installed.
#[track_caller]
fn diagnosis(environment: &[&str]) -> Value {
    run(&[&["env"], environment, &["forge", "--json", "doctor"]].concat()).code(5).json()
}

fn each_finding_has_its_remedy() {
    forge(&["units", "install", "--now"]).ok();
    shell("mkdir -p ~/sock ~/empty").ok();
    says(&diagnosis(&["TMUX_TMPDIR=/home/ada/sock"]), "TMUX_TMPDIR is /home/ada/sock here", "environment.d");
    says(&diagnosis(&["XDG_STATE_HOME=/home/ada/sock"]), "XDG_STATE_HOME", "environment.d");
    {
        let ran = run(&["env", "PATH=/home/ada/empty", "/usr/bin/forge", "--json", "doctor"]).code(5).json();
        says(&ran, "tmux is not installed", "apt-get install tmux");
        let _old = TestFile::new("empty/tmux", "#!/bin/sh\necho tmux 2.8\n");
        shell("chmod +x empty/tmux").ok();
        let ran =
            run(&["env", "PATH=/home/ada/empty:/bin", "/usr/bin/forge", "--json", "doctor"]).code(5).json();
        says(&ran, "is tmux 2.8, but forge needs tmux 3.3", "apt-get install tmux");
    }
    {
        let _config = TestFile::new(".config/forge/forge.toml", "[sweep\n");
        says(&diagnosis(&[]), "the configuration is not valid", "fix it");
    }
    {
        let _token = TestFile::new("token", "1:x\n");
        shell("chmod 644 token").ok();
        let _program = TestFile::new("sock/agent", "#!/bin/sh\n");
        shell("chmod +x sock/agent").ok();
        let _config = TestFile::new(
            ".config/forge/forge.toml",
            "[sessions.a]\ncommand = 'agent'\nboot = true\nlimits = { memory_max = '1G' }\n\
             [sessions.b]\ncommand = 'no-such-program'\nboot = true\n\
             [notify.telegram]\ntoken_file = '~/token'\nchat_id = 1\n",
        );
        let found = diagnosis(&["PATH=/home/ada/sock:/usr/bin:/bin"]);
        says(&found, "other users can read the secret /home/ada/token", "chmod 600 /home/ada/token");
        says(&found, "agent is in /home/ada/sock, which is not in the user manager's PATH", "environment.d");
        says(&found, "the program no-such-program does not exist", "forge.toml");
        // The container lacks the controller.
        says(&found, "no memory controller", "delegate.conf");
    }
    {
        run(&["systemctl", "--user", "stop", "forge-tmux-socket-sweep.timer"]).ok();
        says(&diagnosis(&[]), "timer is not active", "systemctl --user start forge-tmux-socket-sweep.timer");
        run(&["systemctl", "--user", "disable", "-q", "forge-tmux-socket-sweep.timer"]).ok();
        says(&diagnosis(&[]), "not enabled: forge-tmux-socket-sweep.timer", "forge units install --now");
        forge(&["units", "install", "--now"]).ok();
    }
    {
        shell("cp /usr/bin/forge ~/forge2").ok();
        let found = run(&["/home/ada/forge2", "--json", "doctor"]).code(5).json();
        says(&found, "written by an older forge, or by a forge at another path", "forge units install --now");
        shell("rm ~/forge2; sleep 0.01; touch ~/.config/systemd/user/forge.slice").ok();
        says(&diagnosis(&[]), "changed on disk", "daemon-reload");
        run(&["systemctl", "--user", "daemon-reload"]).ok();
    }
    {
        shell("mkdir -p -m 700 /tmp/tmux-1000; chmod 755 /tmp/tmux-1000 && chmod o+w /tmp/tmux-1000").ok();
        says(&diagnosis(&[]), "socket directory", "chmod 700");
        shell("chmod 500 /tmp/tmux-1000").ok();
        says(&diagnosis(&[]), "is not writable", "chmod 700 /tmp/tmux-1000");
        shell("chmod 700 /tmp/tmux-1000").ok();
    }
    {
        shell("chmod 500 ~/.local/state/forge").ok();
        let found = forge(&["--json", "doctor"]);
        shell("chmod 700 ~/.local/state/forge").ok();
        says(&found.code(5).json(), "/home/ada/.local/state/forge is not writable", "chmod");
    }
    forge(&["doctor"]).ok();
    let _session = Session("none".into());
    assert!(Path::new("/home/ada/.config/systemd/user/forge.slice").exists());
    forge(&["units", "uninstall"]).ok();
    assert!(!socket("none").exists());
}

fn commands_fail_cleanly_without_a_manager() {
    shell("mkdir -p -m 700 ~/nowhere").ok();
    let nowhere = [
        "env",
        "XDG_RUNTIME_DIR=/home/ada/nowhere",
        "DBUS_SESSION_BUS_ADDRESS=unix:path=/home/ada/nowhere/bus",
    ];
    let doctor = run(&[&nowhere[..], &["forge", "--json", "doctor"]].concat()).code(5).json();
    says(&doctor, "the user manager cannot be reached", "enable-linger");
    for verb in [&["probe"][..], &["restore"], &["save"], &["units", "install"], &["units", "verify"]] {
        let ran = run(&[&nowhere[..], &["forge", "--json"], verb].concat()).code(3);
        assert_eq!(ran.json()["error"]["kind"], "missing", "{ran}");
    }
    shell("rm -r ~/nowhere").ok();
}

fn a_unit_named_like_forges_is_left_alone() {
    shell("systemd-run --user --unit=forgejo false; systemd-run --user --unit=forge-x false; sleep 0.3").ok();
    let failed = shell("systemctl --user list-units --failed --no-legend 'forge*'").ok();
    assert_eq!(failed.stdout.lines().count(), 2, "{failed}");
    assert_eq!(forge_json(&["probe"])["units_failed"], serde_json::json!([]));
    shell("systemctl --user reset-failed forgejo.service forge-x.service").ok();
}
