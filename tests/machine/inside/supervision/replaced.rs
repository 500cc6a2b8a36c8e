//! systemd replaces a supervisor that was killed, hangs or is restarted; the next one adopts the session.

use crate::suite::{Test, inside};
use crate::support::{
    DropIn, Homebase, Supervised, configured, event_since, forge, journal_cursor, nothing_left_of, run,
    shell, signal, systemctl, wait_for, wait_until,
};
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(a_killed_supervisor_is_replaced_and_the_session_adopted),
        inside!(a_terminated_supervisor_is_replaced),
        inside!(a_hung_supervisor_is_replaced_and_the_session_adopted),
        inside!(an_upgraded_or_restarted_supervisor_adopts_the_session),
        inside!(units_stay_while_sessions_run_under_them),
        inside!(a_supervisor_killed_during_its_start_is_replaced).limit_s(240),
        inside!(a_session_survives_restarts_of_the_manager_and_the_bus).limit_s(240),
    ]
}

fn a_killed_supervisor_is_replaced_and_the_session_adopted() {
    let it = Supervised::spawn("kept", &[], &["sleep", "1000"]);
    let before = it.up();
    for round in 0..8 {
        let cursor = journal_cursor();
        let pid = it.pid();
        signal("KILL", pid);
        let adopted = event_since(&cursor, "adopted");
        assert_eq!(adopted["FORGE_SESSION"], "kept", "round {round}");
        let after = it.up();
        assert_eq!((&after["server_pid"], &after["pane_pid"]), (&before["server_pid"], &before["pane_pid"]));
        assert_ne!(it.pid(), pid);
    }
    // That does not count as a failure of the session.
    assert_eq!(it.service("NRestarts"), "0");
    signal("KILL", it.program());
    it.up_after(it.program());
}

fn a_hung_supervisor_is_replaced_and_the_session_adopted() {
    let _settings = DropIn::new("hung", "[Service]\nWatchdogSec=2s\nTimeoutAbortSec=1s\n");
    let it = Supervised::spawn("hung", &[], &["sleep", "1000"]);
    let (before, pid) = (it.up(), it.pid());
    // A healthy supervisor is left alone.
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(it.pid(), pid);
    let cursor = journal_cursor();
    signal("STOP", pid);
    event_since(&cursor, "adopted");
    let after = it.up();
    assert_eq!((&after["server_pid"], &after["pane_pid"]), (&before["server_pid"], &before["pane_pid"]));
    assert_ne!(it.pid(), pid);
}

fn an_upgraded_or_restarted_supervisor_adopts_the_session() {
    shell("cp /usr/bin/forge forge-copy && ./forge-copy units install").ok();
    let it = Supervised { name: "upgraded".into(), unit: "forge-spawn@upgraded.service".into() };
    shell("./forge-copy spawn upgraded --supervise -- sleep 1000").ok();
    let (before, pid) = (it.up(), it.pid());
    let cursor = journal_cursor();
    systemctl(&["restart", &it.unit]).ok();
    event_since(&cursor, "adopted");
    let after = it.up();
    assert_eq!((&after["server_pid"], &after["pane_pid"]), (&before["server_pid"], &before["pane_pid"]));
    assert_ne!(it.pid(), pid);
    // A new executable at the same path: the supervisor executes it in place.
    let pid = it.pid();
    let runs = || run(&["readlink", &format!("/proc/{pid}/exe")]).stdout.trim().to_owned();
    shell("cp /usr/bin/forge forge-new && mv forge-new forge-copy").ok();
    assert!(runs().ends_with("forge-copy (deleted)"), "{}", runs());
    systemctl(&["reload", &it.unit]).ok();
    wait_until(Duration::from_secs(10), "the new program", || runs().ends_with("/forge-copy"));
    assert_eq!(it.pid(), pid);
    assert_eq!(it.up()["pane_pid"], before["pane_pid"]);
    shell("forge units install && rm forge-copy").ok();
}

