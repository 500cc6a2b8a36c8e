//! A run that a supervisor watches: its data, and how forge reads its screen.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use crate::agents::conversations::AgentHome;
use crate::model::error::{Error, Kind, Result};
use crate::model::event::Event;
use crate::model::screen::Screen;
use crate::model::screen::captures::CaptureSchedule;
use crate::model::screen::prompts::Prompts;
use crate::model::session::Mark;
use crate::model::session::activity::{Activity, KnownActivity, Question, Source, current};
use crate::model::session::name::SessionId;
use crate::model::supervision::Watched;
use crate::sys::cgroup::{Cgroup, OomKills};
use crate::sys::clock::boot_us;
use crate::sys::inotify::FileWatch;
use crate::sys::poll::Interest;
use crate::sys::proc::{stat, terminal};
use crate::sys::tmux::Server;
use crate::sys::tmux::input::Input;
use crate::sys::{env, journal};

/// The time between two checks of the session where systemd has set no watchdog for the supervisor.
pub(super) const CHECK_EVERY: Duration = Duration::from_secs(90);

/// The state that the supervisor keeps between two checks for signs of life.
#[derive(Debug, Default)]
pub(super) struct SilenceCheck {
    /// When the next check is due, in microseconds since the boot.
    pub(super) due: Option<u64>,
    /// The digest of the screen right after a nudge. The text that forge typed is not a sign of life.
    pub(super) screen_after_nudge: Option<u64>,
}

/// The rest of a supervisor while the program waits for its user.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// The source that says so; `None` while there is no rest.
    by: Option<Source>,
    /// Reports the next report of a hook.
    pub(super) reports: Option<FileWatch>,
}

/// A run that is watched.
#[derive(Debug)]
pub(super) struct SessionWatch {
    pub(super) watched: Watched,
    pub(super) cgroup: Cgroup,
    oom: Option<OomKills>,
    pub(super) silence_check: SilenceCheck,
    pub(super) prompts: Prompts,
    pub(super) questions: Option<QuestionWatch>,
    /// Reports conversations that agents begin, where the end of an agent leaves no trace of its conversation.
    pub(super) conversations: Option<FileWatch>,
    pub(super) rest: Rest,
}

impl SessionWatch {
    pub(super) fn new(watched: Watched, prompts: Prompts, agent: Option<&AgentHome>) -> Self {
        let cgroup = Cgroup::new(&watched.cgroup);
        Self {
            oom: cgroup.watch_oom_kills(),
            silence_check: SilenceCheck::default(),
            questions: QuestionWatch::new(&prompts, &watched.mark),
            conversations: agent
                .and_then(AgentHome::begins_in)
                .and_then(|dir| FileWatch::of_new_files(&dir).ok()),
            rest: Rest::default(),
            prompts,
            watched,
            cgroup,
        }
    }

