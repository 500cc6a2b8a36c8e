//! `forge units install`, `uninstall` and `print`.

use super::Units;
use crate::ran::Ran;
use crate::suite::{Test, inside};
use crate::support::{
    TestFile, alive, dead_socket, forge, forge_json, run, shell, spawn, user_unit_property, wait_until,
};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(installing_twice_changes_nothing),
        inside!(the_manager_has_the_order),
        inside!(a_dry_run_changes_nothing),
        inside!(drop_ins_survive_and_the_timer_fires),
        inside!(files_of_others_are_left),
        inside!(a_package_comes_first),
        inside!(an_uninstall_removes_forges_units_and_keeps_the_users),
        inside!(a_unit_is_printed_for_others),
        inside!(a_killed_install_can_be_repeated).limit_s(300),
    ]
}

fn user_dir() -> PathBuf {
    "/home/ada/.config/systemd/user".into()
}

const NAMES: [&str; 11] = [
    "forge.slice",
    "forge-guard.slice",
    "forge-tmux-socket-sweep.service",
    "forge-tmux-socket-sweep.timer",
    "forge-post-boot-sessions.service",
    "forge-session-save.service",
    "forge-spawn@.service",
    "forge-boot-notify.service",
    "forge-failure-notify@.service",
    "forge-guard-watch.service",
    "tmux-spawn-.scope.d/forge.conf",
];

#[track_caller]
fn changes(json: &serde_json::Value) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    let units = json["units"].as_array().expect("units").iter();
    units.map(|unit| (text(&unit["unit"]), text(&unit["change"]))).collect()
}

#[track_caller]
fn tree() -> Ran {
    shell("cd ~/.config/systemd && find . | sort && find . -type f -exec md5sum {} +").ok()
}

fn installing_twice_changes_nothing() {
    let json = forge_json(&["units", "install", "--now"]);
    let _units = Units;
    for (name, change) in changes(&json) {
        assert!(NAMES.contains(&name.as_str()) && change == "written", "{json}");
    }
    assert_eq!(json["linger"], true);
    assert_eq!(json["links"].as_array().expect("links").len(), 6, "{json}");
    let started = json["started"].to_string();
    assert!(started.contains("sweep.timer") && !started.contains("boot-notify"), "{json}");
    for unit in
        ["forge-tmux-socket-sweep.timer", "forge-post-boot-sessions.service", "forge-session-save.service"]
    {
        assert_eq!(user_unit_property(unit, "ActiveState"), "active", "{unit}");
        assert_eq!(user_unit_property(unit, "UnitFileState"), "enabled", "{unit}");
    }
    assert_eq!(user_unit_property("forge-boot-notify.service", "ActiveState"), "inactive");
    let before = tree();
    let times = || shell("stat -c '%n %Y %i' ~/.config/systemd/user/forge*").ok().stdout;
    let old = times();
    let again = forge_json(&["units", "install", "--now"]);
    assert!(changes(&again).iter().all(|(_, change)| change == "unchanged"), "{again}");
    assert_eq!((tree().stdout, times()), (before.stdout, old));
    // A forge at another path overwrites the old units.
    shell("mkdir -p 'tools of mine' && cp /usr/bin/forge 'tools of mine/forge'").ok();
    let moved = run(&["/home/ada/tools of mine/forge", "--json", "units", "install"]).ok().json();
    assert_eq!(changes(&moved).iter().filter(|(_, change)| change == "updated").count(), 7, "{moved}");
    run(&["systemctl", "--user", "start", "forge-tmux-socket-sweep.service"]).ok();
    let line = user_unit_property("forge-tmux-socket-sweep.service", "ExecStart");
    assert!(line.contains("/home/ada/tools of mine/forge"), "{line}");
    forge(&["units", "install"]).ok();
    shell("rm -r 'tools of mine'").ok();
    // Two installations at once.
    let one = crate::support::start(&["forge", "units", "install"]);
    let two = crate::support::start(&["forge", "units", "install"]);
    one.wait(Duration::from_secs(30)).ok();
    two.wait(Duration::from_secs(30)).ok();
    forge(&["units", "verify"]).ok();
}

