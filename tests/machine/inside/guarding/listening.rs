//! `--deny-listen`, with and without Landlock in the kernel.

use super::{Production, nothing_left_of_guards};
use crate::suite::{Test, inside};
use crate::support::{event_since, forge, journal_cursor, run, shell, start, wait_until};
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    vec![inside!(listening_is_denied), inside!(listening_is_watched_where_the_kernel_cannot_deny_it)]
}

/// A Python program that listens in this way and prints the result.
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
            // The kernel refused the call; the command handles that error itself.
            assert_eq!(ran.code, 7, "{name}: {ran}");
            assert!(prefix.is_empty(), "{name}: {ran}");
        } else {
            assert_eq!(ran.code, 101, "{name}: {ran}");
            let event = event_since(&cursor, "guard_listen");
            assert_eq!(event["FORGE_PROCESS"], "python3", "{name}: {event}");
        }
    }
    // A process that no other may inspect (PR_SET_DUMPABLE).
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
    // Uses of sockets that stay allowed.
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
    // A listening socket that the caller passes on counts as the caller's.
    let hands_on = "import socket, subprocess, sys\ns = socket.create_server(('127.0.0.1', 0)); s.set_inheritable(True)\n\
                    sys.exit(subprocess.run(['forge', 'guard', 'run', '--deny-listen', '--', 'sleep', '1'], close_fds=False).returncode)";
    run(&["python3", "-c", hands_on]).ok();
}

fn listening_is_watched_where_the_kernel_cannot_deny_it() {
    // A kernel without Landlock returns this error.
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
    assert!(ran.stderr.contains("only watches for it"), "{ran}");
    deny(&prefix);
}