    /// The descriptors by which the kernel reports out-of-memory kills, changes of the terminal, reports of hooks and
    /// new conversations, with the poll(2) events to wait for; `None` where there is nothing to wait for.
    pub(super) fn more_fds(&self) -> [Option<(BorrowedFd<'_>, Interest)>; 4] {
        let questions = self.questions.as_ref().filter(|questions| questions.waits_for_output());
        let terminal = questions.and_then(|questions| questions.terminal.as_ref());
        [
            self.oom.as_ref().map(|oom| (oom.as_fd(), Interest::Change)),
            terminal.map(|terminal| (terminal.as_fd(), Interest::Read)),
            self.reports().map(|reports| (reports.as_fd(), Interest::Read)),
            self.conversations.as_ref().map(|conversations| (conversations.as_fd(), Interest::Read)),
        ]
    }

    /// Records out-of-memory kills since the last call in the journal. Returns whether there were any.
    pub(super) fn record_oom_kills(&mut self, session: &SessionId) -> bool {
        let kills = self.oom.as_mut().map_or(0, OomKills::new_kills);
        if kills > 0 {
            let limit = self.cgroup.memory_max();
            journal::record(&Event::Oom { session: session.clone(), kills, limit });
        }
        kills > 0
    }

    /// Reads the screen of the session's program.
    ///
    /// # Errors
    /// `Kind::Deadline` when its tmux server is frozen or does not answer within five seconds; otherwise
    /// tmux's own error.
    pub(super) fn read_screen(&self) -> Result<Screen> {
        if self.cgroup.is_frozen() {
            return Err(Error::new(Kind::Deadline, "its server is frozen"));
        }
        let mark = &self.watched.mark;
        Input::new(Server::new(&env::tmux()?, &mark.socket), mark).read_screen()
    }

    /// The question that the program asks on that screen.
    pub(super) fn question_on(&self, screen: &Screen) -> Option<Question> {
        Some(Question::new(&self.prompts.question(&screen.text)?, &screen.text))
    }

    /// Whether the supervisor rests, and an event will end the rest. The kernel may have refused a watch.
    pub(super) fn rests(&self) -> bool {
        match self.rest.by {
            None => false,
            Some(Source::Hook) => self.rest.reports.is_some(),
            Some(Source::Screen) => self.questions.as_ref().is_some_and(QuestionWatch::is_watching),
        }
    }

    /// The watch that reports the next report of a hook, if it ends the rest.
    fn reports(&self) -> Option<&FileWatch> {
        self.rest.reports.as_ref().filter(|_| self.rest.by == Some(Source::Hook))
    }

    /// Rests if the program waits for its user. Otherwise ends the rest: silence counts from `now` on.
    pub(super) fn rest_or_wake(&mut self, known: KnownActivity, now: u64) {
        if known.activity.waits_for_user() {
            self.rest.by = known.source;
        } else if self.rest.by.take().is_some() {
            self.rest.reports = None;
            self.silence_check.due = None;
            let watched = &mut self.watched;
            (watched.sign_boot_us, watched.checked_boot_us) = (watched.sign_boot_us.max(now), boot_us());
            // Another silence begins.
            (watched.reported, watched.nudged) = (false, false);
        }
    }

    /// The activity as far as it is known without a reading of the screen.
    pub(super) fn activity_without_screen(&self) -> KnownActivity {
        let known = current(self.cgroup.report(&self.watched.mark).as_ref(), None, None, boot_us());
        match self.watched.asked {
            Some(asked) => KnownActivity {
                activity: Activity::Asking,
                source: Some(Source::Screen),
                since: Some(asked.since_boot_us),
            },
            None => known,
        }
    }
}

/// The search for the activity on a session's screen. The search costs nothing while the program is silent: the
/// kernel reports when the program writes to its terminal or reads an answer.
#[derive(Debug)]
pub(super) struct QuestionWatch {
    /// Reports writes and reads of the program. The kernel allows few such watches for each user
    /// (`fs.inotify.max_user_instances`, usually 128). Without a watch, the supervisor reads the screen every
    /// [`CHECK_EVERY`].
    terminal: Option<FileWatch>,
    captures: CaptureSchedule,
}

impl QuestionWatch {
    /// `None` where the session has no pattern that shows the activity. The first reading is due at once, because the
    /// screen may show a question already.
    fn new(prompts: &Prompts, mark: &Mark) -> Option<Self> {
        prompts
            .show_activity()
            .then(|| Self { terminal: watch_terminal(mark), captures: CaptureSchedule::at_once(boot_us()) })
    }

    /// Whether the kernel reports changes of the terminal.
    pub(super) fn is_watching(&self) -> bool {
        self.terminal.is_some()
    }

    /// Schedules the next reading after one that succeeded: at the next change of the terminal, or after
    /// [`CHECK_EVERY`] where the terminal cannot be watched.
    pub(super) fn schedule_next(&mut self, mark: &Mark) {
        if self.terminal.is_some() {
            return;
        }
        self.terminal = watch_terminal(mark);
        if self.terminal.is_some() {
            // Read once more, for output that came before the watch.
            self.captures.output(boot_us());
        } else {
            self.put_off();
        }
    }

    /// Puts the next reading off by [`CHECK_EVERY`].
    pub(super) fn put_off(&mut self) {
        self.captures.put_off(boot_us(), CHECK_EVERY);
    }

    /// Whether to wait for changes of the terminal. Between a change and the reading that follows, the
    /// supervisor does not wait for more; otherwise a program that always prints would wake the supervisor
    /// each time.
    fn waits_for_output(&self) -> bool {
        self.captures.waits_for_output()
    }

    /// When the next reading is due, in microseconds since the boot.
    pub(super) fn due(&self) -> Option<u64> {
        self.captures.due()
    }

    /// Whether to read the screen at `now`, in microseconds since the boot. More output may postpone the
    /// reading.
    pub(super) fn is_time(&mut self, now: u64) -> bool {
        if self.due().is_none_or(|due| now < due) {
            return false;
        }
        let has_more_output = self.terminal.as_ref().is_some_and(FileWatch::has_changed);
        self.captures.is_time(now, has_more_output)
    }

    /// Schedules a reading because the terminal changed.
    pub(super) fn terminal_changed(&mut self) {
        self.terminal.iter().for_each(FileWatch::drain);
        self.captures.output(boot_us());
    }
}

/// Watches the terminal of the session's program; `None` where the kernel does not allow another watch.
fn watch_terminal(mark: &Mark) -> Option<FileWatch> {
    let terminal = stat(mark.pane_pid).and_then(|stat| terminal(&stat))?;
    FileWatch::of_terminal(&terminal).ok()
}
