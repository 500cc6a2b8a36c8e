//! The sessions that come back after a reboot, a power cut and a restart of the user manager.

use super::{AGENT, events, running, sessions, set_up, sh, wait_for_restore, write};
use crate::machine::{Machine, USER};
use crate::ran::Ran;
use crate::suite::{Test, outside};
use crate::support;
use serde_json::Value;
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        outside!(a_reboot_brings_back_what_was_running).limit_s(180),
        outside!(a_power_cut_loses_nothing).limit_s(180),
        outside!(screen_contents_stay_out_of_the_journal),
        outside!(sessions_of_one_directory_keep_their_own_conversations),
        outside!(sixty_sessions_come_back).limit_s(300),
        outside!(a_manager_that_is_restarted_brings_its_sessions_back).limit_s(180),
        outside!(supervised_sessions_come_back_supervised).limit_s(240),
    ]
}

#[track_caller]
fn wait_until(what: &str, probe: impl FnMut() -> bool) {
    support::wait_until(Duration::from_secs(40), what, probe);
}

#[track_caller]
fn monotonic(machine: &Machine, unit: &str, property: &str) -> u64 {
    let shown = machine.user(&["systemctl", "--user", "show", "--value", "-p", property, unit]).ok().stdout;
    shown.trim().parse().unwrap_or_else(|_| panic!("{unit} {property}: {shown}"))
}

/// Describes a failure: forge's and the manager's records of this boot and the last one.
fn story(machine: &Machine) -> Ran {
    let forge = "journalctl -b -1 --no-pager -o short-precise _UID=1000 | tail -n 150; \
                 journalctl -b --no-pager -o short-precise _UID=1000 | head -n 80; cat /home/ada/agent.log";
    machine.root(&["sh", "-c", forge])
}

