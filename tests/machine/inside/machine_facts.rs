//! Properties of a machine that the other tests rely on.

use crate::suite::{Debian, Test, inside};
use crate::support::{
    cgroup_of, journal, kill_server, processes_in, run, shell, tmux, user_unit_property, wait_for,
};
use std::time::Duration;

const TEN_S: Duration = Duration::from_secs(10);

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(systemd_252_and_tmux_33).only(Debian::Bookworm),
        inside!(systemd_257_and_tmux_35).only(Debian::Trixie),
        inside!(the_environment_of_a_login),
        inside!(the_user_manager_runs),
        inside!(the_journal_is_read_back),
        inside!(panes_stay_with_the_server).only(Debian::Bookworm),
        inside!(panes_move_to_scopes).only(Debian::Trixie),
        inside!(forge_is_installed),
    ]
}

fn versions(systemd: &str, tmux: &str) {
    let version = run(&["systemctl", "--version"]).ok().stdout;
    assert!(version.starts_with(&format!("systemd {systemd} ")), "{version}");
    assert_eq!(run(&["tmux", "-V"]).ok().stdout.trim(), format!("tmux {tmux}"));
}

fn systemd_252_and_tmux_33() {
    versions("252", "3.3a");
}

fn systemd_257_and_tmux_35() {
    versions("257", "3.5a");
}

fn the_environment_of_a_login() {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("no ${name}"));
    assert_eq!(variable("HOME"), "/home/ada");
    assert_eq!(variable("XDG_RUNTIME_DIR"), "/run/user/1000");
    assert_eq!(variable("DBUS_SESSION_BUS_ADDRESS"), "unix:path=/run/user/1000/bus");
    assert_eq!(variable("LANG"), "C.UTF-8");
    assert!(variable("PATH").contains("/usr/bin"));
    assert_eq!(std::env::current_dir().unwrap().to_str(), Some("/home/ada"));
    // As after ssh: outside the user manager's part of the cgroup tree.
    let cgroup = cgroup_of(std::process::id());
    assert!(cgroup.starts_with("/user.slice/user-1000.slice/session-"), "{cgroup}");
}

fn the_user_manager_runs() {
    let state = run(&["systemctl", "--user", "is-system-running"]);
    assert_eq!(state.ok().stdout.trim(), "running");
    assert_eq!(user_unit_property("default.target", "ActiveState"), "active");
}

fn the_journal_is_read_back() {
    let word = format!("hullo-{}", std::process::id());
    shell(&format!("echo {word} | systemd-cat -t facts")).ok();
    let entry = wait_for(TEN_S, "the record in the journal", || {
        journal(&["-t", "facts"]).into_iter().find(|entry| entry["MESSAGE"] == word.as_str())
    });
    assert_eq!(entry["_UID"], "1000");
}

/// Starts a server with one pane and waits until `settled` accepts the cgroups of pane and server.
fn with_a_pane(settled: fn(&str, &str) -> bool) {
    tmux("facts", &["new", "-d", "sleep 1000"]).ok();
    let format = "#{pane_pid} #{pid}";
    let pids = tmux("facts", &["display", "-p", format]).ok().stdout;
    let (pane, server) = pids.trim().split_once(' ').unwrap();
    let (pane, server): (u32, u32) = (pane.parse().unwrap(), server.parse().unwrap());
    // The child itself requests the move, after `new` has returned.
    let cgroup = wait_for(TEN_S, "the pane's place among the cgroups", || {
        let cgroups = (cgroup_of(pane), cgroup_of(server));
        settled(&cgroups.0, &cgroups.1).then_some(cgroups.0)
    });
    assert!(processes_in(&cgroup).contains(&pane));
    kill_server("facts");
}

fn panes_stay_with_the_server() {
    with_a_pane(|pane, server| pane == server);
}

fn panes_move_to_scopes() {
    with_a_pane(|pane, server| pane != server && pane.contains("/tmux-spawn-") && pane.ends_with(".scope"));
}

fn forge_is_installed() {
    run(&["test", "-x", "/usr/bin/forge"]).ok();
}
