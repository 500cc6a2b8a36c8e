//! Telling people: of a boot, of a failure, or to try whether they can be told.

use std::cell::Cell;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::probe::probe;
use crate::config::{Telegram, Webhook};
use crate::model::error::{Error, Result};
use crate::model::event::Event;
use crate::model::notice::{Notice, Refusal, TELEGRAM_LIMIT, pauses, restore_lines, split};
use crate::model::session::command::Argv;
use crate::model::session::name::SessionId;
use crate::model::time::rfc3339;
use crate::model::unit;
use crate::ops::Context;
use crate::ops::boot::restore::last_restore;
use crate::ops::session::observe;
use crate::sys::clock::{Deadline, local, now_us, pause};
use crate::sys::{command, env, files, http, journal};

/// How long the user's command may take.
const COMMAND: Duration = Duration::from_secs(60);

/// The credential with the bot's token, where no file is configured.
const CREDENTIAL: &str = "telegram-token";

/// What became of one way of telling.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Delivery {
    /// `command`, `telegram` or `webhook`.
    pub channel: &'static str,
    /// Whether it went out.
    pub sent: bool,
    /// At which try, or after how many.
    pub attempts: u32,
    /// Why it did not go out.
    pub error: Option<String>,
}

/// A notice of how everything is after a boot.
///
/// # Errors
/// When the manager does not answer.
pub fn of_boot(context: &Context) -> Result<Notice> {
    let probe = probe(context, None)?;
    let restore = last_restore(context)?;
    let host = env::host_name();
    let how = if probe.healthy { "all is well" } else { "something is wrong" };
    let mut lines = vec![format!("{host} has booted, {how}")];
    lines.extend(restore.iter().flat_map(restore_lines));
    lines.extend(probe.rows(local).into_iter().map(|(name, value)| format!("{name}: {value}")));
    lines.extend(probe.problems.iter().map(|problem| format!("! {}\n  {}", problem.what, problem.hint)));
    let text = lines.join("\n");
    Ok(Notice { probe: Some(probe), restore, ..plain("boot", text) })
}

/// Whether a unit failed for good. From 254 on the manager calls `OnFailure=` also when it is about to
/// start the unit again; that is not worth a notice.
///
/// # Errors
/// When the manager does not answer.
pub fn is_for_good(context: &Context, unit: &str) -> Result<bool> {
    let is_supervisor = unit::session_of_service(unit).is_some();
    let found = context.manager()?.units(&[&unit::pattern(unit)])?;
    let is = |word: &str| found.iter().any(|found| found.active == word);
    // Of another, which the manager may have forgotten by now, only this speaks against it.
    Ok(if is_supervisor { is("failed") } else { !is("activating") })
}

/// A notice that a unit failed; of a supervisor's, with what its session failed of.
pub fn of_failure(context: &Context, unit: &str) -> Notice {
    let host = env::host_name();
    let session = unit::session_of_service(unit);
    let why = session.as_ref().and_then(|id| context.store.record(id).ok().flatten()?.failure);
    let text = match (session, why) {
        (Some(id), Some(why)) => {
            format!("{host}: {id} is not started again, after {why}\n  forge logs {id}\n  forge restart {id}")
        }
        _ => format!("{host}: {unit} failed\n  systemctl --user status {unit}\n  forge logs"),
    };
    Notice { unit: Some(unit.to_owned()), ..plain("failure", text) }
}

/// A notice that guarded units were disturbed; each line is one disturbance.
pub fn of_disturbance(lines: &[String]) -> Notice {
    let host = env::host_name();
    plain("disturbed", format!("{host}: guarded units were disturbed\n{}\n  forge logs", lines.join("\n")))
}

/// A notice that the program of a session asks its user something, with the question's lines; `None` where
/// it asks nothing now.
///
/// # Errors
/// `Kind::NoSession` when there is no such session, `Kind::Deadline` when its server does not answer in five
/// seconds.
pub fn of_question(context: &Context, id: &SessionId) -> Result<Option<Notice>> {
    let Some(question) = observe::question(context, &observe::existing(context, id)?)? else {
        return Ok(None);
    };
    let host = env::host_name();
    let text = format!("{host}: {id} asks\n{question}\n  forge attach {id}\n  forge send {id} --answer TEXT");
    Ok(Some(Notice { session: Some(id.clone()), ..plain("asking", text) }))
}

/// A notice to try the ways.
pub fn of_test() -> Notice {
    plain("test", format!("forge on {} can tell you here what happens", env::host_name()))
}

fn plain(kind: &'static str, text: String) -> Notice {
    Notice {
        kind,
        host: env::host_name(),
        user: env::user_name(),
        at: rfc3339(now_us()),
        text,
        probe: None,
        restore: None,
        unit: None,
        session: None,
    }
}

