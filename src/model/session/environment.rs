//! The environment of a session's program.
//!
//! The program inherits the caller's environment, as with tmux itself and `systemd-run --scope`: a user who
//! starts an agent from a shell expects the `PATH`, the locale and the API keys of that shell. forge removes
//! the variables that describe the caller's own unit, terminal or tmux pane, because they would mislead the
//! program.

use std::ffi::{OsStr, OsString};

use super::name::SessionId;
use crate::model::error::{Error, Result};

/// The variable that holds the session's name.
pub const FORGE_SESSION: &str = "FORGE_SESSION";

/// Variables that systemd, tmux or a terminal set for the caller only.
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

/// Prefixes of such names.
const CALLERS_OWN_PREFIXES: [&str; 2] = ["LISTEN_", "FORGE_"];

/// Whether the variable describes the caller's own place in systemd, tmux or a terminal. forge leaves such a variable
/// out of a session's environment.
fn is_callers_own(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    CALLERS_OWN.contains(&name) || CALLERS_OWN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether forge stores the variable for the session's next start, which may come from a caller without it:
/// a user manager at boot knows neither `~/.local/bin` nor the language. None of these variables holds
/// secrets.
pub fn is_kept(name: &str) -> bool {
    // The last three lead agents to their conversations.
    matches!(name, "PATH" | "LANG" | "LANGUAGE" | "TZ" | "CLAUDE_CONFIG_DIR" | "CODEX_HOME" | "COPILOT_HOME")
        || name.starts_with("LC_")
}

/// The environment of a session: the caller's without the caller's own variables, then the stored variables,
/// then those that the user gave for this session, then the session's name. Later ones override.
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

/// The directories of the first `PATH`, then those of the second that the first lacks: the program finds the
/// same commands as before, and commands that were installed since.
fn joined(first: &str, second: &str) -> String {
    let mut dirs: Vec<&str> = first.split(':').collect();
    for dir in second.split(':') {
        if !dirs.contains(&dir) {
            dirs.push(dir);
        }
    }
    dirs.join(":")
}

/// The variables that lead forge to its files, the user's bus and tmux.
pub const PLACE: [&str; 5] =
    ["HOME", "PATH", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"];

/// The prefix of the variables that hold the values of `--env` while forge executes itself without them.
pub const GIVEN: &str = "FORGE_GIVEN_";

/// A variable that a user gives with `--env`: `NAME=VALUE`, or `NAME` for the caller's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    pub name: String,
    /// The value, if the command line has it.
    pub value: Option<String>,
}

impl std::str::FromStr for Assignment {
    type Err = Error;

    /// Fails if the name is not valid, or if forge sets the variable itself. The error does not repeat the
    /// value, which may be a secret.
    fn from_str(text: &str) -> Result<Self> {
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        check_name(name)?;
        Ok(Self { name: name.to_owned(), value: value.map(ToOwned::to_owned) })
    }
}

pub type Given = (String, String);

/// The name of the text of `forge report --text` among the given values.
pub const GIVEN_TEXT: &str = "TEXT";

/// The command line without the values of `--env` and `forge report --text`, and those values; `None` if it has
/// none. Arguments after `--` belong to the program.
///
/// All users of the machine can read a command line, and the journal stores the command line of each process
/// that writes to it.
pub fn without_values(arguments: &[OsString]) -> Option<(Vec<OsString>, Vec<Given>)> {
    // Other commands have no such options; a similar argument of theirs has another meaning.
    let mut words = arguments.iter();
    let verb = loop {
        let word = words.next()?;
        if word == "--config" {
            // The next word is the value of --config, not the command.
            words.next();
        } else if !word.as_encoded_bytes().starts_with(b"-") {
            break word;
        }
    };
    match verb.to_str()? {
        "spawn" | "run" => without_assignments(arguments),
        "report" => without_text(arguments),
        _ => None,
    }
}

fn without_assignments(arguments: &[OsString]) -> Option<(Vec<OsString>, Vec<Given>)> {
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
                // The parser of the remaining command line refuses an invalid name.
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

/// An empty text stands for the given one.
fn without_text(arguments: &[OsString]) -> Option<(Vec<OsString>, Vec<Given>)> {
    let (mut given, mut rest) = (None, Vec::with_capacity(arguments.len()));
    let mut iter = arguments.iter();
    while let Some(argument) = iter.next() {
        let argument = argument.to_string_lossy();
        let text = if argument == "--text" {
            iter.next().map(|text| text.to_string_lossy().into_owned())
        } else {
            argument.strip_prefix("--text=").map(str::to_owned)
        };
        if let Some(text) = text {
            rest.push("--text=".into());
            given = Some(text);
        } else {
            rest.push(argument.into_owned().into());
        }
    }
    let given = given.filter(|text| !text.is_empty())?;
    Some((rest, vec![(GIVEN_TEXT.to_owned(), given)]))
}

/// Checks the name of a variable that a user gives.
///
/// # Errors
/// `Kind::Usage` if the name is not valid, or if the variable belongs to forge or tmux.
pub fn check_name(name: &str) -> Result<()> {
    let good = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !good {
        return Err(Error::usage(format!("'{name}' is not a valid name of an environment variable"))
            .hint("use letters, digits and _, and do not begin with a digit"));
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
    fn the_callers_own_variables_are_removed() {
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
    fn given_variables_override_those_of_the_caller() {
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
    fn the_stored_path_comes_first() {
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
        for given in ["report asking --text Sure? --json", "report asking --text=Sure? --json"] {
            let (rest, values) = without_values(&line(given)).unwrap();
            assert_eq!(rest, line("report asking --text= --json"));
            assert_eq!(values, [(GIVEN_TEXT.to_owned(), "Sure?".to_owned())]);
            assert_eq!(without_values(&rest), None, "once");
        }
        assert_eq!(without_values(&line("report asking --text")), None);
        // The parser refuses an invalid name, and repeats it.
        assert_eq!(without_values(&line("spawn x --env 1=2")), Some((line("spawn x --env=1"), vec![])));
    }
}
