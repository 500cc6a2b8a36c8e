//! The activity of a session's program, as its supervisor sees it. While the program waits for its user, the
//! supervisor rests: it does not look for signs of life until a hook reports something else or the screen changes.

use super::Supervisor;
use super::session_watch::SessionWatch;
use crate::model::event::Event;
use crate::model::screen::Screen;
use crate::model::session::activity::{KnownActivity, ScreenActivity, Source, current};
use crate::ops::Context;
use crate::sys::clock::boot_us;
use crate::sys::inotify::FileWatch;
use crate::sys::journal;

impl Supervisor {
    /// Whether the program waits for its user now. If so, the supervisor rests. If its tmux server does not
    /// answer, the last question counts.
    pub(super) fn waits_for_user(&mut self, context: &Context, watch: &mut SessionWatch) -> bool {
        if watch.rest.reports.is_none() && watch.cgroup.report(&watch.watched.mark).is_some() {
            watch.rest.reports = watch.cgroup.watch_reports().ok();
        }
        // Drain before the report is read: the next report is then an event.
        watch.rest.reports.iter().for_each(FileWatch::drain);
        let screen = watch.prompts.show_activity().then(|| watch.read_screen().ok()).flatten();
        let known = match screen {
            Some(screen) => self.record_screen(context, watch, &screen),
            None => watch.activity_without_screen(),
        };
        watch.rest_or_wake(known, boot_us());
        known.activity.waits_for_user()
    }

    /// Records the question and the activity on that screen. Returns the activity.
    pub(super) fn record_screen(
        &mut self,
        context: &Context,
        watch: &mut SessionWatch,
        screen: &Screen,
    ) -> KnownActivity {
        let now = boot_us();
        let report = watch.cgroup.report(&watch.watched.mark);
        self.record_question(context, watch, screen, report.as_ref());
        let on_screen = ScreenActivity::of(&watch.prompts, &screen.text);
        let was_shown = report.as_ref().map(|report| report.was_shown(watch.watched.matched_report));
        let known = current(report.as_ref(), Some(on_screen), was_shown, now);
        let before = watch.watched.seen.unwrap_or_default();
        if watch.watched.see(known, now) {
            // The hooks record what they report.
            let is_reported = report.is_some_and(|report| report.activity == known.activity);
            let is_change = before.activity != known.activity && !is_reported;
            let is_recorded = is_change && watch.watched.events.admits(now);
            self.store_watched(context, watch);
            if is_recorded {
                let (session, activity) = (self.id.clone(), known.activity);
                journal::record(&Event::Activity { session, activity, source: Source::Screen });
            }
        }
        watch.rest_or_wake(known, now);
        known
    }

    /// Ends the rest if the report that came says that the program works.
    pub(super) fn report_came(watch: &mut SessionWatch) {
        watch.rest.reports.iter().for_each(FileWatch::drain);
        let report = watch.cgroup.report(&watch.watched.mark);
        let at = report.as_ref().map_or_else(boot_us, |report| report.at);
        watch.rest_or_wake(current(report.as_ref(), None, None, boot_us()), at);
    }
}