/// Tells by every way that is configured, and tells the journal how that went. Retries while a
/// network comes up, unless somebody is waiting.
///
/// # Errors
/// When there is no notice to send.
pub fn tell(context: &Context, notice: &Notice, patient: bool) -> Result<Vec<Delivery>> {
    let notify = &context.config.notify;
    let json = serde_json::to_string(notice).map_err(|error| Error::failed(format!("no notice: {error}")))?;
    let (mut told, parts_sent) = (Vec::new(), Cell::new(0));
    let mut way = |channel: &'static str, send: &dyn Fn() -> std::result::Result<(), Refusal>| {
        told.push(deliver(notice, channel, patient, send));
    };
    if let Some(command) = &notify.command {
        way("command", &|| run(command, &json));
    }
    if let Some(telegram) = &notify.telegram {
        way("telegram", &|| send_telegram(context, telegram, &notice.text, &parts_sent));
    }
    if let Some(webhook) = &notify.webhook {
        way("webhook", &|| http::post_json(&address(context, webhook)?, &json));
    }
    Ok(told)
}

fn deliver(
    notice: &Notice,
    channel: &'static str,
    patient: bool,
    send: &dyn Fn() -> std::result::Result<(), Refusal>,
) -> Delivery {
    let mut pauses = pauses();
    let mut attempts = 0;
    let error = loop {
        attempts += 1;
        match send() {
            Ok(()) => {
                journal::record(&Event::Notified { notice: notice.kind, channel, attempts });
                return Delivery { channel, sent: true, attempts, error: None };
            }
            Err(Refusal::ForGood(error)) => break error,
            Err(Refusal::ForNow(error)) => match pauses.next().filter(|_| patient) {
                // Nobody tells when a network has come up to that host.
                Some(wait) => pause(wait),
                None => break error,
            },
        }
    };
    journal::record(&Event::NotifyFailed { notice: notice.kind, channel, attempts, error: error.clone() });
    Delivery { channel, sent: false, attempts, error: Some(error) }
}

/// The user's command, with the notice on its standard input.
fn run(argv: &Argv, json: &str) -> std::result::Result<(), Refusal> {
    let mut command = Command::new(argv.program());
    command.args(argv.as_slice().get(1..).unwrap_or_default());
    // A program that is not there will not be there in a minute; one that fails may need a network.
    if env::find_program(argv.program(), env::variable("PATH").as_deref().map(AsRef::as_ref)).is_none() {
        return Err(Refusal::ForGood(format!("there is no program {}", argv.program())));
    }
    match command::run_with_input(&mut command, json.as_bytes(), Deadline::after(COMMAND)) {
        Ok(output) if output.success => Ok(()),
        Ok(output) => {
            let said = output.stderr.lines().last().unwrap_or("it ended with an error").to_owned();
            Err(Refusal::ForNow(format!("{}: {said}", argv.name())))
        }
        Err(error) => Err(Refusal::ForNow(error.message)),
    }
}

/// Sends what has not been sent yet: another try does not repeat the first parts.
fn send_telegram(
    context: &Context,
    telegram: &Telegram,
    text: &str,
    parts_sent: &Cell<usize>,
) -> std::result::Result<(), Refusal> {
    let token = if let Some(file) = &telegram.token_file {
        secret(&context.paths.in_home(file))?
    } else {
        let dir = env::credentials().ok_or_else(|| {
            Refusal::ForGood(format!("there is neither a token_file nor a systemd credential {CREDENTIAL}"))
        })?;
        secret(&dir.join(CREDENTIAL))?
    };
    let address = format!("{}/bot{token}/sendMessage", telegram.base_url.trim_end_matches('/'));
    let chat = telegram.chat_id.as_ref().map(ToString::to_string).unwrap_or_default();
    for message in split(text, TELEGRAM_LIMIT).into_iter().skip(parts_sent.get()) {
        let json = serde_json::json!({ "chat_id": chat, "text": message, "disable_web_page_preview": true });
        http::post_json(&address, &json.to_string())?;
        parts_sent.set(parts_sent.get() + 1);
    }
    Ok(())
}

fn address(context: &Context, webhook: &Webhook) -> std::result::Result<String, Refusal> {
    match (&webhook.url, &webhook.url_file) {
        (Some(url), _) => Ok(url.clone()),
        (None, Some(file)) => secret(&context.paths.in_home(file)),
        (None, None) => Err(Refusal::ForGood("there is no address".to_owned())),
    }
}

/// A secret from a file: one line.
fn secret(path: &Path) -> std::result::Result<String, Refusal> {
    let bytes = files::read_following(path).map_err(|error| Refusal::ForGood(error.message))?;
    let text = String::from_utf8(bytes).unwrap_or_default();
    let secret = text.trim();
    if secret.is_empty() || secret.contains(char::is_whitespace) {
        return Err(Refusal::ForGood(format!("{} has not one word in it", path.display())));
    }
    Ok(secret.to_owned())
}
