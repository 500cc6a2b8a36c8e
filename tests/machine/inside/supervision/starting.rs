//! `systemctl start` and `forge spawn --supervise`: starting and adopting a session.

use super::nothing_left_of_but_the_file;
use crate::suite::{Test, inside};
use crate::support::{
    DropIn, Homebase, Session, Supervised, cgroup_of, configured, dead_socket, event_since, events_since,
    forge, forge_json, journal, journal_cursor, nothing_left_of, run, shell, signal, socket, spawn, start,
    systemctl, wait_until,
};
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(a_start_returns_when_the_session_is_ready),
        inside!(a_failed_start_reports_the_reason),
        inside!(a_failed_start_says_why_everywhere).limit_s(120),
        inside!(an_unconfigured_session_is_a_shell),
        inside!(a_session_that_runs_already_is_adopted),
        inside!(panes_opened_by_a_user_survive_a_start),
        inside!(there_is_one_supervisor_and_systemd_starts_it),
        inside!(spawn_supervised_prints_what_spawn_prints),
        inside!(two_simultaneous_starts_make_one_session),
        inside!(a_refused_spawn_does_not_disturb_a_start),
        inside!(fifty_at_once_take_turns).limit_s(240),
    ]
}

fn a_start_returns_when_the_session_is_ready() {
    let _configuration = configured(
        "[sessions.web]\ncommand = ['sh', '-c', 'sleep 1; echo listening; exec sleep 1000']\nready = 'listening'\n",
    );
    let cursor = journal_cursor();
    let web = Supervised::start("web");
    assert!(forge(&["capture", "web"]).ok().stdout.contains("listening"), "it is ready by then");
    let status = web.status();
    assert_eq!((status["state"].as_str(), status["supervised"].as_bool()), (Some("running"), Some(true)));
    let reported = web.service("StatusText");
    let program = web.program();
    assert!(reported.starts_with(&format!("running: sh is process {program}, up since 20")), "{reported}");
    // The supervisor runs beside the session, not inside it.
    assert!(cgroup_of(web.pid()).ends_with("/forge-spawn@web.service"));
    assert!(cgroup_of(program).contains("/forge.slice/forge-web.slice/"));
    assert_eq!(event_since(&cursor, "ready")["FORGE_SESSION"], "web");
    let own = journal(&["-u", &web.unit, "FORGE_EVENT=spawned"]);
    assert!(!own.is_empty(), "journalctl --user -u {} shows it", web.unit);
    assert!(forge(&["units", "verify"]).ok().stdout.contains("no cycle"));
}

fn a_failed_start_reports_the_reason() {
    let _configuration = configured(
        "[sessions.gone]\ncommand = 'nosuchprogram'\n[sessions.mute]\ncommand = ['sh', '-c', 'echo hello; sleep 60']\n\
         ready = 'never'\nready_timeout = 1\n[sessions.lost]\ncommand = 'sleep 1'\ncwd = '/nowhere'\n",
    );
    for (name, why) in
        [("gone", "cannot run 'nosuchprogram'"), ("mute", "the prompt never appeared"), ("lost", "/nowhere")]
    {
        let cursor = journal_cursor();
        let it = Supervised::named(name);
        assert_ne!(systemctl(&["start", &it.unit]).code, 0, "{name}");
        assert!(it.service("StatusText").contains(why), "{}", it.service("StatusText"));
        let failed = event_since(&cursor, "spawn_failed");
        assert!(failed["FORGE_ERROR"].as_str().expect("an error").contains(why), "{failed}");
        // The manager tries again; the user may wait for that or cancel it.
        assert_eq!(it.status()["state"], "starting");
        systemctl(&["stop", &it.unit]).ok();
        assert_eq!(it.service("ActiveState"), "inactive");
        nothing_left_of_but_the_file(name);
    }
    // With an unusable configuration the manager does not try again.
    let _broken = configured("[sessions.gone\n");
    let it = Supervised::named("unknown");
    assert_ne!(systemctl(&["start", &it.unit]).code, 0);
    it.becomes("failed");
    assert_eq!((it.service("NRestarts"), it.service("ExecMainStatus")), ("0".into(), "2".into()));
}