fn a_reboot_brings_back_what_was_running(machine: &mut Machine) {
    set_up(machine);
    sh(
        machine,
        "export PATH=$HOME/bin:$PATH; \
                 forge spawn adhoc --env KEY=value -- agent one two && \
                 forge spawn agent && forge spawn fresh && \
                 forge spawn stopped -- sleep 10000 && forge stop stopped && \
                 forge spawn ended -- sleep 0.5",
    );
    wait_until("the end of a session", || !sessions(machine).iter().any(|(session, _)| session == "ended"));
    // Two dead sockets that outlive the boot, since /var/tmp does.
    sh(
        machine,
        "mkdir -p -m 700 /var/tmp/old; for l in one two; do TMUX_TMPDIR=/var/tmp/old tmux -L $l new -d 'sleep 100'; \
                 kill -9 $(TMUX_TMPDIR=/var/tmp/old tmux -L $l display -p '#{pid}'); done; ls /var/tmp/old/tmux-1000",
    );
    machine.reboot();
    wait_for_restore(machine);

    // The order, by the manager's timestamps.
    let swept = monotonic(machine, "forge-tmux-socket-sweep.service", "ExecMainExitTimestampMonotonic");
    let began = monotonic(machine, "forge-post-boot-sessions.service", "ExecMainStartTimestampMonotonic");
    assert!(swept > 0 && swept <= began, "the sweep ended at {swept}, the restore began at {began}");

    // The running sessions, each on its own socket.
    assert_eq!(running(machine), ["adhoc", "agent", "configured", "fresh"], "{}", story(machine));
    for session in ["adhoc", "agent", "configured", "fresh"] {
        let name =
            machine.user(&["tmux", "-L", &format!("spawn-{session}"), "-N", "ls", "-F", "#{session_name}"]);
        assert_eq!(name.ok().stdout.trim(), session);
    }
    let log = sh(machine, "cat agent.log").stdout;
    let calls: Vec<&str> = log.lines().collect();
    assert!(
        log.matches("called: one two; key=value; path=/home/ada/bin:").count() == 2,
        "as it was started: {log}"
    );
    assert!(log.contains("called: --resume new-agent; "), "its conversation: {calls:?}");
    assert!(log.matches("called: --new-too").count() == 2, "no conversation to resume: {calls:?}");
    let restored = events(machine, "restored");
    let of =
        |session: &str| restored.iter().find(|event| event["FORGE_SESSION"] == session).expect("its event");
    assert_eq!(of("agent")["FORGE_RESUME_ID"], "new-agent");
    assert!(
        of("fresh")["FORGE_FRESH"].as_str().expect("a reason").contains("does not know its conversation")
    );
    assert_eq!(of("adhoc")["FORGE_RESUME_ID"], Value::Null);

    // forge reports the session whose program is missing, and starts the others.
    let failed = events(machine, "restore_failed");
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0]["FORGE_SESSION"], "missing");
    assert!(failed[0]["FORGE_ERROR"].as_str().expect("a reason").contains("no-such-program"));
    let probe = machine.user(&["forge", "--json", "probe"]).code(5).json();
    assert_eq!(probe["sockets_dead"], 0);
    assert_eq!(probe["last_restore"]["restored"], 4);
    assert_eq!(probe["last_restore"]["failed"], 1);
    assert_eq!(probe["last_sweep"]["removed"], 2, "{probe}");
    assert_eq!(probe["units_failed"], serde_json::json!(["forge-post-boot-sessions.service"]));
    let problems = probe["problems"].to_string();
    assert!(problems.contains("missing") && problems.contains("forge restart missing"), "{problems}");
    assert_eq!(sh(machine, "ls /var/tmp/old/tmux-1000 | grep -v lock || true").stdout, "");

    // The notice arrived once through each channel, Telegram's at the second try.
    wait_until("the notices", || machine.root(&["cat", "/var/log/notices"]).stdout.lines().count() >= 2);
    let notices = machine.root(&["cat", "/var/log/notices"]).ok().stdout;
    let hooks: Vec<&str> = notices.lines().filter(|line| line.starts_with("/hook ")).collect();
    let telegrams: Vec<&str> =
        notices.lines().filter(|line| line.starts_with("/bot123:secret/sendMessage ")).collect();
    assert_eq!((hooks.len(), telegrams.len()), (1, 1), "{notices}");
    let hook: Value = serde_json::from_str(hooks[0].trim_start_matches("/hook ")).expect("JSON");
    assert_eq!((&hook["kind"], &hook["user"]), (&"boot".into(), &"ada".into()));
    assert_eq!(hook["probe"]["last_restore"]["failed"], 1);
    assert!(hook["text"].as_str().expect("a text").contains("not restored: missing"), "{hook}");
    assert!(hook["restore"]["restored"].as_array().expect("a list").len() == 4);
    assert!(telegrams[0].contains("\"chat_id\":\"42\""), "{notices}");
    let own = sh(machine, "cat notices.jsonl").stdout;
    assert_eq!(own.matches("\"kind\":\"boot\"").count(), 1, "{own}");
    let reported = events(machine, "notified");
    assert_eq!(reported.len(), 3, "{reported:?}");
    assert!(reported.iter().any(|event| event["FORGE_ATTEMPTS"] == "2"), "{reported:?}");
    let journal = machine.root(&["journalctl", "-b", "-o", "json", "--all"]).ok().stdout;
    assert!(!journal.contains("123:secret"), "no secret in the journal");

    // forge restores once per boot.
    let second = machine.user(&["forge", "--json", "restore"]).ok().json();
    assert_eq!(second["already"], true);
    assert_eq!(running(machine).len(), 4);
    assert_eq!(events(machine, "restored").len(), 4);
    // A restart by hand works once the cause is fixed.
    write(machine, USER, "/home/ada/bin/no-such-program", "#!/bin/sh\nexec sleep 1000\n");
    sh(machine, "PATH=$HOME/bin:$PATH forge restart missing");
    assert!(running(machine).contains(&"missing".to_owned()));
    machine.user(&["systemctl", "--user", "reset-failed"]).ok();
    machine.user(&["forge", "probe"]).ok();
    machine.user(&["forge", "stop", "--all"]).ok();
    sh(machine, "rm bin/no-such-program");
}

