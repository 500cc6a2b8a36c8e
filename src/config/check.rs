//! Checks of values that the keys' types cannot express.

use std::time::Duration;

use super::{Config, SessionConfig};
use crate::model::error::{Error, Kind, Result};
use crate::model::screen::typing;
use crate::model::session::limits::Percent;
use crate::model::session::resume;
use crate::model::supervision::{OUTPUT_STEP, Sign};
use crate::model::time::span_text;

/// Checks the keys that depend on each other, which may come from different files.
///
/// # Errors
/// `Kind::Config` for keys that contradict each other.
pub(super) fn check_together(config: &Config) -> Result<()> {
    for (id, session) in &config.sessions {
        if session.resume.as_ref().is_some_and(resume::needs_id) && session.resume_id.is_none() {
            return Err(Error::new(
                Kind::Config,
                format!(
                    "[sessions.{id}]: resume contains {}, but there is no resume_id",
                    resume::PLACEHOLDER
                ),
            )
            .hint("set resume_id to \"claude\", to a fixed text, or to a command that prints the id"));
        }
        session
            .prompts()
            .check()
            .map_err(|error| Error { kind: Kind::Config, ..error.while_(format!("[sessions.{id}]")) })?;
        if let Some(why) = not_supervisable(session) {
            return Err(Error::new(Kind::Config, format!("[sessions.{id}]: {why}")));
        }
    }
    if let Some(webhook) = &config.notify.webhook
        && webhook.url.is_some() == webhook.url_file.is_some()
    {
        return Err(Error::new(Kind::Config, "[notify.webhook] needs exactly one of url and url_file"));
    }
    if config.notify.telegram.as_ref().is_some_and(|telegram| telegram.chat_id.is_none()) {
        return Err(Error::new(Kind::Config, "[notify.telegram] has no chat_id"));
    }
    Ok(())
}

/// The contradiction in a session's supervision keys, if there is one.
fn not_supervisable(session: &SessionConfig) -> Option<String> {
    let SessionConfig { stuck_after, stuck_by, nudge_text, stuck_restart_after, .. } = session;
    if stuck_after.is_none() && (stuck_by.is_some() || nudge_text.is_some()) {
        return Some("stuck_by and nudge_text need stuck_after".to_owned());
    }
    let shortest = Duration::from_secs(1);
    for (key, value) in [("stuck_after", stuck_after), ("stuck_restart_after", stuck_restart_after)] {
        if value.is_some_and(|value| value < shortest) {
            return Some(format!("{key} must be at least 1 second"));
        }
    }
    if let (Some(after), Some(restart)) = (stuck_after, stuck_restart_after)
        && restart <= after
    {
        return Some(format!(
            "stuck_restart_after ({}) must be longer than stuck_after ({})",
            span_text(*restart),
            span_text(*after)
        ));
    }
    if stuck_by.as_ref().is_some_and(Vec::is_empty) {
        return Some("stuck_by is empty: use beat, output or cpu".to_owned());
    }
    let by_output = stuck_by.as_ref().is_some_and(|signs| signs.contains(&Sign::Output));
    (by_output && stuck_after.is_some_and(|after| after <= OUTPUT_STEP)).then(|| {
        format!(
            "stuck_after is too short for stuck_by = output: the kernel keeps the time of the last output in steps of {} seconds",
            OUTPUT_STEP.as_secs()
        )
    })
}

/// Checks a pressure limit for freezing.
///
/// # Errors
/// `Kind::Usage` if the value is not between 1 and 100 percent.
pub fn check_pressure(percent: Percent) -> Result<()> {
    if (1..=100).contains(&percent.0) {
        return Ok(());
    }
    Err(Error::usage(format!("freeze-on-pressure is {}: use 1 to 100 percent", percent.0))
        .hint("for example 40%: the share of the time in which a guarded unit waits for a resource"))
}

/// Checks that forge can type the nudge.
pub(super) fn check_nudge(text: &str) -> Result<()> {
    typing::text(text).map(drop).map_err(|error| error.while_("nudge_text"))
}

pub(super) fn check_port(port: u16) -> Result<()> {
    if port == 0 { Err(Error::usage("0 is not a valid port")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::parse;

    #[test]
    fn mistakes_name_their_place() {
        for (text, part) in [
            ("[limits]\ncpu_weight = 0", "[limits]: cpu-weight is 0"),
            ("[limits]\nmemory_max = 'x'", "line 2: 'x' is not a valid size"),
            ("[sessions.a]\nready = '['", "line 2: the ready pattern '['"),
            ("[sessions.a]\nready = 'x'\nnot_ready = '['", "line 3: the not_ready pattern '['"),
            ("[sessions.a]\nasking = ''", "line 2: the asking pattern ''"),
            ("[sessions.a]\nnot_ready = 'x'", "[sessions.a]: not_ready needs ready"),
            ("[sessions.a.env]\n'1' = 'x'", "[sessions.a]: '1' is not a valid name"),
            ("[sessions.'a b']\n", "'a b' is not a valid session id"),
            ("[sweep]\nprotect = ['[a']", "'[a' is not a valid pattern"),
            ("[sessions.a]\nresume = 'x {resume_id}'", "there is no resume_id"),
            ("[restore]\nconcurrency = 0", "use 1 to 100"),
            ("[sessions.a]\nports = [70000]", "line 2"),
            ("[sessions.a]\nports = [0]", "0 is not a valid port"),
            ("[sessions.a]\nrestart = 'sometimes'", "unknown variant `sometimes`, expected one of `never`"),
            ("[sessions.a]\nnudge_text = 'x'", "need stuck_after"),
            (
                "[sessions.a]\nnudge_text = \"a\\u001b\"",
                "nudge_text: byte 2 of the text is the control character",
            ),
            (
                "[sessions.a]\nstuck_after = 60\nstuck_restart_after = 60",
                "must be longer than stuck_after (1min)",
            ),
            ("[sessions.a]\nstuck_after = 0", "stuck_after must be at least 1 second"),
            (
                "[sessions.a]\nstuck_after = 'soon'",
                "line 2: 'soon' is not a valid time span: use seconds (90) or",
            ),
            ("[sessions.a]\nstuck_after = -1", "expected seconds (90) or a span such as 90s"),
            ("[sweep]\ntimeout_ms = true", "expected milliseconds (500) or a span"),
            ("[sessions.a]\nstuck_after = 60\nstuck_by = []", "stuck_by is empty"),
            ("[sessions.a]\nstuck_after = 5\nstuck_by = ['output']", "too short"),
            ("[notify.webhook]\n", "exactly one of url and url_file"),
            ("[notify.telegram]\n", "has no chat_id"),
            ("[guard]\nunits = ['a b']", "[guard]: 'a b' is not a valid unit name"),
            ("[guard]\nfreeze_on_pressure = 0", "[guard]: freeze-on-pressure is 0"),
            ("x", "line 1"),
        ] {
            let error = parse(text).and_then(|config| check_together(&config)).unwrap_err();
            assert!(error.message.contains(part), "{text}: {error}");
            assert_eq!(error.kind, Kind::Config);
        }
    }
}
