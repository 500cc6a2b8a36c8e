//! Invalid requests fail with their own error each, and change nothing.

use crate::ran::Ran;
use crate::suite::{Test, inside};
use crate::support::{
    Session, TestFile, alive, forge, forge_json, nothing_left_of, run, shell, spawn, start,
};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(a_taken_name_says_who_has_it),
        inside!(one_of_twenty_spawns_of_one_name_wins),
        inside!(replace_replaces),
        inside!(a_failed_spawn_leaves_the_session_that_has_the_name),
        inside!(names),
        inside!(arguments),
        inside!(a_missing_bus_is_reported),
        inside!(a_missing_tmux_is_reported),
        inside!(unsafe_socket_directories_are_refused),
        inside!(configuration),
        inside!(a_command_with_subcommands_lists_them),
        inside!(help_exits_with_status_0),
    ]
}

/// Checks a refusal: exit status, kind and a part of the message, the same in text and JSON.
#[track_caller]
fn refused(ran: &Ran, code: i32, kind: &str, part: &str) {
    assert_eq!(ran.code, code, "{ran}");
    let json: Value = ran.json();
    assert_eq!(json["error"]["kind"], kind, "{ran}");
    assert!(json["error"]["message"].as_str().is_some_and(|message| message.contains(part)), "{ran}");
    assert!(ran.stderr.starts_with("forge: "), "{ran}");
    assert!(!ran.stderr.contains("panicked"), "{ran}");
}

#[track_caller]
fn spawn_refused(arguments: &[&str], code: i32, kind: &str, part: &str) {
    refused(&forge(&[&["--json", "spawn"], arguments].concat()), code, kind, part);
}

fn a_taken_name_says_who_has_it() {
    let (_session, spawned) = spawn("taken", &[], &["sleep", "1000"]);
    let again = forge(&["--json", "spawn", "taken", "--", "sleep", "1"]);
    refused(&again, 1, "taken", "forge-spawn-taken.scope is running since");
    let pids = format!("(program {}, server {})", spawned["pane_pid"], spawned["server_pid"]);
    assert!(again.stderr.contains(&pids), "{again}");
    let now = forge_json(&["status", "taken"]);
    assert_eq!((&now["pane_pid"], &now["state"]), (&spawned["pane_pid"], &"running".into()));
}

fn one_of_twenty_spawns_of_one_name_wins() {
    let _session = Session("contested".into());
    let all: Vec<_> =
        (0..20).map(|_| start(&["forge", "--json", "spawn", "contested", "--", "sleep", "1000"])).collect();
    let ran: Vec<Ran> = all.into_iter().map(|one| one.wait(Duration::from_secs(60))).collect();
    let winners: Vec<&Ran> = ran.iter().filter(|ran| ran.code == 0).collect();
    assert_eq!(winners.len(), 1);
    for loser in ran.iter().filter(|ran| ran.code != 0) {
        assert_eq!((loser.code, &loser.json()["error"]["kind"]), (1, &"taken".into()), "{loser}");
    }
    let status = forge_json(&["status", "contested"]);
    assert_eq!(status["pane_pid"], winners[0].json()["pane_pid"]);
    assert_eq!(status["tasks"], 2, "one server and one program");
}

fn replace_replaces() {
    let (_session, first) = spawn("replaced", &[], &["sleep", "1000"]);
    let second = forge_json(&["spawn", "replaced", "--replace", "--", "sleep", "2000"]);
    assert_ne!(first["pane_pid"], second["pane_pid"]);
    assert!(!alive(u32::try_from(first["pane_pid"].as_u64().expect("a pid")).expect("a pid")));
    assert_eq!(forge_json(&["list"])["sessions"].as_array().expect("sessions").len(), 1);
}

