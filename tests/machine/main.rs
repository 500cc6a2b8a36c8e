//! Tests on booted machines: a real systemd, user manager, journal and tmux.
//!
//! One program has two roles. On the host it boots machines (as root, with systemd-nspawn) and reports; in a
//! machine, with `--inside`, it is the test itself. Trials are named `DEBIAN::GROUP::TEST` and filtered as
//! usual: `cargo test --test machine -- trixie::sockets`.
//!
//! The tests in `vm` need virtual machines and run only on request: `cargo test --test machine -- --vm
//! [FILTER]`. So do the long form of the fault tests: `cargo test --test machine -- --faults [FILTER]`, and
//! the tests with real coding agents: `cargo test --test machine -- --agents [FILTER]`.
//!
//! Two more modes serve interactive use and `make demo`: `… --shell DEBIAN [--user USER]` and `… --run DEBIAN
//! [--user USER] -- ARGV…`. One serves `make bench`: `… --bench [DEBIAN] [PART…]`. In a machine, `--input-box
//! LOG OPTIONS` is the program that tests type into, and `--shared-daemon SOCKET WORK` a program that works in a
//! daemon.

#![allow(
    clippy::case_sensitive_file_extension_comparisons,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::exit,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::similar_names,
    clippy::unwrap_used,
    reason = "the rules of the product: a test panics to fail, and polls from outside what it tests"
)]

mod agents;
mod bench;
mod chance;
mod enter;
mod faults;
mod host;
mod image;
mod input_box;
mod inside;
mod machine;
mod outside;
mod qemu;
mod ran;
mod shared_daemon;
mod shell;
mod suite;
mod support;
mod trials;
mod vm;

use std::process::exit;
use suite::List;

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("--inside") => exit(inside_part(&args)),
        Some("--agent") => exit(qemu::agent()),
        Some(input_box::INPUT_BOX) => exit(input_box::main(&args)),
        Some(shared_daemon::SHARED_DAEMON) => exit(shared_daemon::main(&args)),
        Some(shared_daemon::DAEMON) => exit(shared_daemon::daemon(&args)),
        Some("--shell" | "--run") => exit(shell::main(&args)),
        Some(bench::BENCH) => exit(bench::main(&args)),
        Some(bench::MEASURE) => exit(bench::measure(&args)),
        Some(host::IN_NAMESPACE) if std::process::id() == 1 => exit(host::init(&args)),
        Some(host::IN_NAMESPACE) => {
            let run = host::Run::here(&args.remove(1));
            args.remove(0);
            match args.first().map(String::as_str) {
                Some("--shell" | "--run") => exit(shell::in_namespace(&run, &args)),
                Some(bench::BENCH) => exit(bench::in_namespace(&run, &args)),
                _ => exit(trials::run(&args, &Ok(run))),
            }
        }
        _ => exit(trials::main(&args)),
    }
}

/// Runs one test in the machine, as the user. A panic ends it with status 101.
fn inside_part(args: &[String]) -> i32 {
    let wanted = args.get(1).expect("--inside GROUP::TEST");
    for group in List::ALL.into_iter().flat_map(suite::groups) {
        for test in group.tests {
            if format!("{}::{}", group.name, test.name) == *wanted
                && let suite::Body::Inside(body) = test.body
            {
                body();
                return 0;
            }
        }
    }
    eprintln!("no inside test is named {wanted}");
    2
}
