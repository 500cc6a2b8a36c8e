//! Enters a running machine: its namespaces, its cgroups, a login.

use crate::host;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Joins cgroups, then executes the command after `--`. nsenter enters only the namespace of cgroups; the
/// machine's systemd could not move a process outside its own tree.
pub(crate) const JOIN: &str = r#"while [ "$1" != -- ]; do echo $$ >"$1"; shift; done; shift; exec "$@""#;

/// A command that runs `argv` in the machine whose PID 1 is `leader`.
pub(crate) fn command(leader: u32, user: &str, argv: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command
        .env_clear()
        .envs(kept_environment())
        .args(["-c", JOIN, "join"])
        .args(joinable(leader))
        .args(["--", "nsenter", "-t", &leader.to_string()])
        // -r: if the harness itself is in a chroot, the root of the mount namespace is not the root of the
        // machine.
        .args(["-m", "-u", "-i", "-n", "-p", "-C", "-r", "--"]);
    command.args(login(user, argv));
    command
}

/// The command line that runs `argv` as this user.
pub(crate) fn login<'a>(user: &'a str, argv: &[&'a str]) -> Vec<&'a str> {
    let before: &[&str] = if user == "root" {
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        &["env", "HOME=/root", "LANG=C.UTF-8", "SYSTEMD_PAGER=", path]
    } else {
        // A login as by ssh: PAM creates the session, its scope and its environment.
        &["runuser", "-l", "-c", r#"exec env LANG=C.UTF-8 "$@""#, "--", user, "sh"]
    };
    [before, argv].concat()
}

/// The machine's PID 1 below this systemd-nspawn, once it is systemd.
pub(crate) fn leader_of(nspawn: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children")).ok()?;
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(|pid| {
        let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        read("comm") == "systemd\n"
            && read("status").lines().any(|line| line.starts_with("NSpid:") && line.ends_with("\t1"))
    })
}

/// The `cgroup.procs` of the cgroups that PID 1 is in.
fn joinable(leader: u32) -> Vec<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{leader}/cgroup")).unwrap_or_default();
    let path_of = |start: &str| {
        let line =
            text.lines().find_map(|line| line.split_once(':').filter(|(_, rest)| rest.starts_with(start)));
        line.map(|(_, rest)| rest[start.len()..].trim_start_matches('/').to_owned())
    };
    host::cgroup_roots()
        .iter()
        .filter_map(|root| {
            let start = if root.ends_with("systemd") { "name=systemd:" } else { ":" };
            path_of(start).map(|path| root.join(path).join("cgroup.procs"))
        })
        .collect()
}

/// The terminal's type is the only variable that a machine gets from the host's environment.
fn kept_environment() -> impl Iterator<Item = (&'static str, std::ffi::OsString)> {
    ["PATH", "TERM"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)))
}
