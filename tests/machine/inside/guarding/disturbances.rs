//! The guard reports each disturbance of a unit, and nothing that is not one.

use super::{Production, guarded, nothing_left_of_guards, report};
use crate::suite::{Test, inside};
use crate::support::{
    TestFile, event_since, events_since, journal_cursor, run, signal, spawn, start, systemctl,
    user_unit_property, wait_until,
};
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(each_kind_of_restart_is_detected).limit_s(240),
        inside!(a_disturbance_is_reported_while_the_command_runs),
        inside!(none_of_two_hundred_restarts_is_missed).limit_s(600),
        inside!(a_cancelled_stop_is_not_a_disturbance),
        inside!(none_of_two_hundred_quiet_runs_is_reported_as_disturbed).limit_s(600),
        inside!(normal_unit_activity_is_not_a_disturbance),
        inside!(a_guard_survives_a_restart_of_the_bus).limit_s(240),
        inside!(a_guard_survives_daemon_reexec),
        inside!(many_guards_at_once),
        inside!(a_pending_job_delays_the_verdict),
    ]
}

/// Random numbers, different in each run; a failure prints the values in use.
struct Random(u64);

impl Random {
    fn new() -> Self {
        Self(u64::try_from(journal_cursor() % 1_000_000_007).expect("a number") | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        // Marsaglia's xorshift.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Shell commands that disturb a unit. The last two return before anything has happened.
const BOUNCES: [&str; 8] = [
    "systemctl --user restart web",
    "kill -9 $(systemctl --user show -P MainPID web)",
    "systemctl --user stop web; systemctl --user start web",
    "systemctl --user kill -s KILL web",
    "systemctl --user try-restart web",
    "busctl --user -q call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager RestartUnit ss web.service replace",
    "systemctl --user --no-block restart web",
    MAY_BE_CANCELLED,
];

/// A start replaces a stop that a busy manager has not begun.
const MAY_BE_CANCELLED: &str = "systemctl --user --no-block stop web; systemctl --user --no-block start web";

fn each_kind_of_restart_is_detected() {
    let web = Production::lasting("web");
    for bounce in BOUNCES {
        let (report, _) = (0..10)
            .map(|_| web.bounced_by(|| report(&web, bounce)))
            .find(|(_, bounced)| *bounced)
            .expect("a bounce");
        assert_eq!(
            (&report["verdict"], &report["exit_status"]),
            (&"disturbed".into(), &100.into()),
            "{bounce}"
        );
        assert_eq!(report["status"], 0, "{bounce}: the command's own end is reported too");
        let unit = &report["units"][0];
        assert_eq!((&unit["unit"], &unit["disturbed"]), (&"web.service".into(), &true.into()));
        assert_ne!(unit["before"]["invocation"], unit["after"]["invocation"], "{bounce}: {report}");
    }
    // A unit that stays down, one that fails, and one that only looks the same afterwards.
    let once = Production::start("once", "ExecStart=/bin/sleep 10000");
    for (line, change) in [
        ("systemctl --user stop once", "stopped"),
        ("kill -9 $(systemctl --user show -P MainPID once)", "failed"),
        ("systemctl --user stop once; systemctl --user start once", "restarted"),
    ] {
        systemctl(&["restart", "once"]).ok();
        let report = report(&once, line);
        assert_eq!(report["exit_status"], 100, "{line}");
        let changes: Vec<&str> = report["timeline"]
            .as_array()
            .expect("rows")
            .iter()
            .filter_map(|row| row["event"].as_str())
            .collect();
        // The guard may see quick steps as one.
        let stopped = ["stopping", "stopped", "restarted"];
        let seen = changes.iter().any(|seen| *seen == change || change != "failed" && stopped.contains(seen));
        assert!(seen, "{line}: {changes:?}");
    }
    // A main process that hands over to another process.
    let hand = Production::start(
        "hand",
        "Type=notify\nNotifyAccess=all\nExecStart=/bin/sh -c 'sleep 10000 & systemd-notify --ready; \
         while :; do sleep 0.1; [ -e /tmp/hand-over ] && systemd-notify MAINPID=$! && wait; done'",
    );
    let line = "touch /tmp/hand-over; sleep 1; rm /tmp/hand-over";
    let report = report(&hand, line);
    assert_eq!(report["exit_status"], 100, "{report}");
    assert!(report["timeline"].to_string().contains("main_process"), "{report}");
}

fn a_disturbance_is_reported_while_the_command_runs() {
    let web = Production::lasting("web");
    let (_session, _) = spawn("bystander", &[], &["sleep", "1000"]);
    let cursor = journal_cursor();
    let running = start(&["forge", "guard", "run", "--unit", "web", "--", "sleep", "1000"]);
    let begun = event_since(&cursor, "guard_started");
    let before = web.pid();
    signal("KILL", before);
    // The command has not ended yet.
    let reported = event_since(&cursor, "guard_disturbed");
    assert_eq!(
        (&reported["FORGE_UNIT"], &reported["FORGE_GUARD"]),
        (&"web.service".into(), &begun["FORGE_GUARD"])
    );
    assert_eq!(reported["FORGE_PID_BEFORE"], before.to_string());
    assert_eq!(reported["FORGE_SESSIONS"], "bystander");
    assert_eq!(reported["FORGE_COMMANDS"], begun["FORGE_GUARD"]);
    // The record is also in the unit's journal.
    assert!(
        crate::support::journal(&["--user-unit", "web"])
            .iter()
            .any(|entry| entry["FORGE_EVENT"] == "guard_disturbed")
    );
    let scope = format!("forge-guard-{}.scope", begun["FORGE_GUARD"].as_str().expect("an id"));
    systemctl(&["kill", "-s", "TERM", &scope]).ok();
    let ran = running.wait(Duration::from_secs(30)).code(100);
    assert!(ran.stderr.starts_with("forge: web.service "), "{ran}");
    assert_eq!(event_since(&cursor, "guard_finished")["FORGE_VERDICT"], "disturbed");
}

fn none_of_two_hundred_restarts_is_missed() {
    let web = Production::lasting("web");
    let mut random = Random::new();
    let (mut missed, mut bounces) = (Vec::new(), 0);
    while bounces < 200 {
        let bounce = BOUNCES[usize::try_from(random.below(8)).expect("an index")];
        // One third of the restarts falls on the command's first millisecond, one third on its last.
        let mut pause = |is_none: bool| if is_none { 0 } else { random.below(150) };
        let (before, after) = (pause(bounces % 3 == 0), pause(bounces % 3 == 1));
        let line = format!("sleep 0.{before:03}; {bounce}; exec sleep 0.{after:03}");
        let line = if after == 0 { format!("sleep 0.{before:03}; {bounce}") } else { line };
        let line = if before == 0 { line.replace("sleep 0.000; ", "") } else { line };
        let (ran, bounced) = web.bounced_by(|| guarded(&web, &[], &["sh", "-c", &line]));
        if bounced && ran.code != 100 {
            missed.push(format!("{line}\n{ran}"));
        }
        assert!(bounced || MAY_BE_CANCELLED == bounce && ran.code == 0, "nothing happened: {line}\n{ran}");
        bounces += u32::from(bounced);
    }
    assert!(missed.is_empty(), "{} of 200 were missed:\n{}", missed.len(), missed.join("\n"));
}

fn a_cancelled_stop_is_not_a_disturbance() {
    let web = Production::lasting("web");
    let manager =
        run(&["systemctl", "show", "-P", "MainPID", &format!("user@{}.service", nix::unistd::getuid())]);
    let manager = manager.stdout.trim();
    let line = format!(
        "kill -STOP {manager}; systemctl --user --no-block stop web & sleep 0.2; \
         systemctl --user --no-block start web & sleep 0.2; kill -CONT {manager}; wait; \
         systemctl --user start web"
    );
    let mut kinds = [0, 0];
    // The order in which the manager reads the two is random.
    for _ in 0..20 {
        let (ran, bounced) = web.bounced_by(|| guarded(&web, &[], &["sh", "-c", &line]));
        assert_eq!(ran.code, if bounced { 100 } else { 0 }, "bounced: {bounced}\n{ran}");
        kinds[usize::from(bounced)] += 1;
    }
    assert!(kinds[0] > 0, "no stop was cancelled");
}

fn none_of_two_hundred_quiet_runs_is_reported_as_disturbed() {
    let _web = Production::lasting("web");
    let _notify = Production::start("quiet", "Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true");
    let _fails = TestFile::new(".config/systemd/user/fails.service", "[Service]\nExecStart=/bin/false\n");
    let _other = Production::lasting("other");
    systemctl(&["daemon-reload"]).ok();
    // Unrelated activity of other units.
    let mut noise = start(&[
        "sh",
        "-c",
        "while :; do systemctl --user daemon-reload; systemctl --user start fails; \
         systemctl --user restart other; systemctl --user reset-failed fails; sleep 0.2; done",
    ]);
    let mut alarms = Vec::new();
    for round in 0..50 {
        // Four at a time.
        let runs: Vec<_> = (0..4)
            .map(|at| {
                let pause = format!("0.{:03}", (round * 37 + at * 11) % 200);
                start(&["forge", "guard", "run", "--unit", "web", "--unit", "quiet", "--", "sleep", &pause])
            })
            .collect();
        for run in runs {
            let ran = run.wait(Duration::from_secs(60));
            if ran.code != 0 || ran.stderr.lines().count() != 1 {
                alarms.push(ran.to_string());
            }
        }
    }
    assert!(noise.running(), "the noise went on to the end");
    noise.kill();
    systemctl(&["reset-failed"]);
    assert!(alarms.is_empty(), "{} false alarms:\n{}", alarms.len(), alarms.join("\n"));
    nothing_left_of_guards();
}

fn normal_unit_activity_is_not_a_disturbance() {
    // A job like that of a timer, which does its work and exits.
    let job = Production::start("job", "Type=oneshot\nExecStart=/bin/sleep 0.1");
    let report = report(&job, "systemctl --user start job; sleep 0.3");
    assert_eq!(report["exit_status"], 0, "{report}");
    let mut events =
        report["timeline"].as_array().expect("rows").iter().filter_map(|row| row["event"].as_str());
    assert!(events.any(|event| event == "done"), "{report}");
    // A job that fails is a disturbance.
    let bad = Production::start("bad", "Type=oneshot\nExecStart=/bin/sh -c '! test -e /tmp/bad'");
    let failing = "touch /tmp/bad; systemctl --user start bad; rm /tmp/bad";
    assert_eq!(self::report(&bad, failing)["exit_status"], 100);
    assert_eq!(self::report(&bad, "true")["exit_status"], 0, "that it had failed before is not news");
    // A service that reloads its configuration.
    let reloads = Production::start("reloads", "ExecStart=/bin/sleep 10000\nExecReload=/bin/sleep 0.2");
    let report = self::report(&reloads, "systemctl --user reload reloads");
    assert_eq!(report["exit_status"], 0, "{report}");
    // A unit that was down and is started.
    let late = Production::start("late", "ExecStart=/bin/sleep 10000");
    systemctl(&["stop", "late"]).ok();
    assert_eq!(self::report(&late, "systemctl --user start late")["exit_status"], 0);
    // A frozen service is disturbed: it serves nobody.
    let still = Production::start("still", "ExecStart=/bin/sleep 10000");
    for line in [
        "systemctl --user freeze still; sleep 1; systemctl --user thaw still",
        "systemctl --user freeze still",
    ] {
        let report = self::report(&still, line);
        assert_eq!(report["exit_status"], 100, "{line}: {report}");
        assert!(report["timeline"].to_string().contains("\"frozen\""), "{report}");
    }
    systemctl(&["thaw", "still"]).ok();
    // A job with an ExecStopPost=.
    let post = Production::start("post", "Type=oneshot\nExecStart=/bin/true\nExecStopPost=/bin/sleep 0.3");
    assert_eq!(self::report(&post, "systemctl --user start post; sleep 0.5")["exit_status"], 0);
}

fn a_guard_survives_a_restart_of_the_bus() {
    let web = Production::lasting("web");
    let bus = user_unit_property("dbus.service", "MainPID");
    // A restart of the bus alone is not a disturbance; a restart of the unit meanwhile is.
    let quiet = format!("kill -9 {bus}; sleep 1");
    let report = report(&web, &quiet);
    assert_eq!(report["exit_status"], 0, "{report}");
    assert!(report["timeline"].to_string().contains("\"away\""), "{report}");
    systemctl(&["is-active", "dbus.service"]).ok();
    web.is_up();
    // systemctl does not need the bus.
    let bounced = format!(
        "systemctl --user stop dbus.socket dbus.service; kill -9 {}; sleep 1; systemctl --user start dbus.socket",
        web.pid()
    );
    let report = self::report(&web, &bounced);
    assert_eq!(report["exit_status"], 100, "{report}");
    assert_eq!(report["units"][0]["after"]["restarts"], 1, "{report}");
    // A bus that is stopped for a while.
    web.is_up();
    let (bus, pid) = (user_unit_property("dbus.service", "MainPID"), web.pid());
    for (line, status) in [("true".to_owned(), 0), (format!("kill -9 {pid}"), 100)] {
        let line = format!("(sleep 2; kill -CONT {bus}) & kill -STOP {bus}; {line}; sleep 0.5");
        let ran = guarded(&web, &["--leave-children"], &["sh", "-c", &line]);
        assert_eq!(ran.code, status, "{ran}");
    }
}

fn a_guard_survives_daemon_reexec() {
    let web = Production::lasting("web");
    for what in ["daemon-reload", "daemon-reexec"] {
        let quiet = report(&web, &format!("sleep 0.1; systemctl --user {what}; sleep 0.1"));
        assert_eq!(quiet["exit_status"], 0, "{what}: {quiet}");
        for line in [
            format!("systemctl --user {what} & until systemctl --user restart web; do sleep 0.1; done; wait"),
            format!("systemctl --user restart web; systemctl --user {what}"),
            format!("P=$(systemctl --user show -P MainPID web); systemctl --user {what} & kill -9 $P; wait"),
        ] {
            web.is_up();
            let bounced = report(&web, &line);
            assert_eq!(bounced["exit_status"], 100, "{line}: {bounced}");
        }
    }
}

fn many_guards_at_once() {
    let web = Production::lasting("web");
    let runs: Vec<_> =
        (0..20).map(|_| start(&["forge", "guard", "run", "--unit", &web.unit, "--", "sleep", "3"])).collect();
    let runs: Vec<_> = runs.into_iter().map(|run| run.wait(Duration::from_secs(60)).code(0)).collect();
    assert_eq!(runs.len(), 20);
    // All guards report the disturbance of one unit.
    let cursor = journal_cursor();
    let runs: Vec<_> =
        (0..20).map(|_| start(&["forge", "guard", "run", "--unit", &web.unit, "--", "sleep", "8"])).collect();
    wait_until(Duration::from_secs(20), "all to begin", || {
        events_since(&cursor).iter().filter(|event| event["FORGE_EVENT"] == "guard_started").count() == 20
    });
    signal("KILL", web.pid());
    for run in runs {
        run.wait(Duration::from_secs(60)).code(100);
    }
    nothing_left_of_guards();
}

fn a_pending_job_delays_the_verdict() {
    let web = Production::lasting("web");
    // This unit must stop first, which takes long.
    let _slow = Production::start(
        "slow",
        "ExecStart=/bin/sleep 10000\nExecStop=/bin/sleep 20\n[Unit]\nAfter=web.service\nBindsTo=web.service",
    );
    let ran = guarded(&web, &[], &["systemctl", "--user", "--no-block", "stop", "web"]).code(100);
    assert!(ran.stderr.contains("systemd still has a job for web.service"), "{ran}");
    systemctl(&["kill", "-s", "KILL", "slow"]);
    // A unit that goes down before the command begins was not disturbed by the command.
    let stops = Production::start("stops", "ExecStart=/bin/sleep 10000\nExecStop=/bin/sleep 1");
    systemctl(&["--no-block", "restart", &stops.unit]).ok();
    guarded(&stops, &[], &["sleep", "2"]).code(0);
}
