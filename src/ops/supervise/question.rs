//! Questions of a session's program to its user. The supervisor finds a question when the screen comes to
//! rest, records it once, and has a notice sent.

use std::time::Duration;

use super::Supervisor;
use super::session_watch::{QuestionWatch, SessionWatch};
use crate::model::event::Event;
use crate::model::notice::NoticeKind;
use crate::model::screen::Screen;
use crate::model::session::activity::{ActivityReport, is_reported_question};
use crate::model::supervision::NOTICE_EVERY;
use crate::ops::Context;
use crate::ops::session::notice;
use crate::sys::clock::{boot_us, micros};
use crate::sys::journal;

/// The time until the supervisor tries again to send a notice after it could not reach systemd.
const RETRY_NOTICE: Duration = Duration::from_secs(10);

impl Supervisor {
    /// Reads the screen for a question and the activity, if a reading is due.
    pub(super) fn check_for_question(&mut self, context: &Context, watch: &mut SessionWatch) {
        if !watch.questions.as_mut().is_some_and(|questions| questions.is_time(boot_us())) {
            return;
        }
        match watch.read_screen() {
            Ok(screen) => {
                self.record_screen(context, watch, &screen);
                watch.questions.iter_mut().for_each(|questions| questions.schedule_next(&watch.watched.mark));
            }
            // The main loop handles the end of the program. A frozen or stopped program may continue.
            Err(error) => {
                tracing::debug!("{error}");
                watch.questions.iter_mut().for_each(QuestionWatch::put_off);
            }
        }
    }

    /// Stores the question on that screen, and records a new question in the journal. If a hook has just
    /// reported the question, `forge report` has recorded it, and sends the notice.
    pub(super) fn record_question(
        &mut self,
        context: &Context,
        watch: &mut SessionWatch,
        screen: &Screen,
        report: Option<&ActivityReport>,
    ) {
        let (now, was_asked) = (boot_us(), watch.watched.asked.is_some());
        let question = watch.question_on(screen);
        if !watch.watched.replace_question(question, now) {
            if was_asked && watch.watched.asked.is_none() {
                // `forge report` reads the record: the next question is another one.
                self.store_watched(context, watch);
            }
            return;
        }
        let matched = watch.watched.matched_report;
        let reported = report.filter(|report| is_reported_question(report, matched, now));
        if let Some(report) = reported {
            watch.watched.match_report(report.since);
        }
        // Store the question first: if this supervisor is killed here, the next one knows the question.
        self.store_watched(context, watch);
        if reported.is_none() {
            journal::record(&Event::Asking { session: self.id.clone() });
        }
    }

    /// Starts the unit that sends a notice of the question. Returns whether systemd accepted the unit.
    pub(super) fn send_notice(&mut self, context: &Context, watch: &mut SessionWatch) -> bool {
        let now = boot_us();
        watch.watched.mark_notified(now);
        // Store this first: if this supervisor is killed here, the next one does not send the notice again.
        self.store_watched(context, watch);
        match notice::start(context, self.terms.config_file.as_deref(), &self.id, NoticeKind::Asking) {
            Ok(true) => true,
            started => {
                tracing::debug!("no notice: {started:?}");
                if let Some(asked) = &mut watch.watched.asked {
                    asked.notified = false;
                }
                watch.watched.notice_boot_us =
                    Some((now + micros(RETRY_NOTICE)).saturating_sub(micros(NOTICE_EVERY)));
                false
            }
        }
    }

    /// Stores the state of the watched run for the next supervisor.
    pub(super) fn store_watched(&mut self, context: &Context, watch: &SessionWatch) {
        self.record.watched = Some(watch.watched.clone());
        self.write_record(context);
    }
}
