//! `--shell` and `--run`: a machine for interactive use.

use crate::host::{self, Run};
use crate::machine::{Machine, USER, exit_code};
use crate::suite::Debian;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

const USAGE: &str = "usage: --shell DEBIAN [--user USER] | --run DEBIAN [--user USER] -- ARGV…";

struct Wanted<'a> {
    debian: Debian,
    user: &'a str,
    argv: &'a [String],
}

fn parse(args: &[String]) -> Option<Wanted<'_>> {
    let debian = Debian::named(args.get(1)?)?;
    let mut user = USER;
    let mut rest = &args[2..];
    if rest.first().is_some_and(|arg| arg == "--user") {
        user = rest.get(1)?;
        rest = &rest[2..];
    }
    let argv = match (args[0].as_str(), rest.split_first()) {
        ("--shell", None) => &[],
        ("--run", Some((dashes, argv))) if dashes == "--" && !argv.is_empty() => argv,
        _ => return None,
    };
    Some(Wanted { debian, user, argv })
}

/// On the host: checks the arguments and goes into the namespaces.
pub(crate) fn main(args: &[String]) -> i32 {
    if parse(args).is_none() {
        eprintln!("{USAGE}");
        return 2;
    }
    host::enter(args).unwrap_or_else(|reason| {
        eprintln!("no machine can run here: {reason}");
        1
    })
}

/// In the namespaces: boots, runs the command and returns its status.
pub(crate) fn in_namespace(run: &Run, args: &[String]) -> i32 {
    let Some(Wanted { debian, user, argv }) = parse(args) else {
        return 2;
    };
    let mut machine = Machine::new(debian, "", run);
    // The user's command has no deadline.
    machine.deadline = Instant::now() + Duration::from_secs(86_400 * 365);
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let line = match argv {
        [] => "exec bash -l".to_owned(),
        argv => format!("exec {}", argv.iter().map(|arg| quoted(arg)).collect::<Vec<_>>().join(" ")),
    };
    // The host's terminal has no name in the machine; `script` provides one that has.
    let argv: &[&str] = if terminal {
        &["script", "--quiet", "--return", "--command", &line, "/dev/null"]
    } else {
        &["sh", "-c", &line]
    };
    match machine.command(user, argv).status() {
        Ok(status) => exit_code(status),
        Err(error) => {
            eprintln!("nsenter cannot be run: {error}");
            1
        }
    }
}

fn quoted(arg: &str) -> String {
    format!("'{}'", arg.replace('\'', r"'\''"))
}