fn a_power_cut_loses_nothing(machine: &mut Machine) {
    set_up(machine);
    sh(
        machine,
        "export PATH=$HOME/bin:$PATH; forge spawn adhoc -- agent; forge spawn agent; \
                 forge spawn stopped -- sleep 10000; forge stop stopped; sync",
    );
    machine.power_cut();
    wait_for_restore(machine);
    assert_eq!(running(machine), ["adhoc", "agent", "configured"]);
    assert!(sh(machine, "cat agent.log").stdout.contains("called: --resume new-agent; "));
    assert_eq!(machine.user(&["forge", "--json", "probe"]).json()["sockets_dead"], 0);
    // A second power cut hits the restore of many sessions.
    sh(machine, "for n in 1 2 3 4 5 6; do forge spawn m$n -- sleep 10000; done; sync");
    machine.power_cut();
    wait_for_restore(machine);
    assert_eq!(running(machine).len(), 9);
    machine.user(&["forge", "stop", "--all"]).ok();
}

fn screen_contents_stay_out_of_the_journal(machine: &mut Machine) {
    set_up(machine);
    write(
        machine,
        USER,
        "/home/ada/.config/forge/forge.toml",
        "[notify]\ncommand = ['sh', '-c', 'cat >>~/notice']\n",
    );
    sh(
        machine,
        ": >well; forge spawn leaky -- sh -c 'test -e well || { echo SECRET; exit 3; }; sleep 10000'; rm well",
    );
    machine.reboot();
    wait_for_restore(machine);
    wait_until("the notice", || sh(machine, "cat notice || true").stdout.contains("leaky"));
    let all = machine.root(&["sh", "-c", "journalctl -b -o export; cat /home/ada/notice"]).ok().stdout;
    assert!(all.contains("exit status 3") && !all.contains("SECRET"));
    assert!(
        machine.user(&["forge", "restart", "leaky"]).code(1).stderr.contains("SECRET"),
        "shown to the user who asks"
    );
    machine.user(&["forge", "stop", "--all"]).ok();
    sh(machine, "rm notice");
}

/// Two agents in one directory, and a person's own: each session resumes its own conversation.
fn sessions_of_one_directory_keep_their_own_conversations(machine: &mut Machine) {
    set_up(machine);
    write(
        machine,
        USER,
        "/home/ada/.config/forge/forge.toml",
        "[sessions.one]\ncommand = 'agent --new'\ncwd = '~/my.project'\nresume = 'agent --resume {resume_id}'\n\
         resume_id = 'claude'\n[sessions.two]\ncommand = 'agent --new'\ncwd = '~/my.project'\n\
         resume = 'agent --resume {resume_id}'\nresume_id = 'claude'\n",
    );
    sh(
        machine,
        "export PATH=$HOME/bin:$PATH; rm -f agent.log; forge stop --all; forge spawn one; forge spawn two; forge restart one; \
         echo '{}' >.claude/projects/p/foreign.jsonl",
    );
    // The second one begins another conversation, as with /clear; forge has not looked since.
    sh(
        machine,
        "record=$(grep -l new-two .claude/sessions/*.json); sed -i s/new-two/later-two/ $record; \
         echo '{}' >.claude/projects/p/later-two.jsonl; sync",
    );
    machine.power_cut();
    wait_for_restore(machine);
    assert_eq!(running(machine), ["one", "two"]);
    let resumed = sh(machine, "grep -o 'resume [a-z-]*' agent.log | sort").stdout;
    assert_eq!(resumed, "resume later-two\nresume new-one\nresume new-one\n");
    // A conversation that is gone: the session begins another one, and says why.
    sh(machine, "rm .claude/projects/p/later-two.jsonl; sync");
    machine.power_cut();
    wait_for_restore(machine);
    let fresh = events(machine, "restored").iter().any(|event| {
        event["FORGE_SESSION"] == "two"
            && event["FORGE_FRESH"].as_str().is_some_and(|why| why.contains("no conversation later-two"))
    });
    assert!(fresh, "{}", story(machine));
    machine.user(&["forge", "stop", "--all"]).ok();
}

