//! The configuration.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use forge::config::{Config, load, salvage_sweep};
use forge::model::error::{Error, Kind};
use forge::model::session::limits::Limits;
use forge::model::session::name::SessionId;
use proptest::option;
use proptest::prelude::*;

use crate::arguments::{argv, limits};
use crate::{bytes, id, properties, text};

fn read(text: impl AsRef<[u8]>) -> Result<Config, Error> {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("forge.toml");
    std::fs::write(&file, text).unwrap();
    load(root.path(), None)
}

/// A text in TOML: the same as in JSON, except for one character.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap().replace('\u{7f}', "\\u007f")
}

fn list<'a>(texts: impl IntoIterator<Item = &'a String>) -> String {
    format!("[{}]", texts.into_iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "))
}

/// The configuration of a session.
#[derive(Debug, Clone)]
struct Session {
    command: Option<Vec<String>>,
    cwd: Option<String>,
    env: BTreeMap<String, String>,
    limits: Limits,
    resume_id: Option<String>,
    ports: Vec<u16>,
    boot: bool,
    stuck: Option<(u64, u64)>,
}

fn session() -> impl Strategy<Value = Session> {
    let ports = proptest::collection::vec(1..=u16::MAX, 0..3);
    let env = proptest::collection::btree_map("[A-Z]{5,6}", text(), 0..3);
    let stuck = option::of((9..1000u64, 1..1000u64));
    let resume_id = option::of(text());
    (option::of(argv()), option::of(text()), env, limits(), resume_id, ports, any::<bool>(), stuck).prop_map(
        |(command, cwd, env, limits, resume_id, ports, boot, stuck)| Session {
            command: command.map(|argv| argv.as_slice().to_vec()),
            cwd: cwd.map(|cwd| format!("/{cwd}")),
            env,
            limits,
            resume_id,
            ports,
            boot,
            stuck,
        },
    )
}

/// The keys below `[sessions.NAME]`.
fn printed(session: &Session) -> String {
    let mut lines = Vec::new();
    lines.extend(session.command.as_ref().map(|command| format!("command = {}", list(command))));
    lines.extend(session.cwd.as_ref().map(|cwd| format!("cwd = {}", quoted(cwd))));
    let env = session.env.iter().map(|(name, value)| format!("{name} = {}", quoted(value)));
    lines.push(format!("env = {{ {} }}", env.collect::<Vec<_>>().join(", ")));
    // A JSON object is a TOML inline table, except for the colons; it contains no texts.
    let limits = serde_json::to_string(&session.limits).unwrap();
    lines.push(format!("limits = {}", limits.replace("\":", "\" = ")));
    lines.extend(session.resume_id.as_ref().map(|id| format!("resume_id = {}", quoted(id))));
    lines.push(format!("ports = {:?}\nboot = {}", session.ports, session.boot));
    if let Some((after, more)) = session.stuck {
        lines.push(format!("stuck_after = {after}\nstuck_restart_after = '{}s'", after + more));
    }
    lines.join("\n")
}

fn sessions() -> impl Strategy<Value = BTreeMap<SessionId, Session>> {
    proptest::collection::btree_map(id(), session(), 0..3)
}

/// A text made of the pieces of a configuration.
fn nearly() -> impl Strategy<Value = String> {
    let piece = proptest::sample::select(vec![
        "[",
        "]",
        "[[",
        "sweep",
        "limits",
        "sessions",
        ".",
        "a",
        "\n",
        " = ",
        "'",
        "\"",
        "\"\"\"",
        "{",
        "}",
        ",",
        "1",
        "-1",
        "9223372036854775807",
        "0x10",
        "true",
        "nan",
        "1979-05-27",
        "command",
        "protect",
        "memory_max",
        "2G",
        "ready",
        "#",
        "\\",
        "é",
        "\u{1b}",
        "boot",
        "guard",
        "units",
        "notify",
        "webhook",
        "url",
    ]);
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// The tables, and some keys of each.
const KEYS: [(&str, &[&str]); 6] = [
    ("sweep", &["protect", "timeout_ms"]),
    ("limits", &["memory_max", "memory_high", "cpu_weight", "tasks_max"]),
    ("sessions.a", &["command", "ready_timeout", "resume_id", "stuck_restart_after", "nudge_text"]),
    ("restore", &["concurrency"]),
    ("notify.webhook", &["url_file"]),
    ("guard", &["system_units", "freeze_on_pressure"]),
];

fn key() -> impl Strategy<Value = (&'static str, &'static str)> {
    let all = KEYS.iter().flat_map(|(table, keys)| keys.iter().map(|key| (*table, *key)));
    proptest::sample::select(all.collect::<Vec<_>>())
}

properties! {
    #[test]
    fn any_text_is_a_configuration_or_an_error_with_its_file(text in prop_oneof![
        bytes(),
        nearly().prop_map(String::into_bytes),
    ]) {
        if let Err(error) = read(&text) {
            prop_assert_eq!(error.kind, Kind::Config);
            prop_assert!(error.message.contains("forge.toml") || error.message.starts_with('['), "{}", error);
        }
    }

    #[test]
    fn a_printed_configuration_parses_back(sessions in sessions(), limits in limits(), protect in proptest::collection::vec("[a-z*?é -]{0,9}", 0..3)) {
        let protect: Vec<String> = protect.into_iter().filter(|name| !name.contains("**")).collect();
        let mut text = format!("[sweep]\nprotect = {}\n", list(&protect));
        text += &format!("[limits]\n{}\n", serde_json::to_string_pretty(&limits).unwrap()
            .replace("\": ", "\" = ").replace(['{', '}', ','], ""));
        for (id, session) in &sessions {
            text += &format!("[sessions.{id}]\n{}\n", printed(session));
        }
        let config = read(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(config.sweep.protect, protect);
        prop_assert_eq!(config.limits, limits);
        prop_assert!(config.sessions.keys().eq(sessions.keys()));
        for (id, session) in sessions {
            let read = &config.sessions[&id];
            prop_assert_eq!(read.command.as_ref().map(|argv| argv.as_slice().to_vec()), session.command);
            prop_assert_eq!(read.cwd.as_deref(), session.cwd.as_deref().map(Path::new));
            prop_assert_eq!(&read.env, &session.env);
            prop_assert_eq!(&read.limits, &session.limits);
            let resume_id = read.resume_id.as_ref().map(|id| serde_json::to_value(id).unwrap());
            prop_assert_eq!(resume_id, session.resume_id.map(serde_json::Value::from));
            prop_assert_eq!((&read.ports, read.boot), (&session.ports, session.boot));
            let stuck = read.stuck_after.zip(read.stuck_restart_after);
            prop_assert_eq!(stuck, session.stuck.map(|(after, more)| {
                (Duration::from_secs(after), Duration::from_secs(after + more))
            }));
        }
    }

    #[test]
    fn the_error_for_a_mistyped_key_suggests_the_right_key(
        (table, key) in key(),
        at in 1..4usize,
        how in 0..3u8,
        lines in 0..5usize,
    ) {
        let mut mistyped = key.to_owned();
        match how {
            0 => { mistyped.remove(at); }
            1 => mistyped.insert(at, 'x'),
            _ => { let c = mistyped.remove(at); mistyped.insert(at + 1, c); }
        }
        prop_assume!(!KEYS.iter().any(|(_, keys)| keys.contains(&mistyped.as_str())) && mistyped != key);
        let error = read(format!("{}[{table}]\n{mistyped} = 1\n", "\n".repeat(lines))).unwrap_err();
        let line = lines + 2;
        prop_assert!(error.message.ends_with(&format!("forge.toml: line {line}: unknown key '{mistyped}'")), "{}", error);
        prop_assert_eq!(error.hint, Some(format!("did you mean '{key}'?")));
    }

    #[test]
    fn any_unknown_key_is_named(key in text()) {
        let error = read(format!("[sweep]\n{} = 1\n", quoted(&key))).map(drop);
        let known = ["dirs", "protect", "timeout_ms"];
        prop_assume!(!known.contains(&key.as_str()));
        let error = error.unwrap_err();
        prop_assert!(error.message.ends_with(&format!("line 2: unknown key '{key}'")), "{}", error);
        let hint = error.hint.unwrap();
        let suggests = |key: &&str| hint == format!("did you mean '{key}'?");
        prop_assert!(known.iter().any(suggests) || hint == format!("known keys: {}", known.join(", ")), "{}", hint);
    }

    #[test]
    fn the_sweep_table_can_be_read_from_every_valid_configuration(sessions in sessions(), more in nearly(), names in proptest::collection::vec("[a-z]{1,5}", 0..3)) {
        let mut text = format!("[sweep]\nprotect = {}\n", list(&names));
        for (id, session) in &sessions {
            text += &format!("[sessions.{id}]\n{}\n", printed(session));
        }
        for text in [text.clone(), text + &more] {
            let root = tempfile::tempdir().unwrap();
            std::fs::write(root.path().join("forge.toml"), &text).unwrap();
            let salvaged = salvage_sweep(root.path(), None);
            if let Ok(config) = load(root.path(), None) {
                prop_assert_eq!(salvaged.unwrap().protect, config.sweep.protect);
            }
        }
    }
}
