//! The environment of a session's program.
//!
//! It is the caller's, as with tmux itself and `systemd-run --scope`: who starts an agent from
//! a shell expects the `PATH`, the locale and the keys of that shell. Taken out is what speaks
//! of the caller's own place in systemd or tmux, and would lead the program astray.

use std::ffi::{OsStr, OsString};

use super::error::{Error, Result};
use super::name::SessionId;

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
pub fn is_callers_own(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    CALLERS_OWN.contains(&name) || CALLERS_OWN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The environment of a session: the caller's without what is its own, then what the user gave
/// for this session, then the session's name.
pub fn for_session(
    caller: impl IntoIterator<Item = (OsString, OsString)>,
    given: &[(String, String)],
    id: &SessionId,
) -> Vec<(OsString, OsString)> {
    let mut environment: Vec<(OsString, OsString)> =
        caller.into_iter().filter(|(name, _)| !is_callers_own(name)).collect();
    let named = (FORGE_SESSION.to_owned(), id.to_string());
    for (name, value) in given.iter().chain([&named]) {
        environment.retain(|(known, _)| known != OsStr::new(name));
        environment.push((name.into(), value.into()));
    }
    environment
}

/// Reads `K=V` as `--env` takes it.
///
/// # Errors
/// When there is no `=`, the name is none, or is one that forge sets itself. The value is not
/// repeated: it may be a secret.
pub fn parse_assignment(text: &str) -> Result<(String, String)> {
    let Some((name, value)) = text.split_once('=') else {
        return Err(
            Error::usage("--env takes NAME=VALUE, and one has no '='").hint("for example --env LANG=C.UTF-8")
        );
    };
    check_name(name)?;
    if value.contains('\0') {
        return Err(Error::usage(format!("the value of {name} has a NUL byte")));
    }
    Ok((name.to_owned(), value.to_owned()))
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
        let result = for_session(caller, &[("K".into(), "V".into())], &id);
        assert_eq!(result, os(&[("PATH", "/bin"), ("K", "V"), ("FORGE_SESSION", "demo")]));
    }

    #[test]
    fn what_the_user_gives_replaces_what_the_caller_has() {
        let id = SessionId::from_name("demo").unwrap();
        let result = for_session(os(&[("PATH", "/bin")]), &[("PATH".into(), "/opt".into())], &id);
        assert_eq!(result, os(&[("PATH", "/opt"), ("FORGE_SESSION", "demo")]));
    }

    #[test]
    fn assignments_are_checked_and_values_not_repeated() {
        assert_eq!(parse_assignment("A=b=c").unwrap(), ("A".into(), "b=c".into()));
        assert_eq!(parse_assignment("A=").unwrap(), ("A".into(), String::new()));
        for bad in ["sekret", "=x", "1A=sekret", "A B=sekret", "TMUX=sekret"] {
            assert!(!parse_assignment(bad).unwrap_err().message.contains("sekret"), "{bad}");
        }
    }
}
