//! A supervisor at work: reload, poke, and what it costs at rest.

use crate::suite::{Test, inside};
use crate::support::{
    DropIn, Supervised, configured, event_since, forge, journal_cursor, run, signal, spawn, systemctl,
    wait_until,
};
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(a_reload_reads_the_configuration_and_looks),
        inside!(a_poke_looks_at_once),
        inside!(an_idle_supervisor_sleeps_and_stays_small),
    ]
}

fn a_reload_reads_the_configuration_and_looks() {
    let text = |restart: &str| format!("[sessions.tuned]\ncommand = 'sleep 1000'\nrestart = '{restart}'\n");
    let configuration = configured(&text("on-failure"));
    let it = Supervised::start("tuned");
    let before = it.up();
    drop(configuration);
    let broken = configured("[sessions.tuned]\nrestart = 'perhaps'\n");
    assert_ne!(systemctl(&["reload", &it.unit]).code, 0, "a mistake is reported");
    assert_eq!(it.service("ActiveState"), "active");
    drop(broken);
    let _configuration = configured(&text("never"));
    systemctl(&["reload", &it.unit]).ok();
    let after = it.up();
    assert_eq!(after["pane_pid"], before["pane_pid"]);
    let cursor = journal_cursor();
    signal("KILL", it.program());
    event_since(&cursor, "crashed");
    it.becomes("failed");
    assert_eq!(it.service("NRestarts"), "0", "restart = never is known");
}

fn a_poke_looks_at_once() {
    let it = Supervised::spawn("poked", &[], &["sleep", "1000"]);
    let (before, pid) = (it.up(), it.pid());
    let socket = before["socket"].as_str().expect("a socket").to_owned();
    std::fs::remove_file(&socket).expect("its removal");
    let cursor = journal_cursor();
    forge(&["poke", "poked"]).ok();
    assert_eq!(event_since(&cursor, "socket_healed")["FORGE_SOCKET"], socket);
    let after = it.up();
    assert_eq!((&after["pane_pid"], it.pid()), (&before["pane_pid"], pid));
    // During the pause before a restart, a poke starts the session at once.
    let _settings = DropIn::new("poked", "[Service]\nRestartSec=10min\nRestartMaxDelaySec=20min\n");
    signal("KILL", it.program());
    wait_until(Duration::from_secs(5), "the pause", || it.service("SubState") == "auto-restart");
    assert_eq!(it.status()["state"], "starting");
    forge(&["poke", "poked"]).ok();
    it.up();
    let (_plain, _) = spawn("plain", &[], &["sleep", "1000"]);
    let refused = forge(&["poke", "plain"]).code(1);
    assert!(
        refused.stderr.contains("has no supervisor") && refused.stderr.contains("start forge-spawn@plain"),
        "{refused}"
    );
    forge(&["poke", "nobody"]).code(1);
}

fn an_idle_supervisor_sleeps_and_stays_small() {
    let it = Supervised::spawn("quiet", &[], &["sleep", "1000"]);
    it.up();
    let read = |key: &str| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", it.pid())).expect("its status");
        let line = status.lines().find(|line| line.starts_with(key)).expect(key).to_owned();
        line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("a number")
    };
    wait_until(Duration::from_secs(5), "it to be at rest", || {
        run(&["pgrep", "-f", "forge supervise --watch quiet"]).code == 0
    });
    std::thread::sleep(Duration::from_millis(500));
    let before = read("voluntary_ctxt_switches");
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!(read("voluntary_ctxt_switches"), before, "it woke up");
    assert_eq!(read("Threads"), 1);
    assert!(read("RssAnon") < 4096, "{} KiB", read("RssAnon"));
}
