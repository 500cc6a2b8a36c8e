//! Restarts by forge, by systemd and by hand.

use crate::suite::{Test, inside};
use crate::support::{
    DropIn, Supervised, alive, configured, event_since, events_since, forge, forge_json, journal_cursor,
    nothing_left_of, run, shell, signal, spawn, start, systemctl, wait_until,
};
use serde_json::Value;
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(sessions_restart_after_reset_failed),
        inside!(manual_restarts_do_not_count_for_the_breaker),
        inside!(a_failed_restart_keeps_the_specification),
        inside!(a_restart_says_whether_it_resumed),
        inside!(a_missing_or_broken_record_is_survived),
        inside!(stop_and_restart_act_through_the_supervisor),
        inside!(the_kernel_kills_the_program_first_when_out_of_memory),
    ]
}

fn stop_and_restart_act_through_the_supervisor() {
    let it = Supervised::spawn("managed", &[], &["sleep", "1000"]);
    let before = it.program();
    let cursor = journal_cursor();
    forge(&["restart", "managed"]).ok();
    assert_eq!(event_since(&cursor, "restarted")["FORGE_WHY"], "a request");
    it.up_after(before);
    assert!(events_since(&cursor).iter().all(|event| event["FORGE_EVENT"] != "crashed"));
    let cursor = journal_cursor();
    let stopped = forge_json(&["stop", "managed"]);
    assert_eq!(stopped["stopped"][0]["processes"], 2, "{stopped}");
    assert_eq!(it.service("ActiveState"), "inactive");
    let events: Vec<String> =
        events_since(&cursor).iter().map(|event| event["FORGE_EVENT"].to_string()).collect();
    assert_eq!(events, ["\"stopped\""]);
    nothing_left_of("managed");
    // forge waits for the next try.
    let _settings = DropIn::new("managed", "[Service]\nRestartSec=10min\nRestartMaxDelaySec=20min\n");
    let it = Supervised::spawn("managed", &[], &["sleep", "1000"]);
    signal("KILL", it.program());
    wait_until(Duration::from_secs(5), "the pause", || it.service("SubState") == "auto-restart");
    assert_eq!(forge_json(&["list"])["sessions"][0]["state"], "starting");
    forge(&["stop", "managed"]).ok();
    assert_eq!(it.service("ActiveState"), "inactive");
    nothing_left_of("managed");
}

fn the_kernel_kills_the_program_first_when_out_of_memory() {
    let score = |pid: u32| -> i32 {
        let text = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).expect("a score");
        text.trim().parse().expect("a number")
    };
    let it = Supervised::spawn("frugal", &[], &["sh", "-c", "sleep 1000 & wait"]);
    it.up();
    assert!(score(it.program()) > score(it.server()), "{} {}", score(it.program()), score(it.server()));
    assert!(score(it.program()) > score(it.pid()));
    let child = run(&["pgrep", "-P", &it.program().to_string()]).ok().stdout;
    assert_eq!(score(child.trim().parse().expect("a pid")), score(it.program()), "what it starts, too");
    // The same without a supervisor. Where a restart would end the server, it does not happen.
    let (_session, plain) = spawn("plain", &[], &["sleep", "1000"]);
    let pid = |key: &str| u32::try_from(plain[key].as_u64().expect("a pid")).expect("a pid");
    assert!(score(pid("pane_pid")) > score(pid("server_pid")));
    assert!(alive(pid("server_pid")));
    for scope in ["forge-spawn-frugal.scope", "forge-spawn-plain.scope"] {
        assert_eq!(crate::support::user_unit_property(scope, "OOMPolicy"), "continue");
    }
}

fn sessions_restart_after_reset_failed() {
    // reset-failed runs between the end of a supervisor and the start of the next.
    let _settings = DropIn::new("reset", "[Service]\nRestartSec=50ms\nExecStopPost=sleep 1\n");
    let it = Supervised::spawn("reset", &[], &["sleep", "1000"]);
    let before = it.up();
    let reset = || {
        wait_until(Duration::from_secs(10), "the end", || it.service("SubState") == "stop-post");
        systemctl(&["reset-failed"]).ok();
    };
    signal("KILL", it.pid());
    reset();
    wait_until(Duration::from_secs(20), "the next", || it.service("SubState") != "stop-post");
    assert_eq!(it.up()["pane_pid"], before["pane_pid"]);
    let program = it.program();
    signal("KILL", program);
    reset();
    it.up_after(program);
}

