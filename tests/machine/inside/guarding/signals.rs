//! Signals and terminal keys reach the guarded command.

use super::{Production, nothing_left_of_guards};
use crate::suite::{Test, inside};
use crate::support::{kill_server, run, shell, signal, start, tmux, wait_until};
use std::path::Path;
use std::time::{Duration, Instant};

pub(crate) fn tests() -> Vec<Test> {
    vec![inside!(signals_are_passed_on), inside!(terminal_keys_reach_the_command)]
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
    // `timeout` ends a guard like any other program.
    let begin = Instant::now();
    run(&["timeout", "1", "forge", "guard", "run", "--unit", &web.unit, "--", "sleep", "1000"]).code(124);
    assert!(begin.elapsed() < Duration::from_secs(30));
    nothing_left_of_guards();
}

fn terminal_keys_reach_the_command() {
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
    // The command reads from the terminal and is in its foreground.
    keys(&[
        "forge guard run --unit web -- sh -c 'test -t 0 && test -t 1 && echo pl\\ease && read x && echo got:$x'",
        "Enter",
    ]);
    shows("please");
    keys(&["typed", "Enter"]);
    shows("got:typed");
    // Ctrl-C ends the command, and the shell sees the signal.
    keys(&[
        "clear; forge guard run --unit web -- sh -c 'echo beg\\un; exec sleep 1000'; echo status=$?",
        "Enter",
    ]);
    shows("begun");
    keys(&["C-c"]);
    wait_until(Duration::from_secs(20), "the end of the job", || screen().trim_end().ends_with("ready>"));
    assert!(!screen().contains("status="), "the shell gave the line up, as after Ctrl-C:\n{}", screen());
    // Ctrl-Z stops the command, fg continues it.
    keys(&[
        "clear; forge guard run --unit web -- sh -c 'echo wo\\rks; sleep 1.5; sleep 1; echo do\\ne'",
        "Enter",
    ]);
    shows("works");
    // A shell between vfork and exec cannot be stopped: its child stops, and the shell waits for the child
    // for ever, with or without forge (dash 0.5.12: 8 of 400 that were stopped right after their first line).
    wait_until(Duration::from_secs(20), "its first sleep", || run(&["pgrep", "-xf", "sleep 1.5"]).code == 0);
    keys(&["C-z"]);
    shows("Stopped");
    let states = shell("ps -o stat= -C forge,sleep --no-headers | cut -c1 | sort -u").stdout;
    assert!(states.contains('T'), "{states}");
    keys(&["fg", "Enter"]);
    shows("done");
    shows("undisturbed: web.service");
    // A program that restores its terminal before it stops.
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
