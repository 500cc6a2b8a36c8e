//! Errors in a configuration file, with their line and a suggestion.

use crate::model::error::{Error, Kind};
use crate::model::similar::nearest;

/// The error with the line of the mistake, and the known key that was probably meant.
pub(super) fn explain(text: &str, error: &toml::de::Error) -> Error {
    let line = error
        .span()
        .map_or(1, |span| text.get(..span.start).map_or(1, |before| before.matches('\n').count() + 1));
    let message = error.message();
    let explained =
        Error::new(Kind::Config, format!("line {line}: {}", message.lines().next().unwrap_or(message)));
    match unknown_key(message) {
        Some((key, known)) => {
            let unknown = Error::new(Kind::Config, format!("line {line}: unknown key '{key}'"));
            match nearest(key, known.iter().copied()) {
                Some(near) => unknown.hint(format!("did you mean '{near}'?")),
                None => unknown.hint(format!("known keys: {}", known.join(", "))),
            }
        }
        None => explained,
    }
}

/// Parses serde's "unknown field `x`, expected one of `a`, `b`" into the key and the known keys. The key may
/// contain any character.
fn unknown_key(message: &str) -> Option<(&str, Vec<&str>)> {
    let (key, known) = message.strip_prefix("unknown field `")?.rsplit_once("`, expected ")?;
    Some((key, known.split('`').skip(1).step_by(2).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::load::parse;

    /// The keys of a table, as an unknown one is answered.
    fn keys(table: &str) -> Vec<String> {
        let text = format!("{table}\nno-such-key = 1\n");
        let error = toml::from_str::<Config>(&text).unwrap_err();
        let known = unknown_key(error.message()).unwrap().1;
        known.into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn the_manual_has_every_key_and_no_other() {
        let manual = include_str!("../../packaging/man/forge.toml.5");
        let sections = ["sweep", "limits", "sessions.NAME", "agents.NAME", "restore", "guard", "notify"];
        for table in sections.into_iter().chain(["notify.telegram", "notify.webhook"]) {
            let section = manual.split(&format!(".SH \"[{table}]\"\n")).nth(1).expect(table);
            let section = section.split("\n.SH ").next().unwrap();
            let documented: Vec<&str> =
                section.split(".TP\n.B ").skip(1).map(|key| key.lines().next().unwrap()).collect();
            assert_eq!(documented, keys(&format!("[{}]", table.replace("NAME", "a"))), "[{table}]");
        }
    }

    #[test]
    fn an_unknown_key_names_the_nearest_known_one() {
        let error = parse("[sessions.a]\n\ncomand = 'x'\n").unwrap_err();
        assert_eq!(error.message, "line 3: unknown key 'comand'");
        assert_eq!(error.hint.as_deref(), Some("did you mean 'command'?"));
        let error = parse("[zzz]\n").unwrap_err();
        assert_eq!(
            error.hint.as_deref(),
            Some("known keys: sweep, limits, sessions, agents, restore, notify, guard")
        );
        let error = parse("[restore]\n'a`b' = 1\n").unwrap_err();
        assert_eq!(error.message, "line 2: unknown key 'a`b'");
        assert_eq!(error.hint.as_deref(), Some("known keys: concurrency"));
    }
}