fn manual_restarts_do_not_count_for_the_breaker() {
    let it = Supervised::spawn("often", &[], &["sleep", "1000"]);
    let before = it.up();
    for _ in 0..8 {
        systemctl(&["restart", &it.unit]).ok();
        assert_eq!(it.up()["pane_pid"], before["pane_pid"]);
    }
    for _ in 0..3 {
        let program = it.program();
        signal("KILL", program);
        it.up_after(program);
    }
}

fn a_failed_restart_keeps_the_specification() {
    let it = Supervised::spawn("kept", &["--port", "7899"], &["sleep", "1000"]);
    it.up();
    let listener = start(&[
        "python3",
        "-c",
        "import socket,time\ns=socket.create_server((\"\",7899))\ntime.sleep(1000)",
    ]);
    wait_until(Duration::from_secs(10), "the listener", || shell("ss -ltn | grep -q :7899").code == 0);
    let refused = forge(&["--json", "restart", "kept"]).code(1).json();
    assert_eq!(refused["error"]["kind"], "port", "{refused}");
    let kept = std::fs::read_to_string(".local/state/forge/sessions/kept.json").expect("its file");
    assert!(kept.contains("\"over\": false"), "after a boot it is tried again: {kept}");
    drop(listener);
    shell("pkill -f create_server");
    it.up();
}

fn a_restart_says_whether_it_resumed() {
    let session = |id: &str| {
        format!(
            "[sessions.talks]\ncommand = 'sleep 1000'\nresume = ['sleep', '{{resume_id}}']\nresume_id = '{id}'\n"
        )
    };
    for (id, resumed, fresh) in
        [("claude", None, Some("forge does not know its conversation")), ("2000", Some("2000"), None)]
    {
        let _configuration = configured(&session(id));
        let it = Supervised::named("talks");
        let spawned = forge_json(&["spawn", "talks", "--supervise"]);
        assert_eq!((&spawned["resumed"], &spawned["fresh"]), (&Value::Null, &Value::Null), "the first start");
        let says = |resumed_id: &Value, why: &Value| {
            assert_eq!(resumed_id.as_str(), resumed, "{why}");
            let why = why.as_str();
            assert!(
                why.is_some() == fresh.is_some() && why.unwrap_or("").starts_with(fresh.unwrap_or("")),
                "{why:?}"
            );
        };
        let cursor = journal_cursor();
        signal("KILL", it.program());
        for kind in ["spawned", "restarted"] {
            let event = event_since(&cursor, kind);
            says(&event["FORGE_RESUME_ID"], &event["FORGE_FRESH"]);
            let words =
                if fresh.is_some() { ", started without resuming: forge" } else { ", resumed with 2000" };
            assert!(event["MESSAGE"].as_str().expect("a text").contains(words), "{event}");
        }
        it.up();
        let restarted = forge_json(&["restart", "talks"])["restarted"][0].clone();
        says(&restarted["resumed"], &restarted["fresh"]);
    }
}

fn a_missing_or_broken_record_is_survived() {
    let file = ".local/state/forge/sessions/filed.json";
    let it = Supervised::spawn("filed", &[], &["sleep", "1000"]);
    let before = it.up();
    shell(&format!("echo half > {file}")).ok();
    let cursor = journal_cursor();
    signal("KILL", it.pid());
    event_since(&cursor, "adopted");
    assert_eq!(it.up()["pane_pid"], before["pane_pid"]);
    // The specification is lost, so the session is not started again; forge reports and clears it.
    std::fs::remove_file(file).expect("its removal");
    let cursor = journal_cursor();
    signal("KILL", it.program());
    event_since(&cursor, "crashed");
    it.becomes("failed");
    nothing_left_of("filed");
}
