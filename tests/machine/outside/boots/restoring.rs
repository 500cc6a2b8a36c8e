//! A restore beside another, beside stops, and one that is killed.

use super::{events, running, set_up, sh, write};
use crate::machine::{Machine, USER};
use crate::suite::{Test, outside};
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        outside!(two_simultaneous_restores_restore_once),
        outside!(a_killed_restore_continues),
        outside!(a_restore_starts_a_few_sessions_at_a_time),
        outside!(a_session_stopped_during_another_restore_stays_stopped),
        outside!(a_session_stopped_during_its_restore_stays_stopped),
    ]
}

fn two_simultaneous_restores_restore_once(machine: &mut Machine) {
    set_up(machine);
    sh(machine, "forge units uninstall; for n in 1 2 3 4 5; do forge spawn r$n -- sleep 10000; done");
    machine.reboot();
    assert!(running(machine).is_empty(), "nothing is installed that would restore");
    let before = machine.user(&["forge", "--json", "probe"]).code(5).json();
    assert!(before["problems"].to_string().contains("forge restore"), "{before}");
    let plan = machine.user(&["forge", "--json", "restore", "--dry-run"]).ok().json();
    assert_eq!(plan["plan"].as_array().expect("a plan").len(), 7, "{plan}");
    assert!(running(machine).is_empty(), "a dry run does nothing");
    let first = machine.spawn_user(&["forge", "--json", "restore"]);
    let second = machine.spawn_user(&["forge", "--json", "restore"]);
    let limit = Duration::from_secs(60);
    let mut results = [first.wait(limit).json(), second.wait(limit).json()];
    results.sort_by_key(|result| result["already"].as_bool());
    assert_eq!((&results[0]["already"], &results[1]["already"]), (&false.into(), &true.into()));
    assert_eq!(results[0]["restored"].as_array().expect("a list").len(), 6);
    assert_eq!(running(machine).len(), 6);
    assert_eq!(events(machine, "restored").len(), 6);
    machine.user(&["forge", "stop", "--all"]).ok();
}

fn a_killed_restore_continues(machine: &mut Machine) {
    sh(
        machine,
        "forge units uninstall; rm -rf .config/forge; \
                 for n in 1 2 3 4 5 6 7 8; do forge spawn k$n -- sleep 10000; done",
    );
    machine.power_cut();
    for delay in ["0.03", "0.1", "0.2"] {
        sh(machine, &format!("forge restore >/dev/null & sleep {delay}; kill -9 $!; wait 2>/dev/null; true"));
    }
    machine.user(&["forge", "restore"]).ok();
    assert_eq!(running(machine).len(), 8);
    let scopes =
        machine.user(&["systemctl", "--user", "list-units", "--no-legend", "forge-spawn-*.scope"]).ok();
    assert_eq!(scopes.stdout.lines().count(), 8, "{scopes}");
    machine.user(&["forge", "stop", "--all"]).ok();
}

fn a_restore_starts_a_few_sessions_at_a_time(machine: &mut Machine) {
    write(
        machine,
        USER,
        "/home/ada/bin/slow",
        "#!/bin/sh\necho + >>starts; sleep 0.4; echo - >>starts; echo up; exec sleep 10000\n",
    );
    write(machine, USER, "/home/ada/.config/forge/forge.toml", "[restore]\nconcurrency = 2\n");
    sh(
        machine,
        "forge units uninstall; for n in 1 2 3 4 5 6; do forge spawn s$n --ready up -- ~/bin/slow; done; rm starts",
    );
    machine.power_cut();
    let restored = machine.user(&["forge", "--json", "restore"]).ok().json();
    assert_eq!(restored["restored"].as_array().expect("a list").len(), 6, "{restored}");
    let mut at_once = 0;
    let most = sh(machine, "cat starts").stdout.lines().fold(0, |most, line| {
        at_once += if line == "+" { 1 } else { -1 };
        most.max(at_once)
    });
    assert_eq!(most, 2, "two at a time, and not one after the other");
    machine.user(&["forge", "stop", "--all"]).ok();
    sh(machine, "rm -r .config/forge starts");
}

/// One session is stopped while it waits for its turn, one while it is being started.
fn a_session_stopped_during_another_restore_stays_stopped(machine: &mut Machine) {
    write(machine, USER, "/home/ada/.config/forge/forge.toml", "[restore]\nconcurrency = 1\n");
    sh(
        machine,
        "forge units uninstall; : >may-be-ready; \
         forge spawn a1 --ready up -- sh -c 'test -e may-be-ready && echo up; sleep 10000'; \
         for n in b1 b2; do forge spawn $n -- sleep 10000; done; rm may-be-ready",
    );
    machine.power_cut();
    let reported = sh(
        machine,
        "forge restore >reported & restore=$!; \
         until forge --json list | grep -q starting; do sleep 0.05; done; \
         forge stop b1; forge stop a1; wait $restore; cat reported",
    );
    assert!(
        reported.stdout.contains("left b1: b1 was stopped, or started otherwise, meanwhile"),
        "{reported}"
    );
    assert_eq!(running(machine), ["b2"]);
    // Files left by writers that an earlier test killed do not count.
    assert_eq!(sh(machine, "cd .local/state/forge/sessions; ls *.json").stdout, "b2.json\n");
    machine.user(&["forge", "stop", "--all"]).ok();
    sh(machine, "rm -r .config/forge");
}

fn a_session_stopped_during_its_restore_stays_stopped(machine: &mut Machine) {
    // The second is what a stop does that observed the session just before.
    for stop in ["forge stop c1", "rm .local/state/forge/sessions/c1.json"] {
        sh(machine, "forge units uninstall; forge spawn c1 -- sleep 10000");
        machine.power_cut();
        // The restore of c1 is held in the sweep before its spawn, at a dead socket: the specification was
        // read, and none of its units exists.
        let reported = sh(
            machine,
            &format!(
                "tmux -L dead new -d 'sleep 10000'; kill -9 $(tmux -L dead display -p '#{{pid}}'); \
                 strace -f -qq -o /dev/null -e trace=unlinkat -e inject=unlinkat:delay_enter=2000000:when=1 \
                 forge restore >reported & restore=$!; \
                 until test -e /tmp/tmux-1000/dead.lock; do sleep 0.05; done; \
                 {stop}; wait $restore; cat reported"
            ),
        );
        let (stopped, left) = ("stopped c1: ", "left c1: c1 was stopped, or started otherwise, meanwhile");
        assert!(
            reported.stdout.contains(if stop.starts_with("forge") { stopped } else { left }),
            "{reported}"
        );
        assert_eq!(running(machine), [""; 0]);
        assert_eq!(
            sh(machine, "cd .local/state/forge/sessions; ls *.json 2>/dev/null | wc -l").stdout,
            "0\n"
        );
        sh(machine, "rm -f /tmp/tmux-1000/dead*");
    }
}