fn a_failed_start_says_why_everywhere() {
    let _ = std::fs::remove_file("reported");
    let _settings = DropIn::new("wary", "[Unit]\nStartLimitBurst=2\n");
    let section = |script: &str| {
        format!(
            "[sessions.wary]\ncommand = ['sh', '-c', '{script}']\nready = '^> '\nnot_ready = 'Do you trust'\n\
             [notify]\ncommand = ['sh', '-c', 'cat >> /home/ada/reported']\n"
        )
    };
    for (script, why) in [
        (
            "echo SECRET; echo Do you trust this folder; sleep 1000",
            "boot failed: the program waits for an answer: 'Do you trust' (not_ready) is on its screen",
        ),
        ("echo SECRET; exit 7", "sh ended before wary was up: exit status 7"),
    ] {
        let _configuration = configured(&section(script));
        let cursor = journal_cursor();
        let it = Supervised::named("wary");
        assert_ne!(systemctl(&["start", &it.unit]).code, 0);
        assert_eq!((&it.status()["state"], &it.status()["failure"]), (&"starting".into(), &why.into()));
        it.becomes("failed");
        wait_until(Duration::from_secs(20), "the notice", || std::path::Path::new("reported").exists());
        assert_eq!(event_since(&cursor, "spawn_failed")["FORGE_ERROR"], why);
        assert_eq!(event_since(&cursor, "breaker_open")["FORGE_ERROR"], why);
        let status = forge(&["status", "wary"]).ok().stdout;
        assert!(status.contains(&format!("failure    {why}\n")), "{status}");
        assert!(
            it.service("StatusText").contains(&format!("the last: {why}; ")),
            "{}",
            it.service("StatusText")
        );
        for argv in [
            &["forge", "logs", "wary"][..],
            &["journalctl", "--user", "-t", "forge", "-o", "cat"],
            &["journalctl", "--user", "-u", &it.unit, "-o", "cat"],
            &["systemctl", "--user", "status", "-n", "99", "-l", &it.unit],
            &["cat", "reported"],
        ] {
            let shown = run(argv).stdout;
            assert!(shown.contains(why) && !shown.contains("SECRET"), "{argv:?}: {shown}");
        }
        // The user who runs the command gets the screen, too.
        let failed = forge(&["restart", "wary"]).code(1);
        assert!(failed.stderr.contains(&format!("{why}\non its screen:\n  | SECRET\n")), "{failed}");
        std::fs::remove_file("reported").expect("the notice");
    }
    assert!(!run(&["journalctl", "-o", "json", "--all"]).stdout.contains("SECRET"), "a screen is private");
}

fn an_unconfigured_session_is_a_shell() {
    let it = Supervised::start("plain");
    let status = it.up();
    let command = status["command"].as_array().expect("a command");
    assert!(command.last().expect("words") == "-l" && status["cwd"] == "/home/ada", "{status}");
    // An interactive shell exits on the SIGHUP that its server's end causes: forge kills nothing.
    let cursor = journal_cursor();
    systemctl(&["stop", &it.unit]).ok();
    let stopped = event_since(&cursor, "stopped");
    assert_eq!((&stopped["FORGE_PROCESSES"], &stopped["FORGE_KILLED"]), (&"2".into(), &"0".into()));
}

fn a_session_that_runs_already_is_adopted() {
    let (_session, spawned) = spawn("adhoc", &[], &["sleep", "1000"]);
    let cursor = journal_cursor();
    let it = Supervised::start("adhoc");
    assert_eq!(event_since(&cursor, "adopted")["FORGE_PANE_PID"], spawned["pane_pid"].to_string());
    assert_eq!(it.up()["pane_pid"], spawned["pane_pid"]);
    // The session is supervised from now on.
    signal("KILL", it.program());
    let again = it.up_after(u32::try_from(spawned["pane_pid"].as_u64().expect("a pid")).expect("a pid"));
    assert_eq!(again["command"], serde_json::json!(["sleep", "1000"]));
    systemctl(&["stop", &it.unit]).ok();
    assert_eq!(it.status(), serde_json::Value::Null);
    forge(&["stop", "adhoc"]).ok();
    // A supervisor does not adopt a session of 'forge run'.
    let _end = Session("ran".into());
    let mut ran = start(&["forge", "run", "ran", "--", "sleep", "1000"]);
    wait_until(Duration::from_secs(10), "the session", || forge(&["status", "ran"]).code == 0);
    let other = Supervised::named("ran");
    assert_ne!(systemctl(&["start", &other.unit]).code, 0);
    assert!(other.service("StatusText").contains("forge run"), "{}", other.service("StatusText"));
    assert!(ran.running());
    drop(other);
}

