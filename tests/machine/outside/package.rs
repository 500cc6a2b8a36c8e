//! The Debian package on a machine whose users are at work: installed, upgraded, removed, purged.
//!
//! `make deb` builds it; `make test` does that first.

use crate::machine::Machine;
use crate::ran::{self, Ran};
use crate::suite::{Test, outside};
use crate::support::wait_until;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long the jobs that an installation starts may take.
const SOON: Duration = Duration::from_secs(30);

pub(crate) fn tests() -> Vec<Test> {
    vec![
        outside!(after_an_install_the_first_example_works),
        outside!(the_package_is_complete),
        outside!(a_user_without_forge_has_no_running_units),
        outside!(an_upgrade_ends_no_session).limit_s(240),
        outside!(an_upgrade_starts_nothing_that_was_disabled),
        outside!(a_removal_keeps_sessions_and_a_reinstall_adopts_them).limit_s(240),
        outside!(an_unresponsive_manager_loses_no_session).limit_s(700),
        outside!(after_a_purge_nothing_is_left).limit_s(240),
        outside!(sessions_come_back_after_a_boot).limit_s(240),
    ]
}

/// The package that `make deb` built from this tree.
fn package() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/deb");
    let name = format!("forge_{}_", env!("CARGO_PKG_VERSION"));
    std::fs::read_dir(&folder)
        .ok()
        .and_then(|entries| {
            entries.flatten().map(|entry| entry.path()).find(|path| {
                let file = path.file_name().and_then(|file| file.to_str()).unwrap_or_default();
                file.starts_with(&name) && file.ends_with(".deb")
            })
        })
        .unwrap_or_else(|| panic!("there is no {name}*.deb in {}: 'make deb' builds it", folder.display()))
}

/// The same package with an older version.
fn older(machine: &Machine) -> PathBuf {
    let folder = machine.path("/var/tmp/older");
    let on_host = |argv: &[&str]| {
        let mut command = Command::new(argv[0]);
        command.args(&argv[1..]);
        ran::run(command, &argv.join(" "), Duration::from_secs(60)).ok();
    };
    let (folder, package) = (folder.to_str().expect("a path"), package());
    on_host(&["dpkg-deb", "-R", package.to_str().expect("a path"), folder]);
    on_host(&["sed", "-i", "s/^Version: .*/&~before/", &format!("{folder}/DEBIAN/control")]);
    let built = format!("{folder}.deb");
    on_host(&["dpkg-deb", "--build", "--root-owner-group", folder, &built]);
    on_host(&["rm", "-r", folder]);
    built.into()
}

/// A machine without forge: without the copy that every test machine has, and without leftovers of the
/// previous test.
fn without_forge(machine: &Machine) {
    machine.user(&["systemctl", "--user", "stop", "forge-spawn@*.service", "forge.slice"]).ok();
    machine.root(&["sh", "-c", "! dpkg -s forge >/dev/null 2>&1 || apt-get -q -y purge forge"]).ok();
    machine.root(&["rm", "-rf", "/usr/bin/forge", "/home/ada/.local/state/forge"]).ok();
}

#[track_caller]
fn install(machine: &Machine, package: &Path) -> Ran {
    std::fs::copy(package, machine.path("/var/tmp/forge.deb")).expect("the package in the machine");
    // As in the README.
    machine.root(&["sh", "-c", "cd /var/tmp && apt-get -q -y install ./forge.deb"]).ok()
}

#[track_caller]
fn user(machine: &Machine, line: &str) -> Ran {
    machine.user(&["sh", "-c", line]).ok()
}

fn status(machine: &Machine, name: &str) -> Value {
    machine.user(&["forge", "--json", "status", name]).ok().json()
}

fn supervisor(machine: &Machine, name: &str) -> String {
    let unit = format!("forge-spawn@{name}");
    machine
        .user(&["systemctl", "--user", "show", "--value", "-p", "MainPID", &unit])
        .ok()
        .stdout
        .trim()
        .to_owned()
}

/// A property of a unit in the user manager.
fn is(machine: &Machine, what: &str, unit: &str) -> String {
    machine.user(&["systemctl", "--user", what, unit]).stdout.trim().to_owned()
}