/// An oversized environment and a lack of descriptors are errors before forge creates anything.
fn a_failed_spawn_leaves_the_session_that_has_the_name() {
    let (_session, spawned) = spawn("kept", &[], &["sleep", "1000"]);
    let _config =
        TestFile::new(".config/big.toml", &format!("[sessions.kept.env]\nBIG = '{}'\n", "x".repeat(140_000)));
    let big = forge(&["--config", "/home/ada/.config/big.toml", "spawn", "kept", "--", "sleep", "1"]).code(1);
    assert!(big.stderr.contains("cannot start the session's first process"), "{big}");
    for most in 6..20 {
        shell(&format!("ulimit -n {most}; forge spawn kept -- sleep 1 || true")).ok();
    }
    let now = forge_json(&["status", "kept"]);
    assert_eq!((&now["pane_pid"], &now["state"]), (&spawned["pane_pid"], &"running".into()));
    shell("test -s ~/.local/state/forge/sessions/kept.json").ok();
}

fn names() {
    spawn_refused(&[&"a".repeat(300)], 2, "usage", "300 characters where 48 are allowed");
    spawn_refused(&["агент", "--", "sleep", "1"], 2, "usage", "'агент' cannot name a session");
    spawn_refused(&["", "--", "sleep", "1"], 2, "usage", "cannot name a session");
    spawn_refused(&["guard", "--", "sleep", "1"], 2, "usage", "forge-guard.slice");
    let _session = Session("x".into());
    let said = forge(&["spawn", "../x", "--", "sleep", "1000"]).ok().stdout;
    assert!(said.contains("the name '../x' became x"), "{said}");
    assert!(
        std::path::Path::new("/tmp/tmux-1000/spawn-x").exists() && !std::path::Path::new("/tmp/x").exists()
    );
    let said = forge(&["spawn", "--", "-L ../x"]);
    assert_eq!(said.code, 2, "{said}");
}

fn arguments() {
    spawn_refused(&["bad", "--ready", "[", "--", "sleep", "1"], 2, "usage", "not a valid regular expression");
    spawn_refused(&["bad", "--cwd", "/no/such/dir", "--", "sleep", "1"], 2, "usage", "/no/such/dir");
    spawn_refused(&["bad", "--cwd", "/etc/hostname", "--", "sleep", "1"], 2, "usage", "no directory");
    spawn_refused(&["bad", "--env", "NO_SUCH_VARIABLE", "--", "sleep", "1"], 2, "usage", "NO_SUCH_VARIABLE");
    spawn_refused(
        &["bad", "--env", "1=x", "--", "sleep", "1"],
        2,
        "usage",
        "not a valid name of an environment variable",
    );
    spawn_refused(
        &["bad", "--memory-max", "much", "--", "sleep", "1"],
        2,
        "usage",
        "'much' is not a valid size",
    );
    spawn_refused(&["bad", "--cpu-weight", "0", "--", "sleep", "1"], 2, "usage", "cpu-weight is 0");
    spawn_refused(&["bad", "--no-such-option"], 2, "usage", "--no-such-option");
    spawn_refused(&[], 2, "usage", "NAME");
    spawn_refused(&["bad", "--", ""], 2, "usage", "command is empty");
    refused(&forge(&["--json", "nonsense"]), 2, "usage", "nonsense");
    refused(&forge(&["--json", "stop"]), 2, "usage", "");
    refused(&forge(&["--json", "stop", "none-such"]), 1, "no_session", "none-such");
    refused(&forge(&["--json", "stop", "none-*"]), 1, "no_session", "none-*");
    refused(&forge(&["--json", "attach", "none-such"]), 1, "no_session", "none-such");
    nothing_left_of("bad");
}