fn sixty_sessions_come_back(machine: &mut Machine) {
    sh(
        machine,
        "rm -rf .config/forge; forge units install --now; for n in $(seq 60); do forge spawn -q many-$n -- sleep 10000; done",
    );
    machine.reboot();
    // The manager reloads its units during the restore.
    sh(machine, "for n in 1 2 3 4 5; do systemctl --user daemon-reload; sleep 0.2; done");
    wait_for_restore(machine);
    assert_eq!(running(machine).len(), 60, "{}", story(machine));
    machine.user(&["forge", "probe"]).ok();
    let stopped = machine.user(&["forge", "--json", "stop", "--all"]).ok().json();
    assert_eq!(stopped["stopped"].as_array().expect("a list").len(), 60);
}

fn a_manager_that_is_restarted_brings_its_sessions_back(machine: &mut Machine) {
    set_up(machine);
    machine.user(&["forge", "spawn", "adhoc", "--", "sleep", "10000"]).ok();
    let boot = machine.boot_id();
    machine.root(&["systemctl", "restart", "user@1000.service"]).ok();
    wait_for_restore(machine);
    assert_eq!(boot, machine.boot_id());
    assert_eq!(running(machine), ["adhoc", "configured"]);
    machine.user(&["forge", "stop", "--all"]).ok();
}

/// Asserts that every supervised session has its supervisor and runs once.
#[track_caller]
fn all_supervised(machine: &Machine, wanted: &[&str]) {
    wait_until("all to be up under their supervisors", || {
        let list = machine.user(&["forge", "--json", "list"]).ok().json();
        let up = |one: &Value| one["state"] == "running" && one["supervised"] == true;
        list["sessions"].as_array().expect("sessions").iter().filter(|one| up(one)).count() == wanted.len()
    });
    assert_eq!(running(machine), wanted);
    for name in wanted {
        let servers = machine.user(&["pgrep", "-c", "-f", &format!("^[^ ]*tmux -u -L spawn-{name} ")]).stdout;
        assert_eq!(servers.trim(), "1", "{name}");
    }
}

fn supervised_sessions_come_back_supervised(machine: &mut Machine) {
    let config = "/home/ada/.config/forge/forge.toml";
    write(machine, USER, "/home/ada/bin/agent", AGENT);
    write(
        machine,
        USER,
        config,
        "[sessions.enabled]\ncommand = 'sleep 10000'\n[sessions.both]\ncommand = 'sleep 10000'\nboot = true\n\
         [sessions.talk]\ncommand = 'sleep 1111'\nresume = 'sleep {resume_id}'\nresume_id = '2222'\n",
    );
    sh(
        machine,
        "forge units install --now; systemctl --user enable --now forge-spawn@enabled forge-spawn@both; \
         systemctl --user start forge-spawn@talk forge-spawn@halted; systemctl --user stop forge-spawn@halted; \
         forge spawn adhoc --supervise -- sleep 10000; forge spawn forgotten --supervise -- sleep 10000; \
         forge stop forgotten",
    );
    all_supervised(machine, &["adhoc", "both", "enabled", "talk"]);
    machine.reboot();
    wait_for_restore(machine);
    all_supervised(machine, &["adhoc", "both", "enabled", "talk"]);
    assert!(sh(machine, "pgrep -a -x sleep").stdout.contains("sleep 2222"), "resumed");
    // A shutdown counts neither as a crash nor as a stop.
    assert_eq!(events(machine, "crashed").len() + events(machine, "breaker_open").len(), 0);
    assert!(
        monotonic(machine, "forge-spawn@enabled.service", "ActiveEnterTimestampMonotonic")
            >= monotonic(machine, "forge-tmux-socket-sweep.service", "ExecMainExitTimestampMonotonic")
    );
    let probe = machine.user(&["forge", "--json", "probe"]).ok().json();
    assert_eq!(probe["healthy"], true, "{probe}");
    let before = machine.root(&["journalctl", "-b", "-1", "-t", "forge", "FORGE_EVENT=crashed"]);
    assert!(!before.stdout.contains("crashed"), "{before}");
    sh(machine, "sync");
    machine.power_cut();
    wait_for_restore(machine);
    all_supervised(machine, &["adhoc", "both", "enabled", "talk"]);
    machine.user(&["forge", "stop", "--all"]).ok();
    assert_eq!(sh(machine, "systemctl --user list-units --no-legend 'forge-spawn@*'").stdout.trim(), "");
}
