//! A guarded command runs as it would without a guard: status, input, output, limits.

use super::{Production, guarded, nothing_left_of_guards, pid_of, running};
use crate::suite::{Test, inside};
use crate::support::{
    cgroup_of, event_since, forge, journal_cursor, processes_in, run, shell, signal, start, systemctl,
    user_unit_property,
};
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(a_guarded_command_behaves_as_an_unguarded_one),
        inside!(the_whole_process_tree_is_ended),
        inside!(a_command_has_its_limits),
        inside!(unread_stderr_does_not_block_the_guard),
        inside!(a_caller_that_ignores_sigchld_gets_the_status),
    ]
}

fn a_guarded_command_behaves_as_an_unguarded_one() {
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
    let is_reported = loud.stderr.lines().all(|line| line.starts_with("forge: web.service "));
    assert!(loud.stdout.is_empty() && is_reported && !loud.stderr.is_empty(), "{loud}");
    // Input, directory, environment and arguments with any bytes reach the command.
    let line = "cd /tmp && printf 'a\\0b' | VAR=x forge guard run --unit web -- \
                sh -c 'pwd; echo $VAR; od -An -c; printf %s \"$1\" | od -An -tx1' sh \"$(printf '\\377 \\042')\"";
    let ran = shell(line).ok();
    assert_eq!(ran.stdout, "/tmp\nx\n   a  \\0   b\n ff 20 22\n", "{ran}");
    // In a pipeline whose reader exits.
    let ran = shell("forge guard run --unit web -- yes | head -1").ok();
    assert_eq!(ran.stdout, "y\n");
    // Shells see which signal ended the command.
    let ran = run(&[
        "python3",
        "-c",
        "import subprocess as s\nprint(s.run(['forge', 'guard', 'run', '--', 'sh', '-c', 'kill -INT $$']).returncode)",
    ]);
    assert_eq!(ran.stdout, "-2\n", "{ran}");
    nothing_left_of_guards();
}

fn the_whole_process_tree_is_ended() {
    let web = Production::lasting("web");
    let leaves = "setsid sleep 2001 & nohup sh -c 'trap \"\" TERM HUP; (sleep 2002 &); sleep 2003' >/dev/null & sleep 0.3";
    let left = || shell("pgrep -c -f '^sleep 200[123]'").stdout.trim().to_owned();
    let ran = forge(&["--json", "guard", "run", "--unit", &web.unit, "--", "sh", "-c", leaves]).ok();
    assert_eq!(left(), "0", "{ran}");
    assert!(ran.json()["cleared"].as_u64() >= Some(3), "{ran}");
    nothing_left_of_guards();
    // With --leave-children they stay, keep their limits, and nobody ends them.
    guarded(&web, &["--leave-children"], &["sh", "-c", "setsid sleep 2001 >/dev/null 2>&1 &"]).ok();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(left(), "1");
    let pid = shell("pgrep -f '^sleep 2001'").stdout.trim().parse().expect("a pid");
    assert!(cgroup_of(pid).contains("/forge.slice/forge-guard.slice/forge-guard-"), "{}", cgroup_of(pid));
    signal("KILL", pid);
    nothing_left_of_guards();
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
    // Weights apply among siblings, so the slices need them too.
    assert_eq!(user_unit_property("forge-guard.slice", "CPUWeight"), "10");
    assert_eq!(user_unit_property("forge.slice", "CPUWeight"), "20");
    let pid = processes_in(&group)[0].to_string();
    assert_eq!(run(&["ionice", "-p", &pid]).ok().stdout.trim(), "idle");
    let score = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).expect("its score");
    assert!(score.trim().parse::<i32>().expect("a number") >= 500, "{score}");
    signal("TERM", pid_of(&id));
    running.wait(Duration::from_secs(20)).code(143);
    // Settings made by the user stay.
    systemctl(&["set-property", "--runtime", "forge.slice", "CPUWeight=77"]).ok();
    forge(&["guard", "run", "--cpu-weight", "33", "--", "true"]).ok();
    assert_eq!(user_unit_property("forge.slice", "CPUWeight"), "77");
    systemctl(&["revert", "forge.slice"]).ok();
}

fn unread_stderr_does_not_block_the_guard() {
    let web = Production::lasting("web");
    let cursor = journal_cursor();
    // A full pipe that nobody reads.
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

fn a_caller_that_ignores_sigchld_gets_the_status() {
    let web = Production::lasting("web");
    let line = format!(
        "import os, signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\n\
         os.execvp('forge', ['forge', 'guard', 'run', '--unit', '{}', '--', 'sh', '-c', 'exit 3'])",
        web.unit
    );
    run(&["python3", "-c", &line]).code(3);
}