fn a_supervisor_killed_during_its_start_is_replaced() {
    let homebase = Homebase::start();
    let _settings = DropIn::new("cut", "[Unit]\nStartLimitIntervalSec=0\n");
    let _configuration = configured(
        "[sessions.cut]\ncommand = ['sh', '-c', 'sleep 0.05; echo up; exec sleep 1357']\nready = 'up'\n",
    );
    for delay in (0..200).step_by(10) {
        let it = Supervised::named("cut");
        systemctl(&["start", "--no-block", &it.unit]).ok();
        let pid =
            wait_for(Duration::from_secs(10), "the supervisor", || Some(it.pid()).filter(|pid| *pid > 0));
        std::thread::sleep(Duration::from_millis(delay));
        signal("KILL", pid);
        it.up();
        let programs = run(&["pgrep", "-c", "-x", "-f", "sleep 1357"]).stdout;
        assert_eq!(programs.trim(), "1", "killed after {delay} ms: one program alone");
        forge(&["stop", "cut"]).ok();
        nothing_left_of("cut");
    }
    homebase.untouched();
}

fn a_session_survives_restarts_of_the_manager_and_the_bus() {
    let homebase = Homebase::start();
    let _configuration = configured(
        "[sessions.meanwhile]\ncommand = ['sh', '-c', 'sleep 0.4; echo up; exec sleep 1358']\nready = 'up'\n",
    );
    for what in [
        "systemctl --user daemon-reload",
        "systemctl --user daemon-reexec",
        // This test is not about systemd's start limit.
        "systemctl --user reset-failed dbus.service dbus.socket; systemctl --user restart dbus.service",
    ] {
        // The kill hits several moments of the start, and the running session.
        for delay in ["0", "0.02", "0.05", "0.1", "0.3"] {
            let it = Supervised::named("meanwhile");
            systemctl(&["start", "--no-block", &it.unit]).ok();
            shell(&format!("sleep {delay}; {what}"));
            let up = it.up();
            let programs = run(&["pgrep", "-c", "-x", "-f", "sleep 1358"]).stdout;
            assert_eq!(programs.trim(), "1", "{what} after {delay} s: one program alone");
            let pid = it.pid();
            shell(what);
            std::thread::sleep(Duration::from_millis(300));
            let after = it.up();
            assert_eq!((&after["pane_pid"], it.pid()), (&up["pane_pid"], pid), "{what} while it runs");
            let cursor = journal_cursor();
            signal("KILL", it.program());
            event_since(&cursor, "crashed");
            it.up_after(u32::try_from(up["pane_pid"].as_u64().expect("a pid")).expect("a pid"));
            forge(&["stop", "meanwhile"]).ok();
            nothing_left_of("meanwhile");
        }
    }
    homebase.untouched();
}

fn a_terminated_supervisor_is_replaced() {
    let it = Supervised::spawn("asked", &[], &["sleep", "1000"]);
    let before = it.up();
    for name in ["TERM", "INT", "HUP"] {
        let (cursor, pid) = (journal_cursor(), it.pid());
        signal(name, pid);
        if name == "HUP" {
            // SIGHUP asks the supervisor to observe its session.
            std::thread::sleep(Duration::from_secs(1));
            assert_eq!(it.pid(), pid);
        } else {
            // Only a stop by systemd ends the session or leaves it without a supervisor.
            event_since(&cursor, "adopted");
        }
        assert_eq!(it.up()["pane_pid"], before["pane_pid"], "SIG{name}");
    }
    systemctl(&["kill", &it.unit]).ok();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(it.up()["pane_pid"], before["pane_pid"]);
    systemctl(&["stop", &it.unit]).ok();
    assert_eq!((it.service("ActiveState"), it.status()), ("inactive".into(), serde_json::Value::Null));
}

fn units_stay_while_sessions_run_under_them() {
    let it = Supervised::spawn("under", &[], &["sleep", "1000"]);
    let left = forge(&["units", "uninstall"]).code(1);
    assert!(left.stdout.contains("forge-spawn@.service: sessions run under it"), "{left}");
    let program = it.program();
    signal("KILL", program);
    it.up_after(program);
    forge(&["stop", "under"]).ok();
    forge(&["units", "uninstall"]).ok();
    assert!(
        forge(&["spawn", "under", "--supervise", "--", "sleep", "1"])
            .code(3)
            .stderr
            .contains("forge units install")
    );
    forge(&["units", "install"]).ok();
}
