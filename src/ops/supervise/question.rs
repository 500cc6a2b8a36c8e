//! Questions of a session's program to its user. The supervisor finds a question when the screen comes to
//! rest, records it once, and has a notice sent.

use std::time::Duration;

use super::Supervisor;
use super::session_watch::{QuestionWatch, SessionWatch};
use crate::config::Config;
use crate::model::error::{Error, Result};
use crate::model::event::Event;
use crate::model::screen::Screen;
use crate::model::supervision::NOTICE_EVERY;
use crate::model::unit;
use crate::ops::Context;
use crate::sys::clock::{boot_us, micros};
use crate::sys::{env, journal};

/// The time until the supervisor tries again to send a notice after it could not reach systemd.
const RETRY_NOTICE: Duration = Duration::from_secs(10);

impl Supervisor {
    /// Reads the screen for a question, if a reading is due.
    pub(super) fn check_for_question(&mut self, context: &Context, watch: &mut SessionWatch) {
        if !watch.questions.as_mut().is_some_and(|questions| questions.is_time(boot_us())) {
            return;
        }
        match watch.read_screen() {
            Ok(screen) => {
                self.record_question(context, watch, &screen);
                watch.questions.iter_mut().for_each(|questions| questions.schedule_next(&watch.watched.mark));
            }
            // The main loop handles the end of the program. A frozen or stopped program may continue.
            Err(error) => {
                tracing::debug!("{error}");
                watch.questions.iter_mut().for_each(QuestionWatch::put_off);
            }
        }
    }

    /// Whether the program asks a question now. If its tmux server does not answer: whether it asked one
    /// before.
    pub(super) fn is_asking(&mut self, context: &Context, watch: &mut SessionWatch) -> bool {
        if watch.prompts.asking.is_some()
            && let Ok(screen) = watch.read_screen()
        {
            self.record_question(context, watch, &screen);
        }
        watch.watched.asked.is_some()
    }

    /// Stores the question on that screen, and records a new question in the journal.
    fn record_question(&mut self, context: &Context, watch: &mut SessionWatch, screen: &Screen) {
        let question = watch.question_on(screen);
        if watch.watched.replace_question(question, boot_us()) {
            // Store the question first: if this supervisor is killed here, the next one knows the question.
            self.store_watched(context, watch);
            journal::record(&Event::Asking { session: self.id.clone() });
        }
    }

    /// Starts a transient unit that sends a notice of the question. Sending takes as long as the network
    /// takes, and the unit outlives this supervisor. The unit reads the screen itself, so that no command
    /// line holds text of the screen. Returns whether systemd accepted the unit.
    pub(super) fn send_notice(&mut self, context: &Context, watch: &mut SessionWatch) -> bool {
        let now = boot_us();
        watch.watched.mark_notified(now);
        // Store this first: if this supervisor is killed here, the next one does not send the notice again.
        self.store_watched(context, watch);
        match self.start_notice() {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!("{error}");
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

    fn start_notice(&self) -> Result<()> {
        let config_file = self.terms.config_file.as_ref().map(|path| {
            path.to_str()
                .map(str::to_owned)
                .ok_or_else(|| Error::failed("the path of the configuration file is not valid UTF-8"))
        });
        let mut arguments = vec!["--quiet".to_owned()];
        if let Some(path) = config_file.transpose()? {
            arguments.extend(["--config".to_owned(), path]);
        }
        arguments.extend(["notify", "asking", self.id.as_str()].map(str::to_owned));
        // This call makes its own connection to the bus and closes it: see `Supervisor::with_manager`.
        let context = Context::new(self.paths.clone(), Config::default());
        let description = format!("Send a notice that forge session {} asks a question", self.id);
        context.manager()?.start_detached(&unit::asking(&self.id), &description, &env::forge()?, &arguments)
    }
}