fn there_is_one_supervisor_and_systemd_starts_it() {
    let it = Supervised::spawn("one", &[], &["sleep", "1000"]);
    let refused = forge(&["supervise", "one"]).code(2);
    assert!(refused.stderr.contains(&format!("hint: systemctl --user start {}", it.unit)), "{refused}");
    // The same from a unit of another name, and from inside the right one.
    let other =
        run(&["systemd-run", "--user", "--wait", "--pipe", "-q", "forge", "supervise", "one"]).code(2);
    assert!(other.stderr.contains("only systemd starts a supervisor"), "{other}");
    let (pid, before) = (it.pid(), it.up());
    systemctl(&["start", &it.unit]).ok();
    assert_eq!((it.pid(), it.up()["pane_pid"].clone()), (pid, before["pane_pid"].clone()));
    let supervisors = run(&["pgrep", "-c", "-f", "forge.* supervise .*one"]).stdout;
    assert_eq!(supervisors.trim(), "1");
}

fn spawn_supervised_prints_what_spawn_prints() {
    forge(&["units", "install"]).ok();
    let it = Supervised::named("reported");
    let (_plain, plain) = spawn("plain", &[], &["sleep", "1000"]);
    dead_socket("spawn-reported");
    let reported = forge_json(&["spawn", "reported", "--supervise", "--", "sleep", "1000"]);
    let keys =
        |value: &serde_json::Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&reported), keys(&plain));
    assert_eq!((reported["swept"].as_array().expect("a list").len(), &reported["ready"]), (1, &true.into()));
    assert_eq!(reported["pane_pid"], it.up()["pane_pid"]);
    // A failure is reported as without a supervisor, and nothing is left.
    for options in
        [vec!["--", "nosuchprogram"], vec!["--ready", "x", "--ready-timeout", "1", "--", "sleep", "9"]]
    {
        let _end = Supervised::named("bad");
        let supervised = forge(&[&["--json", "spawn", "bad", "--supervise"], &options[..]].concat());
        nothing_left_of("bad");
        let plain = forge(&[&["--json", "spawn", "bad"], &options[..]].concat());
        assert_eq!((supervised.code, supervised.json()), (plain.code, plain.json()));
        assert_eq!(Supervised::named("bad").service("ActiveState"), "inactive");
    }
    let taken = forge(&["--json", "spawn", "reported", "--supervise", "--", "sleep", "1"]).code(1).json();
    assert_eq!(taken["error"]["kind"], "taken");
    let before = it.program();
    forge(&["spawn", "reported", "--supervise", "--replace", "--", "sleep", "2000"]).ok();
    assert_eq!(it.up_after(before)["command"], serde_json::json!(["sleep", "2000"]));
}

fn two_simultaneous_starts_make_one_session() {
    forge(&["units", "install"]).ok();
    for round in 0..6 {
        let name = format!("race-{round}");
        let it = Supervised::named(&name);
        let spawns: Vec<_> = (0..4)
            .map(|n| {
                let seconds = (1000 + n).to_string();
                start(&["forge", "--json", "spawn", &name, "--supervise", "--", "sleep", &seconds])
            })
            .collect();
        let ran: Vec<_> = spawns.into_iter().map(|one| one.wait(Duration::from_secs(60))).collect();
        let won = ran.iter().filter(|ran| ran.code == 0).count();
        assert_eq!(won, 1, "{:?}", ran.iter().map(ToString::to_string).collect::<Vec<_>>());
        for lost in ran.iter().filter(|ran| ran.code != 0) {
            assert_eq!(lost.json()["error"]["kind"], "taken", "{lost}");
        }
        it.up();
        // An ordinary spawn does not take the name either, whatever the supervisor is doing.
        signal("KILL", it.program());
        let refused = forge(&["--json", "spawn", &name, "--", "sleep", "1"]).code(1).json();
        assert_eq!(refused["error"]["kind"], "taken", "{refused}");
        it.up();
    }
}

