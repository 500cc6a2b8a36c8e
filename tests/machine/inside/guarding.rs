//! Guarded commands: what a disturbance is, and that none is missed; what a command may do, and how it
//! ends.

use crate::ran::Ran;
use crate::suite::{Test, inside};
use crate::support::{
    TestFile, alive, cgroup_of, configured, event_since, events_since, forge, journal_cursor, kill_server,
    processes_in, run, shell, signal, spawn, start, systemctl, tmux, user_unit_property, wait_for,
    wait_until,
};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(a_command_is_as_without_a_guard),
        inside!(each_kind_of_bounce_is_seen).limit_s(240),
        inside!(a_disturbance_is_told_while_the_command_runs),
        inside!(of_two_hundred_bounces_none_is_missed).limit_s(600),
        inside!(a_stop_that_is_cancelled_is_no_disturbance),
        inside!(of_two_hundred_quiet_runs_none_is_called_disturbed).limit_s(600),
        inside!(what_belongs_to_a_units_life_is_no_disturbance),
        inside!(a_bus_that_goes_away).limit_s(240),
        inside!(a_manager_that_executes_itself_anew),
        inside!(signals_are_passed_on),
        inside!(keys_of_a_terminal),
        inside!(the_whole_tree_is_ended),
        inside!(a_guard_that_is_killed_leaves_nothing),
        inside!(a_keeper_that_is_killed_comes_back),
        inside!(what_is_refused),
        inside!(listening_is_denied),
        inside!(listening_is_watched_where_the_kernel_cannot_deny_it),
        inside!(a_command_has_its_limits),
        inside!(pressure_freezes_and_thaws).limit_s(240),
        inside!(the_report_names_what_is_known),
        inside!(many_guards_at_once),
        inside!(what_has_begun_is_no_calm),
        inside!(nobody_who_reads_what_is_told),
        inside!(a_caller_that_ignores_its_children),
        inside!(a_guard_in_a_session_stays_in_it),
        inside!(a_guard_in_a_guard_stays_in_it),
        inside!(panes_of_a_guarded_tmux_are_of_it),
        inside!(a_stopped_guard_does_not_leave_it_frozen).limit_s(240),
        inside!(a_command_that_moves_away_is_told),
        inside!(snapshots_are_compared),
        inside!(snapshots_that_cannot_be_used),
    ]
}

/// A service that others depend on. It ends with the test.
pub(crate) struct Production {
    pub(crate) unit: String,
    _file: TestFile,
}

impl Production {
    #[track_caller]
    pub(crate) fn start(name: &str, service: &str) -> Self {
        let unit = format!("{name}.service");
        let file = TestFile::new(
            &format!(".config/systemd/user/{unit}"),
            &format!("[Unit]\nStartLimitIntervalSec=0\n[Service]\n{service}\n"),
        );
        systemctl(&["daemon-reload"]).ok();
        systemctl(&["start", &unit]).ok();
        Self { unit, _file: file }
    }

    /// One that is started again whenever it fails, at once.
    #[track_caller]
    pub(crate) fn lasting(name: &str) -> Self {
        Self::start(name, "ExecStart=/bin/sleep 10000\nRestart=always\nRestartSec=0")
    }

    #[track_caller]
    pub(crate) fn pid(&self) -> u32 {
        user_unit_property(&self.unit, "MainPID").parse().expect("a pid")
    }

    /// Does something while it is up, and says whether it was bounced meanwhile, by its manager's word.
    #[track_caller]
    fn bounced_by<T>(&self, act: impl FnOnce() -> T) -> (T, bool) {
        let invocation = || user_unit_property(&self.unit, "InvocationID");
        self.is_up();
        let before = invocation();
        let outcome = act();
        self.is_up();
        wait_until(Duration::from_secs(20), "its jobs to be done", || {
            systemctl(&["list-jobs", "--no-legend", &self.unit]).stdout.is_empty()
        });
        self.is_up();
        (outcome, invocation() != before)
    }

    #[track_caller]
    pub(crate) fn is_up(&self) {
        wait_until(Duration::from_secs(20), &format!("{} to be up", self.unit), || {
            user_unit_property(&self.unit, "ActiveState") == "active" && alive(self.pid())
        });
    }
}

impl Drop for Production {
    fn drop(&mut self) {
        systemctl(&["stop", &self.unit]);
        systemctl(&["reset-failed", &self.unit]);
    }
}

/// Runs a command under a guard over that unit.
#[track_caller]
fn guarded(unit: &Production, options: &[&str], command: &[&str]) -> Ran {
    forge(&[&["guard", "run", "--unit", &unit.unit], options, &["--"], command].concat())
}

/// The same with a line of shell; gives the report.
#[track_caller]
fn report(unit: &Production, line: &str) -> Value {
    forge(&["--json", "guard", "run", "--unit", &unit.unit, "--", "sh", "-c", line]).json()
}

/// Numbers that are different each time; a failure says how it came.
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

fn nothing_left_of_guards() {
    wait_until(Duration::from_secs(20), "all guarded commands and keepers to be gone", || {
        let units = ["forge-guard-*.scope", "forge-guard-*.service", "forge-guard-*.slice"];
        systemctl(&[&["list-units", "--all", "--no-legend", "--plain"][..], &units].concat())
            .stdout
            .is_empty()
    });
}

