//! Notices to people: of a boot, a failure, a disturbance, a question, the end of a turn, or a test.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use super::probe::probe;
use crate::config::{Telegram, Webhook};
use crate::model::error::{Error, Result};
use crate::model::event::Event;
use crate::model::notice::{Notice, NoticeKind, Refusal, TELEGRAM_LIMIT, pauses, restore_lines, split};
use crate::model::session::activity::Activity;
use crate::model::session::command::Argv;
use crate::model::session::name::SessionId;
use crate::model::time::rfc3339;
use crate::model::unit;
use crate::ops::Context;
use crate::ops::boot::restore::last_restore;
use crate::ops::session::observe::ObservedActivity;
use crate::sys::clock::{Deadline, local, now_us, pause};
use crate::sys::{command, env, files, http, journal};

/// How long the user's command may take.
const COMMAND: Duration = Duration::from_secs(60);

/// The credential with the bot's token, where no file is configured.
const CREDENTIAL: &str = "telegram-token";

/// The result of sending a notice over one channel.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Delivery {
    /// `command`, `telegram` or `webhook`.
    pub channel: &'static str,
    /// Whether the notice was sent.
    pub sent: bool,
    /// The number of attempts, including the successful one.
    pub attempts: u32,
    /// Why the notice was not sent.
    pub error: Option<String>,
}

/// A notice of the machine's and the sessions' state after a boot.
///
/// # Errors
/// `Kind::Bus` when the user manager cannot be reached.
pub fn of_boot(context: &Context) -> Result<Notice> {
    let probe = probe(context, None)?;
    let restore = last_restore(context)?;
    let host = env::host_name();
    let how = if probe.healthy { "all is well" } else { "forge found problems" };
    let mut lines = vec![format!("{host} has booted: {how}")];
    lines.extend(restore.iter().flat_map(restore_lines));
    lines.extend(probe.rows(local).into_iter().map(|(name, value)| format!("{name}: {value}")));
    lines.extend(probe.problems.iter().map(|problem| format!("! {}\n  {}", problem.what, problem.hint)));
    let text = lines.join("\n");
    Ok(Notice { probe: Some(probe), restore, ..plain(NoticeKind::Boot, text) })
}

/// Whether a unit failed and systemd does not restart it. From version 254 on, systemd also starts the
/// `OnFailure=` units when it is about to restart the unit; forge sends no notice of that.
///
/// # Errors
/// `Kind::Bus` when the user manager cannot be reached.
pub fn is_for_good(context: &Context, unit: &str) -> Result<bool> {
    let is_supervisor = unit::session_of_service(unit).is_some();
    let found = context.manager()?.units(&[&unit::pattern(unit)])?;
    let is = |word: &str| found.iter().any(|found| found.active == word);
    // systemd may have unloaded another unit by now. Only a unit that is activating has not failed for good.
    Ok(if is_supervisor { is("failed") } else { !is("activating") })
}

/// A notice that a unit failed. For a supervisor's unit, it includes why its session failed.
pub fn of_failure(context: &Context, unit: &str) -> Notice {
    let host = env::host_name();
    let session = unit::session_of_service(unit);
    let why = session.as_ref().and_then(|id| context.store.record(id).ok().flatten()?.failure);
    let text = match (session, why) {
        (Some(id), Some(why)) => {
            format!("{host}: forge does not start {id} again: {why}\n  forge logs {id}\n  forge restart {id}")
        }
        _ => format!("{host}: {unit} failed\n  systemctl --user status {unit}\n  forge logs"),
    };
    Notice { unit: Some(unit.to_owned()), ..plain(NoticeKind::Failure, text) }
}

/// A notice that guarded units were disturbed; each line is one disturbance.
pub fn of_disturbance(lines: &[String]) -> Notice {
    let host = env::host_name();
    plain(
        NoticeKind::Disturbed,
        format!("{host}: guarded units were disturbed\n{}\n  forge logs", lines.join("\n")),
    )
}

/// A notice of a question, or of the end of a turn; `None` where the program of the session does not ask, or is
/// not done. `text` is what a hook said; without it, a notice of a question quotes the screen.
pub fn of_activity(
    id: &SessionId,
    activity: &ObservedActivity,
    kind: NoticeKind,
    text: Option<String>,
) -> Option<Notice> {
    let host = env::host_name();
    let lines = |lines: Option<String>| lines.map_or_else(String::new, |lines| format!("\n{lines}"));
    let text = match kind {
        NoticeKind::Asking if activity.known.activity == Activity::Asking => {
            let question = lines(text.or_else(|| activity.question.clone()));
            format!("{host}: {id} asks{question}\n  forge attach {id}\n  forge send {id} --answer TEXT")
        }
        NoticeKind::Done if activity.is_done() => {
            format!("{host}: {id} is done{}\n  forge attach {id}", lines(text))
        }
        _ => return None,
    };
    Some(Notice { session: Some(id.clone()), ..plain(kind, text) })
}

