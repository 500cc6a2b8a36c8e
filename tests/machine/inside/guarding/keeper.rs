//! The keeper cleans up after a guard that was killed or stopped.

use super::{Production, guarded, nothing_left_of_guards, pid_of, running};
use crate::suite::{Test, inside};
use crate::support::{
    event_since, journal_cursor, processes_in, shell, signal, start, systemctl, user_unit_property, wait_for,
    wait_until,
};
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(a_guard_that_is_killed_leaves_nothing),
        inside!(a_keeper_that_is_killed_comes_back),
        inside!(the_keeper_thaws_the_command_of_a_stopped_guard).limit_s(240),
        inside!(a_command_that_leaves_its_cgroup_is_reported),
    ]
}

fn a_guard_that_is_killed_leaves_nothing() {
    let _web = Production::lasting("web");
    for frozen in [false, true] {
        let line = "setsid sleep 2001 & trap '' TERM HUP INT; while :; do sleep 0.1; done";
        let (running, id, group) = running(&["--unit", "web"], &["sh", "-c", line]);
        let cursor = journal_cursor();
        if frozen {
            systemctl(&["freeze", &format!("forge-guard-{id}.scope")]).ok();
        }
        assert!(!processes_in(&group).is_empty());
        signal("KILL", pid_of(&id));
        running.wait(Duration::from_secs(20)).code(137);
        wait_until(Duration::from_secs(30), "the command to be ended", || processes_in(&group).is_empty());
        if frozen {
            assert_eq!(event_since(&cursor, "thawed")["FORGE_GUARD"], id);
        }
        nothing_left_of_guards();
    }
    // With --leave-children the keeper thaws the processes and leaves them.
    let (running, id, group) = running(&["--unit", "web", "--leave-children"], &["sleep", "1000"]);
    systemctl(&["freeze", &format!("forge-guard-{id}.scope")]).ok();
    signal("KILL", pid_of(&id));
    running.wait(Duration::from_secs(20)).code(137);
    let frozen =
        || std::fs::read_to_string(format!("/sys/fs/cgroup{group}/cgroup.events")).unwrap_or_default();
    wait_until(Duration::from_secs(30), "the command to be thawed", || frozen().contains("frozen 0"));
    let left = processes_in(&group);
    assert_eq!(left.len(), 1);
    signal("KILL", left[0]);
    nothing_left_of_guards();
}

fn a_keeper_that_is_killed_comes_back() {
    let _web = Production::lasting("web");
    let (running, id, group) = running(&["--unit", "web"], &["sleep", "1000"]);
    let keeper = format!("forge-guard-{id}.service");
    for _ in 0..8 {
        let pid = wait_for(Duration::from_secs(20), "the keeper", || {
            user_unit_property(&keeper, "MainPID").parse::<u32>().ok().filter(|pid| *pid != 0)
        });
        signal("KILL", pid);
        wait_until(Duration::from_secs(20), "another keeper", || {
            user_unit_property(&keeper, "MainPID").parse::<u32>().is_ok_and(|next| next != 0 && next != pid)
        });
        assert_eq!(processes_in(&group).len(), 1, "the command runs on");
    }
    signal("KILL", pid_of(&id));
    running.wait(Duration::from_secs(20)).code(137);
    wait_until(Duration::from_secs(30), "the command to be ended", || processes_in(&group).is_empty());
    nothing_left_of_guards();
}

fn the_keeper_thaws_the_command_of_a_stopped_guard() {
    let _web = Production::lasting("web");
    let (running, id, group) = running(&["--unit", "web"], &["sleep", "1000"]);
    systemctl(&["freeze", &format!("forge-guard-{id}.slice")]).ok();
    signal("STOP", pid_of(&id));
    let events =
        || std::fs::read_to_string(format!("/sys/fs/cgroup{group}/cgroup.events")).unwrap_or_default();
    assert!(events().contains("frozen 1"));
    wait_until(Duration::from_secs(120), "its keeper to thaw it", || events().contains("frozen 0"));
    signal("CONT", pid_of(&id));
    signal("TERM", pid_of(&id));
    running.wait(Duration::from_secs(20)).code(143);
}

fn a_command_that_leaves_its_cgroup_is_reported() {
    let web = Production::lasting("web");
    let away = "G=/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/away; mkdir -p $G; echo $$ > $G/cgroup.procs; exec sleep 2";
    let ran = guarded(&web, &[], &["sh", "-c", away]).code(0);
    assert!(ran.stderr.contains("has moved to the control group"), "{ran}");
    // The moved command does not outlive its guard.
    let cursor = journal_cursor();
    let running = start(&[
        "forge",
        "guard",
        "run",
        "--unit",
        "web",
        "--",
        "sh",
        "-c",
        &away.replace("sleep 2", "sleep 2007"),
    ]);
    let id = event_since(&cursor, "guard_started")["FORGE_GUARD"].as_str().expect("an id").to_owned();
    wait_until(Duration::from_secs(20), "the move", || {
        shell("pgrep -c -f '^sleep 2007'").stdout.trim() == "1"
    });
    signal("KILL", pid_of(&id));
    running.wait(Duration::from_secs(20)).code(137);
    wait_until(Duration::from_secs(30), "its end", || {
        shell("pgrep -c -f '^sleep 2007'").stdout.trim() == "0"
    });
    nothing_left_of_guards();
}