fn a_command_is_as_without_a_guard() {
    let web = Production::lasting("web");
    for (line, code) in [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137), ("kill -TERM $$", 143)] {
        guarded(&web, &[], &["sh", "-c", line]).code(code);
    }
    // Only what the command prints is on standard output.
    let ran = guarded(&web, &[], &["sh", "-c", "echo out; echo err >&2"]).ok();
    assert_eq!(ran.stdout, "out\n");
    assert!(ran.stderr.starts_with("err\n") && ran.stderr.contains("undisturbed: web.service"), "{ran}");
    assert_eq!(guarded(&web, &[], &["sh", "-c", "exit 0"]).stdout, "");
    let quiet = forge(&["-q", "guard", "run", "--unit", "web", "--", "true"]).ok();
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
    let loud = forge(&["-q", "guard", "run", "--unit", "web", "--", "systemctl", "--user", "restart", "web"])
        .code(100);
    let is_told = loud.stderr.lines().all(|line| line.starts_with("forge: web.service "));
    assert!(loud.stdout.is_empty() && is_told && !loud.stderr.is_empty(), "{loud}");
    // Input, directory, environment and arguments of any bytes reach it.
    let line = "cd /tmp && printf 'a\\0b' | VAR=x forge guard run --unit web -- \
                sh -c 'pwd; echo $VAR; od -An -c; printf %s \"$1\" | od -An -tx1' sh \"$(printf '\\377 \\042')\"";
    let ran = shell(line).ok();
    assert_eq!(ran.stdout, "/tmp\nx\n   a  \\0   b\n ff 20 22\n", "{ran}");
    // In a pipeline, with a reader that goes away.
    let ran = shell("forge guard run --unit web -- yes | head -1").ok();
    assert_eq!(ran.stdout, "y\n");
    // Shells see which signal ended it.
    let ran = run(&[
        "python3",
        "-c",
        "import subprocess as s\nprint(s.run(['forge', 'guard', 'run', '--', 'sh', '-c', 'kill -INT $$']).returncode)",
    ]);
    assert_eq!(ran.stdout, "-2\n", "{ran}");
    nothing_left_of_guards();
}

/// Ways to disturb a unit, for a shell. The last ones return before anything has happened.
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

/// A start takes the place of a stop that the manager, when it is busy, has not begun.
const MAY_BE_CANCELLED: &str = "systemctl --user --no-block stop web; systemctl --user --no-block start web";

fn each_kind_of_bounce_is_seen() {
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
        assert_eq!(report["status"], 0, "{bounce}: the command's own end is told too");
        let unit = &report["units"][0];
        assert_eq!((&unit["unit"], &unit["disturbed"]), (&"web.service".into(), &true.into()));
        assert_ne!(unit["before"]["invocation"], unit["after"]["invocation"], "{bounce}: {report}");
    }
    // What does not come back, what fails, and what only pretends to be the same.
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
        // Quick steps may be seen as one.
        let stopped = ["stopping", "stopped", "restarted"];
        let seen = changes.iter().any(|seen| *seen == change || change != "failed" && stopped.contains(seen));
        assert!(seen, "{line}: {changes:?}");
    }
    // A main process that hands over to another.
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