fn the_manager_has_the_order() {
    let _units = Units::install();
    let has = |unit: &str, property: &str, other: &str| {
        let value = user_unit_property(unit, property);
        assert!(value.split(' ').any(|name| name == other), "{unit} {property}: {value}");
    };
    let (sweep, post) = ("forge-tmux-socket-sweep.service", "forge-post-boot-sessions.service");
    has(sweep, "Before", post);
    has(post, "After", sweep);
    has(post, "Wants", sweep);
    has("forge-boot-notify.service", "After", post);
    for unit in [post, sweep, "forge-session-save.service", "forge-boot-notify.service"] {
        has(unit, "WantedBy", "default.target");
    }
    has("forge-tmux-socket-sweep.timer", "WantedBy", "timers.target");
    assert!(!user_unit_property("forge-boot-notify.service", "Requires").contains("post-boot"));
    // Each session is saved before it ends.
    let (_session, _) = spawn("ordered", &[], &["sleep", "1000"]);
    has("forge-spawn-ordered.scope", "Before", "forge-session-save.service");
    has("forge-spawn-ordered.scope", "Before", "forge-spawn@ordered.service");
    has("forge-spawn-ordered.scope", "PartOf", "forge-spawn@ordered.service");
    has("forge-spawn@ordered.service", "After", sweep);
    let verified = forge_json(&["units", "verify"]);
    assert_eq!((&verified["ok"], &verified["systemd_analyze"]), (&true.into(), &serde_json::json!([])));
    assert!(verified["edges"].as_u64().expect("a number") >= 13, "{verified}");
    let graph = forge(&["units", "graph"]).ok().stdout;
    assert!(graph.contains(&format!("\"{sweep}\" -> \"{post}\";")), "{graph}");
    assert!(graph.contains(&format!("─{post}\n")), "{graph}");
    assert!(graph.lines().all(|line| line.starts_with("// ") || line.contains(['{', '}', ';'])), "{graph}");
    let edges = forge_json(&["units", "graph"]);
    assert!(
        edges["edges"]
            .as_array()
            .expect("edges")
            .contains(&serde_json::json!({"first": sweep, "then": post}))
    );
    // The sweep is as hardened as a user unit can be.
    let security = run(&["systemd-analyze", "--user", "security", "--no-pager", sweep]).stdout;
    let line = security.lines().last().expect("a score").to_owned();
    let score: f64 = line
        .split(": ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .and_then(|score| score.parse().ok())
        .expect("a score");
    assert!(score < 6.0, "{line}");
}

fn a_dry_run_changes_nothing() {
    let ran = forge(&["units", "install", "--dry-run"]).ok();
    assert!(ran.stdout.contains("\n+ExecStart=/usr/bin/forge restore\n"), "{ran}");
    assert!(ran.stdout.contains("--- /dev/null\n+++ /home/ada/.config/systemd/user/forge.slice\n"), "{ran}");
    assert!(!user_dir().join("forge.slice").exists());
    let _units = Units::install();
    let ran = forge(&["units", "install", "--dry-run"]).ok();
    assert_eq!(ran.stdout, "nothing would change\n");
    let before = tree().stdout;
    let ran = forge(&["units", "uninstall", "--dry-run"]).ok();
    assert!(ran.stdout.contains("-ExecStart=/usr/bin/forge restore"), "{ran}");
    assert_eq!(tree().stdout, before);
}

fn drop_ins_survive_and_the_timer_fires() {
    let _units = Units::install();
    // With the drop-in, a reload is enough to make the timer fire.
    run(&["systemctl", "--user", "stop", "forge-tmux-socket-sweep.timer"]).ok();
    let socket = dead_socket("rot");
    let _override = TestFile::new(
        ".config/systemd/user/forge-tmux-socket-sweep.timer.d/override.conf",
        "[Timer]\nOnCalendar=\nOnCalendar=*:*:0/1\nAccuracySec=100ms\n",
    );
    // An upgrade: the files are from another forge.
    shell("cp /usr/bin/forge ~/forge2; ~/forge2 units install; forge units install; rm ~/forge2").ok();
    assert!(user_dir().join("forge-tmux-socket-sweep.timer.d/override.conf").exists());
    assert!(socket.exists());
    run(&["systemctl", "--user", "restart", "forge-tmux-socket-sweep.timer"]).ok();
    wait_until(Duration::from_secs(20), "the timer of the sweep", || !socket.exists());
    let probe = forge_json(&["probe"]);
    assert_eq!(probe["sockets_dead"], 0, "{probe}");
    assert!(probe["last_sweep"]["at"].is_string(), "{probe}");
    // The sweep also heals inside its sandbox.
    let (_session, spawned) = spawn("sandboxed", &[], &["sleep", "1000"]);
    let socket = Path::new(spawned["socket"].as_str().expect("a socket")).to_owned();
    std::fs::remove_file(&socket).expect("its removal");
    wait_until(Duration::from_secs(20), "the socket", || socket.exists());
}

fn files_of_others_are_left() {
    let _mine =
        TestFile::new(".config/systemd/user/forge-boot-notify.service", "[Service]\nExecStart=/bin/true\n");
    run(&["systemctl", "--user", "mask", "-q", "forge-session-save.service"]).ok();
    let ran = forge(&["units", "install", "--now"]).code(1);
    let units = Units;
    assert!(ran.stdout.contains("forge-boot-notify.service: forge did not write it"), "{ran}");
    assert!(ran.stdout.contains("forge-session-save.service: it is a link"), "{ran}");
    let text = |name: &str| std::fs::read_to_string(user_dir().join(name)).expect("a file");
    assert_eq!(text("forge-boot-notify.service"), "[Service]\nExecStart=/bin/true\n");
    assert_eq!(user_unit_property("forge-session-save.service", "LoadState"), "masked");
    // The other units are installed.
    assert_eq!(user_unit_property("forge-tmux-socket-sweep.timer", "ActiveState"), "active");
    // A unit that the user changed.
    shell("echo 'Nice=19' >>~/.config/systemd/user/forge-tmux-socket-sweep.service").ok();
    let ran = forge(&["units", "install"]).code(1);
    assert!(ran.stdout.contains("somebody changed it since forge wrote it"), "{ran}");
    assert!(text("forge-tmux-socket-sweep.service").ends_with("Nice=19\n"));
    let ran = forge(&["units", "uninstall"]).code(1);
    assert!(
        ran.stdout.contains("somebody changed it since forge wrote it")
            && ran.stdout.contains("forge did not write it"),
        "{ran}"
    );
    assert!(text("forge-tmux-socket-sweep.service").ends_with("Nice=19\n"));
    assert!(!user_dir().join("forge.slice").exists());
    run(&["systemctl", "--user", "unmask", "-q", "forge-session-save.service"]).ok();
    drop(units);
}

fn a_package_comes_first() {
    let _units = Units::install();
    // A directory that the manager searches after the user's own, like a package's.
    shell(
        "mkdir -p ~/.local/share/systemd/user/tmux-spawn-.scope.d && cd ~/.config/systemd/user && \
           for u in $(ls -d forge*[a-z] */forge.conf | grep -v wants); do \
           forge units show $u >~/.local/share/systemd/user/$u; done && systemctl --user daemon-reload",
    )
    .ok();
    let json = forge_json(&["units", "install", "--now"]);
    assert!(changes(&json).iter().all(|(_, change)| change.starts_with("removed, the package's")), "{json}");
    assert!(!user_dir().join("forge.slice").exists());
    assert!(!user_dir().join("tmux-spawn-.scope.d").exists());
    assert_eq!(
        user_unit_property("forge-tmux-socket-sweep.timer", "FragmentPath"),
        "/home/ada/.local/share/systemd/user/forge-tmux-socket-sweep.timer"
    );
    assert_eq!(user_unit_property("forge-tmux-socket-sweep.timer", "UnitFileState"), "enabled");
    let json = forge_json(&["units", "install"]);
    assert!(changes(&json).iter().all(|(_, change)| change == "packaged"), "{json}");
    forge(&["units", "verify"]).ok();
    forge(&["units", "uninstall"]).ok();
    assert_eq!(
        user_unit_property("forge-tmux-socket-sweep.timer", "ActiveState"),
        "active",
        "the package's goes on"
    );
    shell(
        "systemctl --user disable --now forge-tmux-socket-sweep.timer forge-tmux-socket-sweep.service \
           forge-post-boot-sessions.service forge-session-save.service forge-boot-notify.service \
           forge-guard-watch.service; \
           rm -r ~/.local/share/systemd; systemctl --user daemon-reload",
    )
    .ok();
}

fn an_uninstall_removes_forges_units_and_keeps_the_users() {
    let _own = TestFile::new(".config/systemd/user/own.service", "[Service]\nExecStart=/bin/true\n");
    let _link = TestFile::new(".config/systemd/user/default.target.wants/keep", "");
    let _override =
        TestFile::new(".config/systemd/user/forge-.slice.d/limits.conf", "[Slice]\nTasksMax=1000\n");
    let before = tree().stdout;
    let (session, spawned) = spawn("goes-on", &[], &["sleep", "1000"]);
    let units = Units::install();
    assert_ne!(tree().stdout, before);
    let ran = forge(&["units", "uninstall"]).ok();
    assert_eq!(tree().stdout, before, "{ran}");
    let listed = run(&["systemctl", "--user", "list-units", "--no-legend", "forge*.service", "forge*.timer"]);
    assert_eq!(listed.stdout, "", "nothing runs, nothing failed");
    let pid = u32::try_from(spawned["pane_pid"].as_u64().expect("a pid")).expect("a pid");
    assert!(alive(pid), "sessions go on");
    drop(session);
    let again = forge(&["units", "uninstall"]).ok();
    assert!(!Path::new("/home/ada/.local/state/forge").exists(), "nothing of forge's");
    assert!(again.stdout.contains("nothing of forge's to remove"), "{again}");
    std::mem::forget(units);
}

fn a_unit_is_printed_for_others() {
    let text = forge(&["units", "show", "forge-tmux-socket-sweep@.service"]).ok().stdout;
    assert!(text.contains("ExecStart=/usr/bin/forge --quiet sweep\n"), "{text}");
    assert!(
        text.contains("Before=user@%i.service\n") && text.contains("WantedBy=multi-user.target\n"),
        "{text}"
    );
    let all = forge_json(&["units", "show"]);
    assert_eq!(all["units"].as_array().expect("units").len(), NAMES.len());
    let ran = forge(&["units", "show", "forge-nonsense.service"]).code(2);
    assert!(ran.stderr.contains("forge-tmux-socket-sweep.timer"), "{ran}");
}

fn a_killed_install_can_be_repeated() {
    // An uninstall removes empty folders of links.
    let clean = "mkdir -p ~/.config/systemd/user; find ~/.config/systemd -name '*.wants' -empty -delete";
    shell(clean).ok();
    let before = shell("find ~/.config/systemd | sort").ok().stdout;
    let units = Units;
    for step in 0..16 {
        // Calls to the manager spread the moments of the kill over the whole installation.
        let verb = if step % 4 == 3 { "uninstall" } else { "install" };
        let delay = format!("0.{:03}", 1 + step * 8);
        run(&["timeout", "-s", "KILL", &delay, "forge", "units", verb]);
        let left = forge(&["--json", "units", "install"]).ok().json();
        assert!(
            changes(&left).iter().all(|(_, change)| change == "written" || change == "unchanged"),
            "{left}"
        );
        forge(&["units", "verify"]).ok();
        if step % 2 == 1 {
            forge(&["units", "uninstall"]).ok();
            assert_eq!(shell("find ~/.config/systemd | sort").ok().stdout, before, "{delay}");
        }
    }
    drop(units);
}