/// Two sessions, one under a supervisor.
fn at_work(machine: &Machine) -> (Value, Value) {
    user(machine, "forge spawn plain -- sleep 1000");
    user(machine, "forge spawn kept --supervise -- sleep 1000");
    (status(machine, "plain"), status(machine, "kept"))
}

#[track_caller]
fn untouched(machine: &Machine, (plain, kept): &(Value, Value)) {
    for (name, before) in [("plain", plain), ("kept", kept)] {
        let now = status(machine, name);
        for key in ["state", "pane_pid", "server_pid", "socket"] {
            assert_eq!(now[key], before[key], "{name}: {key}");
        }
    }
}

/// The same without forge.
#[track_caller]
fn alive(machine: &Machine, (plain, kept): &(Value, Value)) {
    for session in [plain, kept] {
        machine.root(&["test", "-e", &format!("/proc/{}", session["pane_pid"])]).ok();
    }
}

fn after_an_install_the_first_example_works(machine: &mut Machine) {
    without_forge(machine);
    install(machine, &package());
    // A logged-in user who never used forge.
    let mallory = |line: &str| machine.as_user("mallory", &["sh", "-c", line]);
    let spawned = mallory("forge spawn demo -- top").ok();
    assert!(spawned.stdout.contains("spawned demo"), "{spawned}");
    assert!(mallory("forge list").ok().stdout.contains("running"));
    assert!(mallory("forge logs demo").ok().stdout.contains("spawned demo"));
    let reported = mallory("journalctl -t forge -x --no-pager").ok();
    assert!(reported.stdout.contains("in a tmux server of its own"), "the catalog's text: {reported}");
    assert!(mallory("forge stop demo").ok().stdout.contains("nothing is left"));
    assert!(mallory("forge doctor").stdout.contains("linger"), "the one step that is left");
    machine.root(&["loginctl", "enable-linger", "mallory"]).ok();
    // The user manager that ran before has loaded the units, and the timer is active.
    assert_eq!(is(machine, "is-active", "forge-tmux-socket-sweep.timer"), "active");
    let doctor = machine.user(&["forge", "doctor"]);
    assert_eq!(doctor.code, 0, "{doctor}");
}