/// A notice that the program of a session crashed; `None` if its last run in this boot did not end, or ended cleanly.
///
/// # Errors
/// `Kind::Failed` when forge cannot read how the run ended.
pub fn of_crash(context: &Context, id: &SessionId) -> Result<Option<Notice>> {
    let Some(end) = context.store.end(id)?.filter(|end| !end.is_clean()) else { return Ok(None) };
    let text = format!("{}: {id} crashed: {}\n  forge logs {id}", env::host_name(), end.words());
    Ok(Some(Notice { session: Some(id.clone()), ..plain(NoticeKind::Crashed, text) }))
}

/// A notice to test the channels.
pub fn of_test() -> Notice {
    plain(NoticeKind::Test, format!("this is a test: notices from forge on {} arrive here", env::host_name()))
}

fn plain(kind: NoticeKind, text: String) -> Notice {
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

/// Sends a notice over every configured channel, and records each result in the journal. With `retry`, forge
/// tries again after temporary failures, for instance while the network comes up. Sends nothing if `[notify] on`
/// does not name the notice's kind.
///
/// # Errors
/// `Kind::Failed` when the notice cannot be serialized. A notice that was not sent is a [`Delivery`], not an
/// error.
pub fn send(context: &Context, notice: &Notice, retry: bool) -> Result<Vec<Delivery>> {
    let notify = &context.config.notify;
    if !notify.wants(notice.kind) {
        return Ok(Vec::new());
    }
    let json = serde_json::to_string(notice)
        .map_err(|error| Error::failed(format!("cannot serialize the notice: {error}")))?;
    let (mut deliveries, parts_sent) = (Vec::new(), Cell::new(0));
    let mut over = |channel: &'static str, send: &dyn Fn() -> std::result::Result<(), Refusal>| {
        deliveries.push(deliver(notice, channel, retry, send));
    };
    if let Some(command) = &notify.command {
        over("command", &|| run(command, &json));
    }
    if let Some(telegram) = &notify.telegram {
        over("telegram", &|| send_telegram(context, telegram, &notice.text, &parts_sent));
    }
    if let Some(webhook) = &notify.webhook {
        over("webhook", &|| http::post_json(&address(context, webhook)?, &json));
    }
    Ok(deliveries)
}

fn deliver(
    notice: &Notice,
    channel: &'static str,
    retry: bool,
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
            Err(Refusal::ForNow(error)) => match pauses.next().filter(|_| retry) {
                // No event reports that the network reaches that host.
                Some(wait) => pause(wait),
                None => break error,
            },
        }
    };
    journal::record(&Event::NotifyFailed { notice: notice.kind, channel, attempts, error: error.clone() });
    Delivery { channel, sent: false, attempts, error: Some(error) }
}

/// Runs the user's command with the notice on its standard input, for at most 60 seconds.
fn run(argv: &Argv, json: &str) -> std::result::Result<(), Refusal> {
    // Do not try again if the program does not exist. A program that fails may need the network.
    if env::find_program(argv.program(), env::variable("PATH").as_deref().map(AsRef::as_ref)).is_none() {
        return Err(Refusal::ForGood(format!("the program {} does not exist", argv.program())));
    }
    match command::run_argv(argv, json.as_bytes(), Deadline::after(COMMAND)) {
        Ok(output) if output.success => Ok(()),
        Ok(output) => {
            let reason = output.stderr.lines().last().unwrap_or("it failed").to_owned();
            Err(Refusal::ForNow(format!("{}: {reason}", argv.name())))
        }
        Err(error) => Err(Refusal::ForNow(error.message)),
    }
}

/// Sends the parts of the text that have not been sent yet, so that another attempt does not repeat the first
/// parts.
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
            Refusal::ForGood(format!("neither token_file nor the systemd credential {CREDENTIAL} is set"))
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
        (None, None) => Err(Refusal::ForGood("neither url nor url_file is set".to_owned())),
    }
}

/// Reads a secret from a file that holds nothing else but white space.
fn secret(path: &Path) -> std::result::Result<String, Refusal> {
    let bytes = files::read_following(path).map_err(|error| Refusal::ForGood(error.message))?;
    let text = String::from_utf8(bytes).unwrap_or_default();
    let secret = text.trim();
    if secret.is_empty() || secret.contains(char::is_whitespace) {
        return Err(Refusal::ForGood(format!("{} must contain exactly one word", path.display())));
    }
    Ok(secret.to_owned())
}
