//! A guard in a session, in another guard, and around a tmux server.

use super::{Production, guarded, nothing_left_of_guards};
use crate::suite::{Test, inside};
use crate::support::{alive, cgroup_of, event_since, forge, journal_cursor, shell, spawn, wait_for};
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(a_guard_in_a_session_stays_in_it),
        inside!(a_guard_in_a_guard_stays_in_it),
        inside!(panes_of_a_guarded_tmux_are_guarded),
    ]
}

fn a_guard_in_a_session_stays_in_it() {
    let _web = Production::lasting("web");
    let cursor = journal_cursor();
    let line = "forge guard run --unit web -- sh -c 'trap \"\" TERM HUP; setsid sleep 2004 & sleep 2004'";
    let (_session, _) = spawn("outer", &["--memory-max", "500M"], &["sh", "-c", line]);
    let id = event_since(&cursor, "guard_started")["FORGE_GUARD"].as_str().expect("an id").to_owned();
    let pid = wait_for(Duration::from_secs(20), "the command", || {
        shell("pgrep -f '^sleep 2004'").stdout.lines().next()?.parse().ok()
    });
    let group = cgroup_of(pid);
    assert!(group.contains(&format!("/forge-outer.slice/forge-outer-{id}.slice/")), "{group}");
    // The session's freezer applies to the guarded command.
    forge(&["freeze", "outer"]).ok();
    let events = std::fs::read_to_string(format!("/sys/fs/cgroup{group}/cgroup.events")).expect("its events");
    assert!(events.contains("frozen 1"), "{events}");
    forge(&["stop", "--timeout", "1", "outer"]).ok();
    assert!(!alive(pid), "it ended with its session");
    nothing_left_of_guards();
    crate::support::nothing_left_of("outer");
}

fn a_guard_in_a_guard_stays_in_it() {
    let web = Production::lasting("web");
    let inner =
        "forge guard run -- sh -c 'trap \"\" TERM; sleep 2005 & sleep 2005' & sleep 1; kill -9 $!; sleep 0.2";
    let ran = guarded(&web, &["--memory-max", "500M"], &["sh", "-c", inner]);
    assert_eq!(ran.code, 0, "{ran}");
    assert_eq!(shell("pgrep -c -f '^sleep 2005'").stdout.trim(), "0", "all of it ended");
    nothing_left_of_guards();
}

fn panes_of_a_guarded_tmux_are_guarded() {
    let web = Production::lasting("web");
    let line = "tmux -L guarded new -d 'trap \"\" HUP TERM; nohup sleep 2006'; sleep 1";
    guarded(&web, &[], &["sh", "-c", line]).code(0);
    assert_eq!(shell("pgrep -c -f '^sleep 2006'").stdout.trim(), "0", "the pane ended");
    nothing_left_of_guards();
    let _ = std::fs::remove_file(crate::support::socket("guarded"));
}