fn the_package_is_complete(machine: &mut Machine) {
    without_forge(machine);
    install(machine, &package());
    let listed = machine.root(&["dpkg", "-L", "forge"]).ok().stdout;
    for part in [
        "/usr/bin/forge",
        "/usr/lib/systemd/system/forge-tmux-socket-sweep@.service",
        "/usr/lib/systemd/catalog/forge.catalog",
        "/usr/share/bash-completion/completions/forge",
        "/usr/share/zsh/vendor-completions/_forge",
        "/usr/share/fish/vendor_completions.d/forge.fish",
        "/usr/share/man/man1/forge.1.gz",
        "/usr/share/man/man1/forge-guard-run.1.gz",
        "/usr/share/man/man5/forge.toml.5.gz",
        "/usr/share/man/man7/forge-units.7.gz",
        "/usr/share/doc/forge/examples/forge.toml",
        "/usr/share/doc/forge/copyright",
        "/usr/share/doc/forge/changelog.gz",
    ] {
        assert!(listed.lines().any(|line| line == part), "{part} is missing in:\n{listed}");
    }
    let documents = machine.path("/usr/share/doc/forge");
    let readme = std::fs::read_to_string(documents.join("README.md")).expect("the README of the package");
    for link in readme.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert!(documents.join(link).exists(), "the README of the package links to {link}");
    }
    for file in &forge::model::unit::files::USER {
        let path = format!("/usr/lib/systemd/user/{}", file.name);
        let text =
            std::fs::read_to_string(machine.path(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(text, file.render(Path::new("/usr/bin/forge")).unwrap(), "{path}");
        if file.is_enabled() {
            assert_eq!(is(machine, "is-enabled", file.name), "enabled", "{}", file.name);
        }
    }
    // A template is enabled for the instances that users want.
    assert_ne!(is(machine, "is-enabled", "forge-spawn@.service"), "enabled");
    machine.user(&["forge", "units", "verify"]).ok();
    // The package is built from these sources; later changes may carry a newer git revision.
    let version = machine.user(&["forge", "--version"]).ok().stdout;
    let commit = env!("FORGE_VERSION").trim_end_matches(')').trim_end_matches("-dirty");
    assert!(
        version.starts_with(&format!("forge {commit}")),
        "{version}, and not {commit}: 'make deb' builds it again"
    );
    user(machine, "bash -c '. /usr/share/bash-completion/completions/forge && complete -p forge'");
}

fn a_user_without_forge_has_no_running_units(machine: &mut Machine) {
    without_forge(machine);
    machine.root(&["rm", "-rf", "/home/mallory/.local/state/forge", "/tmp/tmux-1001"]).ok();
    install(machine, &package());
    for unit in forge::model::unit::files::USER.iter().filter(|unit| unit.is_enabled()) {
        if unit.name.ends_with(".service") {
            machine.as_user("mallory", &["systemctl", "--user", "start", unit.name]).ok();
            let show = ["systemctl", "--user", "show", "--value", "-p", "ConditionResult", unit.name];
            assert_eq!(machine.as_user("mallory", &show).ok().stdout, "no\n", "{}", unit.name);
        }
    }
    machine.root(&["sh", "-c", "! test -e /home/mallory/.local/state/forge"]).ok();
}

fn an_upgrade_ends_no_session(machine: &mut Machine) {
    without_forge(machine);
    let older = older(machine);
    install(machine, &older);
    let before = at_work(machine);
    let old = supervisor(machine, "kept");
    install(machine, &package());
    wait_until(SOON, "the new supervisor", || !["0", &old].contains(&supervisor(machine, "kept").as_str()));
    untouched(machine, &before);
    let new = supervisor(machine, "kept");
    assert_eq!(machine.root(&["readlink", &format!("/proc/{new}/exe")]).ok().stdout, "/usr/bin/forge\n");
    // The sweep works.
    let pid = before.1["pane_pid"].to_string();
    machine.root(&["kill", "-9", &pid]).ok();
    wait_until(SOON, "the restart", || {
        let now = machine.user(&["forge", "--json", "status", "kept"]);
        now.code == 0 && now.json()["state"] == "running" && now.json()["pane_pid"] != before.1["pane_pid"]
    });
    assert_eq!(status(machine, "plain")["pane_pid"], before.0["pane_pid"]);
    // The unsupervised session's hook, set by the old forge, works too.
    machine.root(&["kill", "-9", &before.0["pane_pid"].to_string()]).ok();
    wait_until(SOON, "the end", || machine.user(&["forge", "status", "plain"]).code == 1);
    user(machine, "forge stop kept");
}

fn an_upgrade_starts_nothing_that_was_disabled(machine: &mut Machine) {
    without_forge(machine);
    install(machine, &older(machine));
    machine.root(&["systemctl", "--global", "disable", "forge-tmux-socket-sweep.timer"]).ok();
    let stopped = ["forge-tmux-socket-sweep.timer", "forge-guard-watch.service"];
    machine.user(&[&["systemctl", "--user", "stop"], &stopped[..]].concat()).ok();
    machine.user(&["systemctl", "--user", "mask", "forge-guard-watch.service"]).ok();
    let upgraded = install(machine, &package());
    let reported = format!("{}{}", upgraded.stdout, upgraded.stderr);
    assert!(!reported.contains("did not"), "{upgraded}");
    for unit in stopped {
        assert_eq!(is(machine, "is-active", unit), "inactive", "{unit}");
    }
    assert_eq!(is(machine, "is-enabled", "forge-tmux-socket-sweep.timer"), "disabled");
    machine.user(&["systemctl", "--user", "unmask", "forge-guard-watch.service"]).ok();
}

fn a_removal_keeps_sessions_and_a_reinstall_adopts_them(machine: &mut Machine) {
    without_forge(machine);
    install(machine, &package());
    let before = at_work(machine);
    let old = supervisor(machine, "kept");
    let removed = machine.root(&["apt-get", "-q", "-y", "remove", "forge"]).ok();
    assert!(removed.stdout.contains("forge-spawn-plain.scope"), "it says what goes on: {removed}");
    alive(machine, &before);
    assert_eq!(supervisor(machine, "kept"), old);
    assert_eq!(is(machine, "is-active", "forge-tmux-socket-sweep.timer"), "inactive");
    install(machine, &package());
    untouched(machine, &before);
    wait_until(SOON, "the new supervisor", || {
        let program = format!("/proc/{}/exe", supervisor(machine, "kept"));
        machine.root(&["readlink", &program]).stdout == "/usr/bin/forge\n"
    });
    assert_eq!(is(machine, "is-active", "forge-tmux-socket-sweep.timer"), "active");
    user(machine, "forge stop plain kept");
}

/// The sessions stay alive although their user manager does not answer.
fn an_unresponsive_manager_loses_no_session(machine: &mut Machine) {
    without_forge(machine);
    install(machine, &package());
    let before = at_work(machine);
    let manager = machine.root(&["systemctl", "show", "--value", "-p", "MainPID", "user@1000"]).ok().stdout;
    let signal = |signal: &str| machine.root(&["kill", signal, manager.trim()]).ok();
    signal("-STOP");
    for what in [&["reinstall", "/var/tmp/forge.deb"], &["remove", "forge"]] {
        let command = machine.command("root", &[&["apt-get", "-q", "-y"], &what[..]].concat());
        // Each maintainer script makes one request and waits for it.
        let ended = ran::run(command, what[0], Duration::from_secs(300)).ok();
        // debconf may have put its scripts' stderr there.
        let reported = format!("{}{}", ended.stdout, ended.stderr);
        assert!(reported.contains("user manager of uid 1000 failed to: "), "{ended}");
    }
    signal("-CONT");
    // The manager then executes the requests.
    machine.user(&["systemctl", "--user", "daemon-reload"]).ok();
    alive(machine, &before);
    install(machine, &package());
    untouched(machine, &before);
    user(machine, "forge stop plain kept");
}

/// All files except those that any package may change.
fn files(machine: &Machine) -> Vec<String> {
    let line = "find / -xdev \\( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp \
                -o -path /var/tmp -o -path /var/log -o -path /var/cache -o -path /var/lib/dpkg \
                -o -path /var/lib/apt -o -path /home -o -path /root \\) -prune -o -print | sort";
    machine.root(&["sh", "-c", line]).ok().stdout.lines().map(str::to_owned).collect()
}

fn after_a_purge_nothing_is_left(machine: &mut Machine) {
    without_forge(machine);
    let before = files(machine);
    install(machine, &package());
    let sessions = at_work(machine);
    machine.root(&["systemctl", "enable", "forge-tmux-socket-sweep@1000.service"]).ok();
    assert_ne!(files(machine), before);
    machine.root(&["apt-get", "-q", "-y", "purge", "forge"]).ok();
    alive(machine, &sessions);
    // As the removal script announces. The command that the supervisor's unit would run at its end is
    // removed, too.
    machine.user(&["systemctl", "--user", "stop", "forge.slice"]).ok();
    wait_until(SOON, "the supervisor's end", || is(machine, "is-active", "forge-spawn@kept") != "active");
    machine.user(&["systemctl", "--user", "reset-failed"]).ok();
    let after = files(machine);
    let left: Vec<_> = after.iter().filter(|file| !before.contains(file)).collect();
    let lost: Vec<_> = before.iter().filter(|file| !after.contains(file)).collect();
    assert!(left.is_empty() && lost.is_empty(), "left: {left:?}, lost: {lost:?}");
    let units = machine
        .user(&["systemctl", "--user", "list-units", "--all", "--plain", "--no-legend", "forge*"])
        .ok();
    assert_eq!(units.stdout.trim(), "", "{units}");
    let failed =
        machine.user(&["systemctl", "--user", "list-units", "--failed", "--plain", "--no-legend"]).ok();
    assert_eq!(failed.stdout.trim(), "", "{failed}");
}

fn sessions_come_back_after_a_boot(machine: &mut Machine) {
    without_forge(machine);
    install(machine, &package());
    at_work(machine);
    machine.reboot();
    wait_until(SOON, "the sessions", || {
        ["plain", "kept"].iter().all(|name| {
            let now = machine.user(&["forge", "--json", "status", name]);
            now.code == 0 && now.json()["state"] == "running"
        })
    });
    assert_eq!(is(machine, "is-active", "forge-spawn@kept"), "active");
    assert_eq!(machine.user(&["forge", "units", "verify"]).code, 0);
}
