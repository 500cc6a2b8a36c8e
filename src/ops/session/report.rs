//! `forge report`: a hook of a session's program reports what the program does. The report is an attribute of the
//! session's control group, so it goes away with the session.

use std::path::Path;

use super::beat::own_session;
use super::notice;
use crate::model::error::{Error, Kind, Result};
use crate::model::event::Event;
use crate::model::notice::{NoticeKind, NoticeText};
use crate::model::screen::fold;
use crate::model::screen::prompts::shortened;
use crate::model::session::Mark;
use crate::model::session::activity::{Activity, ActivityReport, ReportChanges, Source};
use crate::model::session::name::SessionId;
use crate::model::session::resume::check_id;
use crate::ops::Context;
use crate::sys::clock::boot_us;
use crate::sys::journal;
use crate::sys::process::is_alive;

/// A report of a hook.
#[derive(Debug, Clone)]
pub struct NewReport {
    pub activity: Activity,
    /// Whether the program finished its work, and its user wants to know.
    pub done: bool,
    /// The id of the program's conversation.
    pub conversation: Option<String>,
    /// The question or the last answer, for the notice.
    pub text: Option<String>,
}

/// Records a report of the session that this process runs in; returns the session's id. The session is the one
/// whose control group this process is in: a process that has outlived its session may have the session's name in
/// its environment.
///
/// # Errors
/// [`Kind::NoSession`] if this process does not run in a session whose program runs; [`Kind::Failed`] if the id
/// of the conversation is not valid, or forge cannot write.
pub fn report(context: &Context, config_file: Option<&Path>, new: &NewReport) -> Result<SessionId> {
    let no_session = |message| Error::new(Kind::NoSession, message);
    let (session, cgroup) =
        own_session().ok_or_else(|| no_session("this command does not run in a session".to_owned()))?;
    let mark = cgroup
        .mark()
        .filter(|mark| is_alive(mark.program()))
        .ok_or_else(|| no_session(format!("the program of {session} does not run")))?;
    let before = cgroup.report(&mark);
    let about = (mark.since_us, new.activity, new.done);
    let seen_before = || is_question_seen(context, &session, &mark);
    let now = boot_us();
    let (mut report, changes) = ActivityReport::following(before.as_ref(), about, now, seen_before);
    let is_recorded = changes != ReportChanges::default() && report.events.admits(now);
    let stored = new.conversation.as_deref().map(|id| store_conversation(context, &session, &mut report, id));
    cgroup.set_report(&report)?;
    if is_recorded {
        record(&session, new.activity, changes);
    }
    let kind = match changes {
        ReportChanges { asking: true, .. } => Some(NoticeKind::Asking),
        ReportChanges { done: true, .. } => Some(NoticeKind::Done),
        _ => None,
    };
    if let Some(kind) = kind {
        send_notice(context, config_file, &session, kind, (report.since, new.text.as_deref()))?;
    }
    stored.transpose()?;
    Ok(session)
}

fn record(session: &SessionId, activity: Activity, changes: ReportChanges) {
    let session = || session.clone();
    if changes.activity {
        journal::record(&Event::Activity { session: session(), activity, source: Source::Hook });
    }
    if changes.asking {
        journal::record(&Event::Asking { session: session() });
    }
    if changes.done {
        journal::record(&Event::Done { session: session() });
    }
}

/// Whether the session's supervisor sees a question on the screen. It has recorded that question, and sends the
/// notice.
fn is_question_seen(context: &Context, session: &SessionId, mark: &Mark) -> bool {
    let watched = context.store.record(session).ok().flatten().and_then(|record| record.watched);
    watched.is_some_and(|watched| watched.mark == *mark && watched.asked.is_some())
}

/// Stores the id in the session's specification, if the report before had another one.
fn store_conversation(
    context: &Context,
    session: &SessionId,
    report: &mut ActivityReport,
    id: &str,
) -> Result<()> {
    check_id(id)?;
    // Other users can read the report, so it has a digest.
    let digest = fold::digest(id);
    if report.conversation != Some(digest) {
        context.store.set_reported_id(session, id)?;
        report.conversation = Some(digest);
    }
    Ok(())
}

/// Starts the unit that sends the notice, if the configuration wants one: the hook must not wait for a network.
fn send_notice(
    context: &Context,
    config_file: Option<&Path>,
    session: &SessionId,
    kind: NoticeKind,
    (since, text): (u64, Option<&str>),
) -> Result<()> {
    notice::start_if_wanted(context, config_file, session, kind, || {
        let Some(text) = text else { return Ok(()) };
        let text = text.replace(|c: char| c.is_control() && c != '\n', " ");
        context.store.write_notice_text(session, &NoticeText { since, text: shortened(text.lines()) })
    })
}