fn a_refused_spawn_does_not_disturb_a_start() {
    let _one_at_a_time =
        configured("[restore]\nconcurrency = 1\n[sessions.second]\ncommand = 'sleep 1000'\n");
    let first = Supervised::named("first");
    let slow = ["--ready", "up", "--", "sh", "-c", "sleep 4; echo up; sleep 1000"];
    let spawning = start(&[&["forge", "spawn", "first", "--supervise"][..], &slow].concat());
    wait_until(Duration::from_secs(10), "the first", || forge(&["status", "first"]).code == 0);
    let second = Supervised::named("second");
    systemctl(&["start", "--no-block", &second.unit]).ok();
    wait_until(Duration::from_secs(3), "its waiting", || second.service("StatusText").contains("its turn"));
    // This spawn claims the name until its sweep is done, and finds only then that the name is taken.
    dead_socket("dead");
    let late = "strace -f -qq -o /dev/null -e trace=unlinkat -e inject=unlinkat:delay_enter=6000000:when=1 \
                forge --json spawn second -- sleep 1";
    let refused = start(&["sh", "-c", late]);
    wait_until(Duration::from_secs(3), "the sweep", || socket("dead.lock").exists());
    spawning.wait(Duration::from_secs(20)).ok();
    second.up();
    assert_eq!(second.service("NRestarts"), "0");
    assert_eq!(refused.wait(Duration::from_secs(20)).code(1).json()["error"]["kind"], "taken");
    drop(first);
}

fn fifty_at_once_take_turns() {
    forge(&["units", "install"]).ok();
    let _configuration = configured("[restore]\nconcurrency = 3\n");
    let homebase = Homebase::start();
    let names: Vec<String> = (0..50).map(|n| format!("turn-{n}")).collect();
    let cursor = journal_cursor();
    let spawns: Vec<_> = names
        .iter()
        .map(|name| {
            // Each session logs its start and when it is up; one never comes up.
            let script = if name == "turn-7" {
                "exit 9".to_owned()
            } else {
                "date +%s%N >> turns.begin; sleep 0.2; date +%s%N >> turns.end; echo up; exec sleep 1000"
                    .to_owned()
            };
            start(&["forge", "spawn", name, "--supervise", "--ready", "up", "--", "sh", "-c", &script])
        })
        .collect();
    let failed: Vec<_> = spawns
        .into_iter()
        .map(|one| one.wait(Duration::from_secs(200)))
        .filter(|ran| ran.code != 0)
        .collect();
    assert_eq!(failed.len(), 1, "{:?}", failed.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert!(failed[0].stderr.contains("exit status 9"), "{}", failed[0]);
    let list = forge_json(&["list"]);
    let sessions = list["sessions"].as_array().expect("sessions");
    let good = sessions.iter().filter(|one| one["state"] == "running" && one["supervised"] == true).count();
    assert_eq!((sessions.len(), good), (49, 49), "{list}");
    // At most three starts ran at any moment.
    let times = |file: &str| -> Vec<(u64, i32)> {
        let change = if file.ends_with("begin") { 1 } else { -1 };
        let text = std::fs::read_to_string(file).expect("times");
        text.lines().map(|line| (line.parse().expect("a time"), change)).collect()
    };
    let mut changes = [times("turns.begin"), times("turns.end")].concat();
    changes.sort_unstable();
    let most = changes.iter().scan(0, |now, (_, change)| {
        *now += change;
        Some(*now)
    });
    let most = most.max().expect("some");
    assert!((2..=3).contains(&most), "{most} at a time");
    let turns = events_since(&cursor).iter().filter(|event| event["FORGE_EVENT"] == "spawned").count();
    assert_eq!(turns, 49);
    shell("rm turns.begin turns.end; forge stop --all").ok();
    homebase.untouched();
}

fn panes_opened_by_a_user_survive_a_start() {
    let (_session, _) = spawn("shared", &[], &["sh", "-c", "read x"]);
    crate::support::tmux("spawn-shared", &["new-window", "-d", "sleep 4444"]).ok();
    forge(&["send", "shared", "end"]).ok();
    wait_until(Duration::from_secs(10), "its end", || {
        forge(&["--json", "status", "shared"]).json()["state"] == "dead"
    });
    let it = Supervised::named("shared");
    assert_ne!(systemctl(&["start", &it.unit]).code, 0);
    assert!(it.service("StatusText").contains("other panes are open"), "{}", it.service("StatusText"));
    assert_eq!(run(&["pgrep", "-c", "-x", "-f", "sleep 4444"]).stdout.trim(), "1");
}