fn a_disturbance_is_told_while_the_command_runs() {
    let web = Production::lasting("web");
    let (_session, _) = spawn("bystander", &[], &["sleep", "1000"]);
    let cursor = journal_cursor();
    let running = start(&["forge", "guard", "run", "--unit", "web", "--", "sleep", "1000"]);
    let begun = event_since(&cursor, "guard_started");
    let before = web.pid();
    signal("KILL", before);
    // Its end is far away.
    let told = event_since(&cursor, "guard_disturbed");
    assert_eq!((&told["FORGE_UNIT"], &told["FORGE_GUARD"]), (&"web.service".into(), &begun["FORGE_GUARD"]));
    assert_eq!(told["FORGE_PID_BEFORE"], before.to_string());
    assert_eq!(told["FORGE_SESSIONS"], "bystander");
    assert_eq!(told["FORGE_COMMANDS"], begun["FORGE_GUARD"]);
    // The unit's own journal has it, too.
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

fn of_two_hundred_bounces_none_is_missed() {
    let web = Production::lasting("web");
    let mut random = Random::new();
    let (mut missed, mut bounces) = (Vec::new(), 0);
    while bounces < 200 {
        let bounce = BOUNCES[usize::try_from(random.below(8)).expect("an index")];
        // A third each at the very first and the very last millisecond of the command.
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

fn a_stop_that_is_cancelled_is_no_disturbance() {
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
    // Which of the two the manager reads first is a matter of chance.
    for _ in 0..20 {
        let (ran, bounced) = web.bounced_by(|| guarded(&web, &[], &["sh", "-c", &line]));
        assert_eq!(ran.code, if bounced { 100 } else { 0 }, "bounced: {bounced}\n{ran}");
        kinds[usize::from(bounced)] += 1;
    }
    assert!(kinds[0] > 0, "no stop was cancelled");
}

fn of_two_hundred_quiet_runs_none_is_called_disturbed() {
    let _web = Production::lasting("web");
    let _notify = Production::start("quiet", "Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true");
    let _fails = TestFile::new(".config/systemd/user/fails.service", "[Service]\nExecStart=/bin/false\n");
    let _other = Production::lasting("other");
    systemctl(&["daemon-reload"]).ok();
    // What else happens on a machine.
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

fn what_belongs_to_a_units_life_is_no_disturbance() {
    // A job that a timer starts, which does its work and ends.
    let job = Production::start("job", "Type=oneshot\nExecStart=/bin/sleep 0.1");
    let report = report(&job, "systemctl --user start job; sleep 0.3");
    assert_eq!(report["exit_status"], 0, "{report}");
    let mut events =
        report["timeline"].as_array().expect("rows").iter().filter_map(|row| row["event"].as_str());
    assert!(events.any(|event| event == "done"), "{report}");
    // One that fails is one.
    let bad = Production::start("bad", "Type=oneshot\nExecStart=/bin/sh -c '! test -e /tmp/bad'");
    let failing = "touch /tmp/bad; systemctl --user start bad; rm /tmp/bad";
    assert_eq!(self::report(&bad, failing)["exit_status"], 100);
    assert_eq!(self::report(&bad, "true")["exit_status"], 0, "that it had failed before is not news");
    // A service that reads its configuration again.
    let reloads = Production::start("reloads", "ExecStart=/bin/sleep 10000\nExecReload=/bin/sleep 0.2");
    let report = self::report(&reloads, "systemctl --user reload reloads");
    assert_eq!(report["exit_status"], 0, "{report}");
    // One that is started and was not up.
    let late = Production::start("late", "ExecStart=/bin/sleep 10000");
    systemctl(&["stop", "late"]).ok();
    assert_eq!(self::report(&late, "systemctl --user start late")["exit_status"], 0);
    // One that stands still does nothing for anybody.
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
    // A job with something to clear up.
    let post = Production::start("post", "Type=oneshot\nExecStart=/bin/true\nExecStopPost=/bin/sleep 0.3");
    assert_eq!(self::report(&post, "systemctl --user start post; sleep 0.5")["exit_status"], 0);
}

fn a_bus_that_goes_away() {
    let web = Production::lasting("web");
    let bus = user_unit_property("dbus.service", "MainPID");
    // Alone it is no disturbance; with one meanwhile it is.
    let quiet = format!("kill -9 {bus}; sleep 1");
    let report = report(&web, &quiet);
    assert_eq!(report["exit_status"], 0, "{report}");
    assert!(report["timeline"].to_string().contains("\"away\""), "{report}");
    systemctl(&["is-active", "dbus.service"]).ok();
    web.is_up();
    // (systemctl does not need the bus.)
    let bounced = format!(
        "systemctl --user stop dbus.socket dbus.service; kill -9 {}; sleep 1; systemctl --user start dbus.socket",
        web.pid()
    );
    let report = self::report(&web, &bounced);
    assert_eq!(report["exit_status"], 100, "{report}");
    assert_eq!(report["units"][0]["after"]["restarts"], 1, "{report}");
    // A bus that does nothing for a while.
    web.is_up();
    let (bus, pid) = (user_unit_property("dbus.service", "MainPID"), web.pid());
    for (line, status) in [("true".to_owned(), 0), (format!("kill -9 {pid}"), 100)] {
        let line = format!("(sleep 2; kill -CONT {bus}) & kill -STOP {bus}; {line}; sleep 0.5");
        let ran = guarded(&web, &["--leave-children"], &["sh", "-c", &line]);
        assert_eq!(ran.code, status, "{ran}");
    }
}

fn a_manager_that_executes_itself_anew() {
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

fn signals_are_passed_on() {
    let web = Production::lasting("web");
    for (name, code) in [("TERM", 15), ("INT", 2), ("HUP", 1), ("USR1", 10), ("USR2", 12), ("QUIT", 3)] {
        let line = format!(
            "trap 'echo got; exit {code}' {name}; echo up > /tmp/guarded; while :; do sleep 0.05; done"
        );
        let running = start(&["forge", "guard", "run", "--unit", "web", "--", "sh", "-c", &line]);
        wait_until(Duration::from_secs(20), "the command", || Path::new("/tmp/guarded").exists());
        std::fs::remove_file("/tmp/guarded").expect("its file");
        let guard = run(&["pgrep", "-f", "^forge guard run"]).ok().stdout.trim().parse().expect("one guard");
        signal(name, guard);
        let ran = running.wait(Duration::from_secs(20)).code(code);
        assert_eq!(ran.stdout, "got\n", "{ran}");
    }
    // `timeout` ends a guard as it ends anything else.
    let begin = Instant::now();
    run(&["timeout", "1", "forge", "guard", "run", "--unit", &web.unit, "--", "sleep", "1000"]).code(124);
    assert!(begin.elapsed() < Duration::from_secs(30));
    nothing_left_of_guards();
}

fn keys_of_a_terminal() {
    let _web = Production::lasting("web");
    tmux("keys", &["new", "-d", "-x", "100", "-y", "40", "env -u PROMPT_COMMAND PS1='ready> ' bash --norc"])
        .ok();
    let keys = |keys: &[&str]| tmux("keys", &[&["send-keys"], keys].concat()).ok();
    let screen = || tmux("keys", &["capture-pane", "-p"]).ok().stdout;
    let shows = |text: &str| {
        let end = Instant::now() + Duration::from_secs(20);
        while !screen().contains(text) {
            assert!(Instant::now() < end, "no '{text}' on the screen:\n{}", screen());
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    shows("ready>");
    // It reads from the terminal, and has it.
    keys(&[
        "forge guard run --unit web -- sh -c 'test -t 0 && test -t 1 && echo pl\\ease && read x && echo got:$x'",
        "Enter",
    ]);
    shows("please");
    keys(&["typed", "Enter"]);
    shows("got:typed");
    // Ctrl-C ends it, and the shell knows.
    keys(&[
        "clear; forge guard run --unit web -- sh -c 'echo beg\\un; exec sleep 1000'; echo status=$?",
        "Enter",
    ]);
    shows("begun");
    keys(&["C-c"]);
    wait_until(Duration::from_secs(20), "the end of the job", || screen().trim_end().ends_with("ready>"));
    assert!(!screen().contains("status="), "the shell gave the line up, as after Ctrl-C:\n{}", screen());
    // Ctrl-Z stops it, fg continues it.
    keys(&[
        "clear; forge guard run --unit web -- sh -c 'echo wo\\rks; sleep 1.5; sleep 1; echo do\\ne'",
        "Enter",
    ]);
    shows("works");
    // A shell between vfork and exec cannot be stopped: its child stops, and it waits for that one for
    // ever, whoever started it (dash 0.5.12: 8 of 400 that were stopped right after their first line).
    wait_until(Duration::from_secs(20), "its first sleep", || run(&["pgrep", "-xf", "sleep 1.5"]).code == 0);
    keys(&["C-z"]);
    shows("Stopped");
    let states = shell("ps -o stat= -C forge,sleep --no-headers | cut -c1 | sort -u").stdout;
    assert!(states.contains('T'), "{states}");
    keys(&["fg", "Enter"]);
    shows("done");
    shows("undisturbed: web.service");
    // A program that puts its terminal in order before it stops.
    let top = "clear; forge guard run --unit web -- python3 -c 'import os,signal,time\n";
    let top = top.to_owned()
        + "def stop(*_):\n time.sleep(0.3); print(\"in order\"); os.kill(os.getpid(), signal.SIGSTOP); print(\"again\")\n\
           signal.signal(signal.SIGTSTP, stop); print(\"handler\", \"is set\", flush=True); time.sleep(1); time.sleep(1); print(\"o\"+\"ver\")'";
    keys(&[&top, "Enter"]);
    shows("handler is set");
    keys(&["C-z"]);
    shows("Stopped");
    assert!(screen().find("in order") < screen().find("Stopped"), "{}", screen());
    keys(&["fg", "Enter"]);
    shows("over");
    kill_server("keys");
    nothing_left_of_guards();
}

fn the_whole_tree_is_ended() {
    let web = Production::lasting("web");
    let leaves = "setsid sleep 2001 & nohup sh -c 'trap \"\" TERM HUP; (sleep 2002 &); sleep 2003' >/dev/null & sleep 0.3";
    let left = || shell("pgrep -c -f '^sleep 200[123]'").stdout.trim().to_owned();
    let ran = forge(&["--json", "guard", "run", "--unit", &web.unit, "--", "sh", "-c", leaves]).ok();
    assert_eq!(left(), "0", "{ran}");
    assert!(ran.json()["cleared"].as_u64() >= Some(3), "{ran}");
    nothing_left_of_guards();
    // Unless they may stay: then they keep their limits, and nobody ends them.
    guarded(&web, &["--leave-children"], &["sh", "-c", "setsid sleep 2001 >/dev/null 2>&1 &"]).ok();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(left(), "1");
    let pid = shell("pgrep -f '^sleep 2001'").stdout.trim().parse().expect("a pid");
    assert!(cgroup_of(pid).contains("/forge.slice/forge-guard.slice/forge-guard-"), "{}", cgroup_of(pid));
    signal("KILL", pid);
    nothing_left_of_guards();
}

/// A guarded command that runs: what was started, its guard's id and its control group.
#[track_caller]
fn running(options: &[&str], command: &[&str]) -> (crate::ran::Background, String, String) {
    let cursor = journal_cursor();
    let running = start(&[&["forge", "guard", "run"], options, &["--"], command].concat());
    let id = event_since(&cursor, "guard_started")["FORGE_GUARD"].as_str().expect("an id").to_owned();
    let group = user_unit_property(&format!("forge-guard-{id}.slice"), "ControlGroup");
    (running, id, group)
}

/// The pid of a guard, which its id begins with.
pub(crate) fn pid_of(id: &str) -> u32 {
    id.split('_').next().and_then(|pid| pid.parse().ok()).expect("a pid")
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
    // One that may leave its children is thawed, and left.
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

#[track_caller]
fn refused(args: &[&str], message: &str) {
    let cursor = journal_cursor();
    let ran = forge(&[&["--json", "guard", "run"], args, &["--", "touch", "/tmp/it-ran"]].concat()).code(125);
    let error = ran.json()["error"].clone();
    assert!(error["message"].as_str().expect("a message").contains(message), "{args:?}: {ran}");
    assert!(!Path::new("/tmp/it-ran").exists(), "{args:?}");
    let events = events_since(&cursor);
    assert!(!events.iter().any(|event| event["FORGE_EVENT"] == "guard_started"), "{args:?}");
}

fn what_is_refused() {
    let web = Production::lasting("web");
    let cursor = journal_cursor();
    refused(&["--unit", "nope"], "no unit nope.service of the user manager");
    refused(&["--system-unit", "web"], "no unit web.service of the system manager");
    refused(&["--refuse-if-active", "web"], "web.service is active");
    refused(&["--refuse-if-active", "dbus"], "is active");
    refused(&["--refuse-if-active", "systemd-journald"], "(system) is active");
    refused(&["--unit", "web@"], "template");
    refused(&["--unit", "a b"], "no name of a unit");
    refused(&["--unit", "веб"], "no name of a unit");
    refused(&["--freeze-on-pressure", "0"], "1 to 100");
    refused(&["--cpu-weight", "0"], "cpu-weight is 0");
    let event = event_since(&cursor, "guard_refused");
    assert_eq!(event["FORGE_PROGRAM"], "touch");
    {
        let _configuration = configured("[guard]\nunits = ['nope']\n");
        refused(&[], "no unit nope.service");
    }
    {
        let _configuration = configured("[guard]\nunit = ['web']\n");
        refused(&[], "unknown key 'unit'");
    }
    // One that ends while it is asked for is up until it has ended.
    let slow = Production::start("slow", "ExecStart=/bin/sleep 1000\nExecStop=/bin/sleep 5");
    systemctl(&["--no-block", "stop", &slow.unit]).ok();
    refused(&["--refuse-if-active", "slow"], "is deactivating");
    // A name that neither manager knows may be another host's.
    let ran =
        forge(&["guard", "run", "--refuse-if-active", "elsewhere", "--unit", &web.unit, "--", "true"]).ok();
    assert!(ran.stderr.contains("neither manager knows elsewhere.service"), "{ran}");
    // What cannot be executed never ran.
    for (command, why) in [("/no/such", "No such file"), ("/etc/passwd", "Permission denied")] {
        let ran = guarded(&web, &[], &[command]).code(125);
        assert!(ran.stderr.contains(why), "{ran}");
    }
    let ran =
        shell("env -u DBUS_SESSION_BUS_ADDRESS XDG_RUNTIME_DIR=/nowhere forge guard run -- true").code(125);
    assert!(ran.stderr.contains("hint:"), "{ran}");
    forge(&["guard", "run"]).code(2);
    nothing_left_of_guards();
}

/// Python that listens in some way, and says what came of it.
fn listens(how: &str) -> Vec<String> {
    let program = format!(
        "import socket, time, os, sys\ntry:\n  {}\nexcept OSError as error:\n  print('refused', flush=True); sys.exit(7)\n\
         print('listening', flush=True)\ntime.sleep(20)\nprint('still there', flush=True)",
        how.replace("; ", "\n  ")
    );
    vec!["python3".to_owned(), "-c".to_owned(), program]
}

const LISTENERS: [(&str, &str); 6] = [
    ("IPv4", "s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()"),
    ("IPv6", "s = socket.socket(socket.AF_INET6); s.bind(('::1', 0)); s.listen()"),
    ("any address", "s = socket.socket(); s.bind(('', 8123)); s.listen()"),
    ("no bind", "s = socket.socket(); s.listen()"),
    (
        "Multipath TCP",
        "s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262); s.bind(('127.0.0.1', 0)); s.listen()",
    ),
    ("a grandchild", "os.setsid() if os.fork() == 0 else time.sleep(20); s = socket.socket(); s.listen()"),
];

fn deny(prefix: &[&str]) {
    let web = Production::lasting("web");
    for (name, how) in LISTENERS {
        let program = listens(how);
        let command: Vec<&str> = program.iter().map(String::as_str).collect();
        let argv = [prefix, &["forge", "guard", "run", "--unit", &web.unit, "--deny-listen", "--"], &command]
            .concat();
        let cursor = journal_cursor();
        let ran = run(&argv);
        assert!(!ran.stdout.contains("still there"), "{name}: {ran}");
        if ran.stdout.contains("refused") {
            // By the kernel: that is the command's to deal with.
            assert_eq!(ran.code, 7, "{name}: {ran}");
            assert!(prefix.is_empty(), "{name}: {ran}");
        } else {
            assert_eq!(ran.code, 101, "{name}: {ran}");
            let event = event_since(&cursor, "guard_listen");
            assert_eq!(event["FORGE_PROCESS"], "python3", "{name}: {event}");
        }
    }
    // A process that nobody may look into (PR_SET_DUMPABLE).
    let hidden = "syscall(157, 4, 0, 0, 0, 0); socket(S, PF_INET, SOCK_STREAM, 0); listen(S, 5); sleep 20; print qq(still there)";
    let command = [
        "forge",
        "guard",
        "run",
        "--unit",
        &web.unit,
        "--deny-listen",
        "--",
        "perl",
        "-MSocket",
        "-e",
        hidden,
    ];
    let ran = run(&[prefix, &command].concat()).code(101);
    assert!(ran.stderr.contains("perl (process "), "{ran}");
    // What stays allowed.
    for allowed in [
        "s = socket.socket(socket.AF_UNIX); s.bind('/tmp/guarded.sock'); s.listen(); os.unlink('/tmp/guarded.sock'); sys.exit(0)",
        "s = socket.create_connection(('127.0.0.1', 8124)); sys.exit(0)",
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 0)); sys.exit(0)",
    ] {
        let mut other = start(&[
            "python3",
            "-c",
            "import socket, time\ns = socket.create_server(('127.0.0.1', 8124))\ntime.sleep(100)",
        ]);
        wait_until(Duration::from_secs(20), "another's listener", || {
            shell("ss -Hltn sport = 8124").stdout.contains("8124")
        });
        let program = listens(allowed);
        let command: Vec<&str> = program.iter().map(String::as_str).collect();
        let argv = [prefix, &["forge", "guard", "run", "--unit", &web.unit, "--deny-listen", "--"], &command]
            .concat();
        let ran = run(&argv);
        other.kill();
        assert_eq!(ran.code, 0, "{allowed}: {ran}");
    }
    nothing_left_of_guards();
}

fn listening_is_denied() {
    let ran = forge(&["guard", "run", "--deny-listen", "--", "true"]).ok();
    assert!(ran.stderr.contains("the kernel refuses it (Landlock)"), "{ran}");
    deny(&[]);
    // A listener that the caller hands on is the caller's.
    let hands_on = "import socket, subprocess, sys\ns = socket.create_server(('127.0.0.1', 0)); s.set_inheritable(True)\n\
                    sys.exit(subprocess.run(['forge', 'guard', 'run', '--deny-listen', '--', 'sleep', '1'], close_fds=False).returncode)";
    run(&["python3", "-c", hands_on]).ok();
}

fn listening_is_watched_where_the_kernel_cannot_deny_it() {
    // A kernel without Landlock answers so.
    let prefix = [
        "systemd-run",
        "--user",
        "--quiet",
        "--pipe",
        "--wait",
        "--collect",
        "-p",
        "SystemCallFilter=~landlock_create_ruleset",
        "-p",
        "SystemCallErrorNumber=ENOSYS",
        "-p",
        "SystemCallArchitectures=native",
    ];
    let ran = run(&[&prefix[..], &["forge", "guard", "run", "--deny-listen", "--", "true"]].concat()).ok();
    assert!(ran.stderr.contains("watched only"), "{ran}");
    deny(&prefix);
}

fn a_command_has_its_limits() {
    let _web = Production::lasting("web");
    let limits = ["--memory-max", "300M", "--memory-high", "200M", "--cpu-quota", "50%", "--tasks-max", "60"];
    let (running, id, group) = running(&[&["--unit", "web"], &limits[..]].concat(), &["sleep", "1000"]);
    let scope = format!("forge-guard-{id}.scope");
    let slice = format!("forge-guard-{id}.slice");
    for (property, value) in [
        ("MemoryMax", "314572800"),
        ("MemoryHigh", "209715200"),
        ("CPUQuotaPerSecUSec", "500ms"),
        ("TasksMax", "60"),
        ("CPUWeight", "10"),
        ("Slice", "forge-guard.slice"),
    ] {
        assert_eq!(user_unit_property(&slice, property), value, "{property}");
    }
    assert_eq!(user_unit_property(&scope, "Slice"), slice);
    assert_eq!(user_unit_property(&scope, "OOMPolicy"), "continue");
    // Weights count among neighbours: of the slices too.
    assert_eq!(user_unit_property("forge-guard.slice", "CPUWeight"), "10");
    assert_eq!(user_unit_property("forge.slice", "CPUWeight"), "20");
    let pid = processes_in(&group)[0].to_string();
    assert_eq!(run(&["ionice", "-p", &pid]).ok().stdout.trim(), "idle");
    let score = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).expect("its score");
    assert!(score.trim().parse::<i32>().expect("a number") >= 500, "{score}");
    signal("TERM", pid_of(&id));
    running.wait(Duration::from_secs(20)).code(143);
    // What a person has set stays.
    systemctl(&["set-property", "--runtime", "forge.slice", "CPUWeight=77"]).ok();
    forge(&["guard", "run", "--cpu-weight", "33", "--", "true"]).ok();
    assert_eq!(user_unit_property("forge.slice", "CPUWeight"), "77");
    systemctl(&["revert", "forge.slice"]).ok();
}

pub(crate) fn pressure_freezes_and_thaws() {
    // More loops than CPUs: each waits for its turn.
    let loops = "i=0; while [ $i -lt 4 ]; do (while :; do :; done) & i=$((i+1)); done; wait";
    let _busy = Production::start("busy", &format!("ExecStart=/bin/sh -c '{loops}'"));
    let cursor = journal_cursor();
    let options = ["--unit", "busy", "--freeze-on-pressure", "20"];
    let argv = [&["forge", "--json", "guard", "run"], &options[..], &["--", "sh", "-c", loops]].concat();
    let running = start(&argv);
    let frozen = wait_for(Duration::from_secs(60), "the freeze", || {
        events_since(&cursor).into_iter().find(|event| event["FORGE_EVENT"] == "frozen")
    });
    let id = frozen["FORGE_GUARD"].as_str().expect("an id").to_owned();
    assert!(frozen["FORGE_PRESSURE"].as_str().expect("percent").parse::<u64>().expect("a number") >= 20);
    let slice = format!("forge-guard-{id}.slice");
    let group = user_unit_property(&slice, "ControlGroup");
    let is_frozen = || {
        std::fs::read_to_string(format!("/sys/fs/cgroup{group}/cgroup.events"))
            .is_ok_and(|text| text.contains("frozen 1"))
    };
    assert!(is_frozen());
    // Somebody who thaws it has a reason.
    systemctl(&["thaw", &slice]).ok();
    std::thread::sleep(Duration::from_secs(8));
    assert!(!is_frozen(), "it is left running for a while");
    wait_until(Duration::from_secs(60), "the next freeze", is_frozen);
    // Production has what it needs: it runs again.
    systemctl(&["stop", "busy"]).ok();
    wait_until(Duration::from_secs(60), "the thaw", || !is_frozen());
    // A signal is heard, frozen or not.
    signal("TERM", pid_of(&id));
    let report = running.wait(Duration::from_secs(30)).code(100).json();
    assert_eq!(report["signal"], 15);
    assert!(
        report["frozen_times"].as_u64() >= Some(2) && report["frozen_ms"].as_u64() >= Some(1000),
        "{report}"
    );
    assert!(report["pressure"]["units"]["cpu"].as_u64() >= Some(20), "{report}");
    nothing_left_of_guards();
}

fn the_report_names_what_is_known() {
    let web = Production::lasting("web");
    let (_session, _) = spawn("ran-too", &[], &["sleep", "1000"]);
    let burn = "x=0; while [ $x -lt 30000 ]; do x=$((x+1)); done; systemctl --user restart web; sleep 0.6";
    let report = report(&web, burn);
    let keys: Vec<&str> = report.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "began",
            "cause",
            "cleared",
            "cpu_usec",
            "deny_listen",
            "elapsed_ms",
            "exit_status",
            "frozen_ms",
            "frozen_times",
            "guard",
            "memory_peak",
            "oom_kills",
            "pressure",
            "program",
            "sessions",
            "signal",
            "status",
            "timeline",
            "units",
            "untold",
            "verdict"
        ]
    );
    assert_eq!(report["sessions"], serde_json::json!(["ran-too"]));
    assert_eq!(report["cause"]["likely"], "the guarded command itself");
    assert!(report["cpu_usec"].as_u64() > Some(1000), "{report}");
    for whose in ["host", "units", "command"] {
        assert!(report["pressure"][whose]["cpu"].is_u64(), "{whose}: {report}");
    }
    let rows = report["timeline"].as_array().expect("rows");
    let times: Vec<u64> = rows.iter().filter_map(|row| row["ms"].as_u64()).collect();
    assert!(times.is_sorted() && times.len() == rows.len(), "{report}");
    assert_eq!((&rows[0]["event"], &rows.last().expect("rows")["event"]), (&"began".into(), &"ended".into()));
    let journal = report["units"][0]["journal"].to_string();
    assert!(journal.contains("Stopped") && journal.contains("Started"), "{journal}");
    // Nobody claims to know who did it when nobody does.
    let line = "sh -c 'sleep 0.5; kill -9 '$(systemctl --user show -P MainPID web)' ' & exec forge guard run --unit web -- sleep 2";
    let ran = shell(line).code(100);
    let likely =
        ran.stderr.lines().find(|line| line.starts_with("likely cause:")).expect("a cause").to_owned();
    assert!(likely.contains("not known"), "{ran}");
    assert!(ran.stderr.contains("sessions that ran: ran-too"), "{ran}");
    for part in ["after", "what happened", "unit", "before", "journal of web.service:", "highest pressure"] {
        assert!(ran.stderr.contains(part), "{part}: {ran}");
    }
    // Arguments may hold secrets: nothing of them is in the report or the journal.
    let cursor = journal_cursor();
    let secret = forge(&["guard", "run", "--unit", "web", "--", "sh", "-c", "true s3cr3t; exit 1"]).code(1);
    assert!(!secret.stderr.contains("s3cr3t"));
    assert!(!events_since(&cursor).iter().any(|event| event["MESSAGE"].to_string().contains("s3cr3t")));
}

fn many_guards_at_once() {
    let web = Production::lasting("web");
    let runs: Vec<_> =
        (0..20).map(|_| start(&["forge", "guard", "run", "--unit", &web.unit, "--", "sleep", "3"])).collect();
    let runs: Vec<_> = runs.into_iter().map(|run| run.wait(Duration::from_secs(60)).code(0)).collect();
    assert_eq!(runs.len(), 20);
    // All of them see what happens to one unit.
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

fn snapshots_are_compared() {
    let web = Production::lasting("web");
    let file = "/tmp/snapshot.json";
    let _removed = TestFile::new(file, "");
    let taken = forge(&["--json", "guard", "snapshot", "--unit", "web", "--system-unit", "dbus", "-o", file])
        .ok()
        .json();
    assert_eq!((&taken["version"], taken["units"].as_array().map(Vec::len)), (&1.into(), Some(2)));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(file).expect("it").permissions());
    assert_eq!(mode & 0o777, 0o600);
    let check = || forge(&["--json", "guard", "check", file]);
    let quiet = check().ok().json();
    assert_eq!((&quiet["verdict"], &quiet["rebooted"]), (&"undisturbed".into(), &false.into()));
    systemctl(&["daemon-reload"]).ok();
    check().ok();
    // A kill right before, which the manager may not have seen yet.
    for _ in 0..10 {
        web.is_up();
        forge(&["guard", "snapshot", "--unit", "web", "-o", file]).ok();
        let line = format!("kill -9 {}; forge guard check {file}", web.pid());
        let ran = shell(&line).code(100);
        assert!(ran.stdout.contains("disturbed since the snapshot"), "{ran}");
    }
    let cursor = journal_cursor();
    web.is_up();
    forge(&["guard", "snapshot", "--unit", "web", "-o", file]).ok();
    systemctl(&["restart", "web"]).ok();
    // A broken configuration is no reason not to know.
    let _configuration = configured("[nonsense\n");
    let disturbed = check().code(100).json();
    assert_eq!(disturbed["units"][0]["disturbed"], true);
    assert_eq!(event_since(&cursor, "guard_disturbed")["FORGE_UNIT"], "web.service");
}

fn snapshots_that_cannot_be_used() {
    let _web = Production::lasting("web");
    let good = "/tmp/good.json";
    let _good = TestFile::new(good, "");
    forge(&["guard", "snapshot", "--unit", "web", "-o", good]).ok();
    let text = std::fs::read_to_string(good).expect("it");
    let snapshot: Value = serde_json::from_str(&text).expect("JSON");
    let changed = |key: &str, value: Value| {
        let mut changed = snapshot.clone();
        changed[key] = value;
        changed.to_string()
    };
    for (changed, status, message) in [
        (changed("version", 2.into()), 125, "version 2"),
        (changed("machine", "0123".into()), 125, "another machine"),
        (changed("boot", "0123".into()), 100, "booted since"),
        (text[..text.len() / 2].to_owned(), 125, "cannot read"),
        (String::new(), 125, "cannot read"),
        ("[]".to_owned(), 125, "cannot read"),
    ] {
        let file = TestFile::new("/tmp/bad.json", &changed);
        let ran = forge(&["guard", "check", "/tmp/bad.json"]).code(status);
        assert!(format!("{}{}", ran.stdout, ran.stderr).contains(message), "{message}: {ran}");
        drop(file);
    }
    let ran = forge(&["guard", "check", "/tmp/none.json"]).code(125);
    assert!(ran.stderr.contains("no such file") && ran.stderr.contains("hint:"), "{ran}");
    forge(&["guard", "snapshot", "--unit", "nope", "-o", good]).code(3);
    let ran = forge(&["guard", "snapshot", "-o", good]).code(2);
    assert!(ran.stderr.contains("no unit to guard"), "{ran}");
    assert_eq!(std::fs::read_to_string(good).expect("it"), text);
    // Where another's file lies in wait under the temporary name nothing is written into it.
    let ran = forge(&["guard", "snapshot", "--unit", "web", "-o", "/proc/none/x.json"]).code(1);
    assert!(ran.stderr.contains("/proc/none/x.json"), "{ran}");
}

fn what_has_begun_is_no_calm() {
    let web = Production::lasting("web");
    // It has to end first, and takes its time.
    let _slow = Production::start(
        "slow",
        "ExecStart=/bin/sleep 10000\nExecStop=/bin/sleep 20\n[Unit]\nAfter=web.service\nBindsTo=web.service",
    );
    let ran = guarded(&web, &[], &["systemctl", "--user", "--no-block", "stop", "web"]).code(100);
    assert!(ran.stderr.contains("systemd still has a job for web.service"), "{ran}");
    systemctl(&["kill", "-s", "KILL", "slow"]);
    // One that goes down before the command begins is not the command's doing.
    let stops = Production::start("stops", "ExecStart=/bin/sleep 10000\nExecStop=/bin/sleep 1");
    systemctl(&["--no-block", "restart", &stops.unit]).ok();
    guarded(&stops, &[], &["sleep", "2"]).code(0);
}

fn nobody_who_reads_what_is_told() {
    let web = Production::lasting("web");
    let cursor = journal_cursor();
    // A pipe that is full, and that nobody reads.
    let line = "import os, subprocess, sys, time\nr, w = os.pipe()\nos.set_blocking(w, False)\ntry:\n  while True: os.write(w, b'x')\n\
                except BlockingIOError: pass\nos.set_blocking(w, True)\n\
                sys.exit(subprocess.run(['forge', 'guard', 'run', '--unit', 'web', '--', 'sleep', '4'], stderr=w, timeout=None).returncode)";
    let mut running = start(&["python3", "-c", line]);
    event_since(&cursor, "guard_started");
    signal("KILL", web.pid());
    event_since(&cursor, "guard_disturbed");
    event_since(&cursor, "guard_finished");
    running.kill();
    shell("pkill -9 -f '^forge guard run'");
    nothing_left_of_guards();
}

fn a_caller_that_ignores_its_children() {
    let web = Production::lasting("web");
    let line = format!(
        "import os, signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\n\
         os.execvp('forge', ['forge', 'guard', 'run', '--unit', '{}', '--', 'sh', '-c', 'exit 3'])",
        web.unit
    );
    run(&["python3", "-c", &line]).code(3);
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
    // What holds for the session holds for it.
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

fn panes_of_a_guarded_tmux_are_of_it() {
    let web = Production::lasting("web");
    let line = "tmux -L guarded new -d 'trap \"\" HUP TERM; nohup sleep 2006'; sleep 1";
    guarded(&web, &[], &["sh", "-c", line]).code(0);
    assert_eq!(shell("pgrep -c -f '^sleep 2006'").stdout.trim(), "0", "the pane ended");
    nothing_left_of_guards();
    let _ = std::fs::remove_file(crate::support::socket("guarded"));
}

fn a_stopped_guard_does_not_leave_it_frozen() {
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

fn a_command_that_moves_away_is_told() {
    let web = Production::lasting("web");
    let away = "G=/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/away; mkdir -p $G; echo $$ > $G/cgroup.procs; exec sleep 2";
    let ran = guarded(&web, &[], &["sh", "-c", away]).code(0);
    assert!(ran.stderr.contains("has moved to the control group"), "{ran}");
    // It does not outlive its guard.
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