fn a_missing_bus_is_reported() {
    std::fs::create_dir_all("/tmp/empty").expect("a directory");
    for environment in [
        ["-u", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR=/tmp/empty"],
        ["-u", "NONE", "DBUS_SESSION_BUS_ADDRESS=unix:path=/no/such/bus"],
    ] {
        for verb in [&["spawn", "x", "--", "true"][..], &["list"], &["stop", "x"]] {
            let ran = run(&[&["env"], &environment[..], &["forge", "--json"], verb].concat());
            refused(&ran, 3, "missing", "user manager");
            assert!(ran.stderr.contains("enable-linger"), "{ran}");
        }
    }
    // Without any environment forge still finds the user's own manager.
    let _session = Session("bare".into());
    run(&["env", "-i", "PATH=/usr/bin:/bin", "HOME=/home/ada", "forge", "spawn", "bare", "--", "sleep", "9"])
        .ok();
}

fn a_missing_tmux_is_reported() {
    shell("mkdir -p /tmp/only-forge && ln -sf /usr/bin/forge /tmp/only-forge/forge").ok();
    let ran = run(&["env", "PATH=/tmp/only-forge", "/usr/bin/forge", "--json", "spawn", "x", "--", "true"]);
    refused(&ran, 3, "missing", "tmux is not installed");
}

fn unsafe_socket_directories_are_refused() {
    let spawn_in = |tmpdir: &str| {
        run(&[
            "env",
            &format!("TMUX_TMPDIR={tmpdir}"),
            "forge",
            "--json",
            "spawn",
            "unsafe",
            "--",
            "sleep",
            "9",
        ])
    };
    let root = |name: &str| {
        let path = format!("/tmp/dirs/{name}");
        std::fs::create_dir_all(&path).expect("a directory");
        path
    };
    let chmod = |path: &str, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("its mode");
    };
    let link = root("link");
    std::os::unix::fs::symlink("/home/ada", format!("{link}/tmux-1000")).expect("a link");
    refused(&spawn_in(&link), 1, "unsafe", "it is a symbolic link");
    let open = root("open");
    root("open/tmux-1000");
    chmod("/tmp/dirs/open/tmux-1000", 0o777);
    refused(&spawn_in(&open), 1, "unsafe", "its mode is 0777");
    let shut = root("shut");
    root("shut/tmux-1000");
    chmod("/tmp/dirs/shut/tmux-1000", 0o500);
    refused(&spawn_in(&shut), 1, "unsafe", "is not writable");
    let file = root("file");
    let _file = TestFile::new(&format!("{file}/tmux-1000"), "");
    refused(&spawn_in(&file), 1, "unsafe", "it is no directory");
    nothing_left_of("unsafe");
    // tmux resolves the path each time: whoever can replace the directory redirects tmux.
    let anybodys = root("anybodys");
    chmod(&anybodys, 0o777);
    refused(&spawn_in(&anybodys), 1, "unsafe", "everybody can put another in its place");
    nothing_left_of("unsafe");
    // A sweep reports it too, and continues.
    let report = run(&["env", "TMUX_TMPDIR=/tmp/dirs/open", "forge", "--json", "sweep"]).ok().json();
    assert!(report["skipped"][0]["reason"].as_str().expect("a reason").contains("0777"), "{report}");
}

fn configuration() {
    let _config = TestFile::new(".config/forge/forge.toml", "[sessions.a]\ncomand = 'x'\n");
    let ran = forge(&["--json", "spawn", "a"]);
    refused(&ran, 2, "config", "forge.toml: line 2: unknown key 'comand'");
    assert!(ran.stderr.contains("did you mean 'command'?"), "{ran}");
    // forge still lists running sessions.
    let ran = forge(&["--json", "list"]).ok();
    assert_eq!(ran.json()["sessions"], serde_json::json!([]));
    assert!(ran.stderr.contains("unknown key 'comand'"), "{ran}");
    let ran = forge(&["--json", "--config", "/no/such.toml", "list"]);
    refused(&ran, 2, "config", "/no/such.toml");
    let _config = TestFile::new(
        ".config/forge/forge.toml",
        "[sessions.ready-made]\ncommand = \"sh -c 'echo set $WORD; sleep 1000'\"\ncwd = '~/'\nready = 'set here'\nenv = { WORD = 'here' }\n",
    );
    let _session = Session("ready-made".into());
    forge(&["spawn", "ready-made"]).ok();
    assert_eq!(forge_json(&["status", "ready-made"])["cwd"], "/home/ada");
}

fn a_command_with_subcommands_lists_them() {
    let ran = forge(&["--json", "units"]).code(2);
    refused(&ran, 2, "usage", "a subcommand is missing");
    assert!(ran.stderr.contains("uninstall"), "{ran}");
}

fn help_exits_with_status_0() {
    for arguments in [&["--help"][..], &["--version"], &["help", "spawn"], &["spawn", "--help"], &[]] {
        let ran = forge(arguments).ok();
        assert!(!ran.stdout.is_empty() && ran.stderr.is_empty(), "{ran}");
    }
}
