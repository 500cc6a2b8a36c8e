//! The environment of a session's program.
//!
//! It is the caller's, as with tmux itself and `systemd-run --scope`: who starts an agent from
//! a shell expects the `PATH`, the locale and the keys of that shell. Taken out is what speaks
//! of the caller's own place in systemd or tmux, and would lead the program astray.

use std::ffi::{OsStr, OsString};

use super::name::SessionId;
use crate::model::error::{Error, Result};

/// Tells a program which session it is in.
pub const FORGE_SESSION: &str = "FORGE_SESSION";

/// Variables that systemd, tmux or a terminal set for the caller alone.
const CALLERS_OWN: [&str; 17] = [
    "CREDENTIALS_DIRECTORY",
    "FDSTORE",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "MAINPID",
    "MANAGERPID",
    "MANAGERPIDFDID",
    "MEMORY_PRESSURE_WATCH",
    "MEMORY_PRESSURE_WRITE",
    "NOTIFY_SOCKET",
    "SYSTEMD_EXEC_PID",
    "TMUX",
    "TMUX_PANE",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "COLUMNS",
    "LINES",
];

/// Beginnings of such names.
const CALLERS_OWN_PREFIXES: [&str; 2] = ["LISTEN_", "FORGE_"];

/// Whether a variable of the caller is kept from the program.
fn is_callers_own(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    CALLERS_OWN.contains(&name) || CALLERS_OWN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether a variable is kept for the session's next start, which may come from a caller who has
/// little of it: a user manager at boot knows neither `~/.local/bin` nor the language. None of
/// these holds secrets.
pub fn is_kept(name: &str) -> bool {
    matches!(name, "PATH" | "LANG" | "LANGUAGE" | "TZ") || name.starts_with("LC_")
}

/// The environment of a session: the caller's without what is its own, then what was kept and
/// what the user gave for this session, then the session's name.
pub fn for_session(
    caller: impl IntoIterator<Item = (OsString, OsString)>,
    kept: &[(String, String)],
    given: &[(String, String)],
    id: &SessionId,
) -> Vec<(OsString, OsString)> {
    let mut environment: Vec<(OsString, OsString)> =
        caller.into_iter().filter(|(name, _)| !is_callers_own(name)).collect();
    let named = (FORGE_SESSION.to_owned(), id.to_string());
    let kept: Vec<Given> = kept
        .iter()
        .map(|(name, value)| {
            let callers = environment.iter().find(|(known, _)| known == OsStr::new(name));
            match callers.and_then(|(_, value)| value.to_str()) {
                Some(callers) if name == "PATH" => (name.clone(), joined(value, callers)),
                _ => (name.clone(), value.clone()),
            }
        })
        .collect();
    for (name, value) in kept.iter().chain(given).chain([&named]) {
        environment.retain(|(known, _)| known != OsStr::new(name));
        environment.push((name.into(), value.into()));
    }
    environment
}

/// The directories of the first `PATH`, and those of the second that are not among them: what was
/// found before is found again, and what was installed since is found too.
fn joined(first: &str, second: &str) -> String {
    let mut dirs: Vec<&str> = first.split(':').collect();
    for dir in second.split(':') {
        if !dirs.contains(&dir) {
            dirs.push(dir);
        }
    }
    dirs.join(":")
}

/// Where forge finds its files, its manager's bus, and tmux.
pub const PLACE: [&str; 5] =
    ["HOME", "PATH", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"];

/// Where a value given on the command line waits while forge executes itself without it.
pub const GIVEN: &str = "FORGE_GIVEN_";

/// A variable that a user gives with `--env`: `NAME=VALUE`, or `NAME` for the caller's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The variable.
    pub name: String,
    /// Its value, where it stands on the command line.
    pub value: Option<String>,
}

impl std::str::FromStr for Assignment {
    type Err = Error;

    /// Fails when the name is none, or is one that forge sets itself. The value is not repeated:
    /// it may be a secret.
    fn from_str(text: &str) -> Result<Self> {
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        check_name(name)?;
        Ok(Self { name: name.to_owned(), value: value.map(ToOwned::to_owned) })
    }
}

/// A variable and its value.
pub type Given = (String, String);

/// The same command line without the values of `--env`, and those values; `None` where there are
/// none. What stands after `--` is the program's.
///
/// Everybody may read a command line, and the journal keeps that of everybody who writes to it.
pub fn without_values(arguments: &[OsString]) -> Option<(Vec<OsString>, Vec<Given>)> {
    // Other verbs have no such option; what looks like it there is theirs.
    let mut words = arguments.iter();
    let verb = loop {
        let word = words.next()?;
        if word == "--config" {
            // Its value is a word of its own, and not the verb.
            words.next();
        } else if !word.as_encoded_bytes().starts_with(b"-") {
            break word;
        }
    };
    if verb != "spawn" && verb != "run" {
        return None;
    }
    let (mut values, mut is_other) = (Vec::new(), false);
    let mut rest = Vec::with_capacity(arguments.len());
    let mut iter = arguments.iter();
    while let Some(argument) = iter.next() {
        let text = argument.to_str().unwrap_or_default();
        let assignment = if text == "--env" {
            iter.next().and_then(|next| next.to_str())
        } else {
            text.strip_prefix("--env=")
        };
        match assignment.map(|assignment| (assignment, assignment.split_once('='))) {
            Some((_, Some((name, value)))) => {
                rest.push(format!("--env={name}").into());
                is_other = true;
                // A name that is none is refused by whoever reads the rest.
                if check_name(name).is_ok() {
                    values.push((name.to_owned(), value.to_owned()));
                }
            }
            Some((assignment, _)) => rest.push(format!("--env={assignment}").into()),
            None => rest.push(argument.clone()),
        }
        if text == "--" {
            rest.extend(iter.by_ref().cloned());
        }
    }
    is_other.then_some((rest, values))
}

/// Checks the name of a variable that a user gives.
///
/// # Errors
/// When it is no name of a variable, or one that belongs to forge or tmux.
pub fn check_name(name: &str) -> Result<()> {
    let good = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !good {
        return Err(Error::usage(format!("'{name}' is no name of an environment variable"))
            .hint("letters, digits and _, and no digit first"));
    }
    if name == FORGE_SESSION || name == "TMUX" || name == "TMUX_PANE" {
        return Err(Error::usage(format!("{name} is set by forge or tmux itself and cannot be given")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn os(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn the_callers_place_is_not_handed_on() {
        let caller = os(&[
            ("PATH", "/bin"),
            ("TMUX", "/tmp/x,1,0"),
            ("TMUX_PANE", "%3"),
            ("NOTIFY_SOCKET", "/run/x"),
            ("LISTEN_FDS", "1"),
            ("LISTEN_PID", "7"),
            ("FORGE_CONFIG", "/x"),
            ("FORGE_SESSION", "outer"),
            ("INVOCATION_ID", "1"),
        ]);
        let id = SessionId::from_name("demo").unwrap();
        let result = for_session(caller, &[], &[("K".into(), "V".into())], &id);
        assert_eq!(result, os(&[("PATH", "/bin"), ("K", "V"), ("FORGE_SESSION", "demo")]));
    }

    #[test]
    fn what_the_user_gives_replaces_what_the_caller_has() {
        let id = SessionId::from_name("demo").unwrap();
        let result = for_session(
            os(&[("PATH", "/bin"), ("LANG", "C")]),
            &[("PATH".into(), "/kept".into()), ("LANG".into(), "de_DE.UTF-8".into())],
            &[("PATH".into(), "/opt".into())],
            &id,
        );
        assert_eq!(result, os(&[("LANG", "de_DE.UTF-8"), ("PATH", "/opt"), ("FORGE_SESSION", "demo")]));
    }

    #[test]
    fn what_was_found_before_is_found_again() {
        let id = SessionId::from_name("demo").unwrap();
        let kept = [("PATH".to_owned(), "/home/a/bin:/bin".to_owned())];
        let result = for_session(os(&[("PATH", "/bin:/opt")]), &kept, &[], &id);
        assert_eq!(result, os(&[("PATH", "/home/a/bin:/bin:/opt"), ("FORGE_SESSION", "demo")]));
    }

    #[test]
    fn assignments_are_checked_and_values_not_repeated() {
        let parse = |text: &str| text.parse::<Assignment>();
        assert_eq!(parse("A=b=c").unwrap(), Assignment { name: "A".into(), value: Some("b=c".into()) });
        assert_eq!(parse("A").unwrap(), Assignment { name: "A".into(), value: None });
        for bad in ["=x", "1A=sekret", "A B=sekret", "TMUX=sekret", ""] {
            assert!(!parse(bad).unwrap_err().message.contains("sekret"), "{bad}");
        }
    }

    #[test]
    fn values_leave_the_command_line() {
        let line = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        let (rest, values) =
            without_values(&line("spawn x --env A=1 --env=B=2=3 --env C -q -- env --env D=4")).unwrap();
        assert_eq!(rest, line("spawn x --env=A --env=B --env=C -q -- env --env D=4"));
        assert_eq!(values, [("A".to_owned(), "1".to_owned()), ("B".to_owned(), "2=3".to_owned())]);
        assert_eq!(without_values(&line("spawn x --env A -- env --env D=4")), None);
        let (rest, values) = without_values(&line("--config f.toml run x --env A=1")).unwrap();
        assert_eq!((rest, values.len()), (line("--config f.toml run x --env=A"), 1));
        assert_eq!(without_values(&line("send x --env=A=1")), None);
        // What is wrong is left for the parser to refuse, which repeats it.
        assert_eq!(without_values(&line("spawn x --env 1=2")), Some((line("spawn x --env=1"), vec![])));
    }
}
