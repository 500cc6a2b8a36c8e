//! Notices about the activity of a session, at most one a minute of each kind. The unit that sends one waits for its
//! turn, and sends what is true by then: a question that was answered meanwhile needs no notice.

use super::notify::{Delivery, of_activity, send};
use crate::model::error::Result;
use crate::model::notice::NoticeKind;
use crate::model::session::name::SessionId;
use crate::model::supervision::NOTICE_EVERY;
use crate::ops::Context;
use crate::ops::session::observe;
use crate::sys::clock::{Deadline, boot_us, micros, pause};

/// Sends the notice, when its turn comes. Returns no deliveries if there was nothing to send.
///
/// # Errors
/// `Kind::Bus` when the user manager cannot be reached; `Kind::Deadline` when the session's tmux server does not
/// answer within five seconds.
pub fn send_paced(context: &Context, id: &SessionId, kind: NoticeKind) -> Result<Vec<Delivery>> {
    let mut deliveries = Vec::new();
    // The activity may change again while a notice is being sent, and a unit of this name exists only once.
    while let Some(found) = observe::one(context, id)? {
        let activity = observe::activity(context, &found)?;
        let text = context.store.notice_text(id, activity.report.as_ref().map(|report| report.since))?;
        let sent = found.cgroup.last_notice(kind);
        let is_new = sent.is_none_or(|sent| activity.known.since.is_none_or(|since| since > sent));
        let has_text = text.is_some();
        let Some(notice) = of_activity(id, &activity, kind, text).filter(|_| is_new) else {
            if has_text {
                // The session's unit for the other kind of notice needs the text.
                return Ok(deliveries);
            }
            break;
        };
        let turn = sent.map_or(0, |sent| sent.saturating_add(micros(NOTICE_EVERY)));
        if turn > boot_us() {
            // No event reports that a minute has passed.
            pause(Deadline::at_boot_us(turn).left());
            continue;
        }
        context.store.remove_notice_text(id)?;
        found.cgroup.set_last_notice(kind)?;
        deliveries = send(context, &notice, true)?;
        if activity.known.since.is_none() {
            break;
        }
    }
    // A text that is left belongs to a report that is over.
    context.store.remove_notice_text(id)?;
    Ok(deliveries)
}
