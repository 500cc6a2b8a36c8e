//! What a session's program asks its user: seen when its screen comes to rest, recorded once, and told to
//! the session's person.

use std::time::Duration;

use super::Supervisor;
use super::watch::{LOOK, SessionWatch};
use crate::config::Config;
use crate::model::error::{Error, Kind, Result};
use crate::model::event::Event;
use crate::model::screen::Screen;
use crate::model::screen::looks::LookSchedule;
use crate::model::screen::prompts::Prompts;
use crate::model::session::Mark;
use crate::model::session::activity::Question;
use crate::model::supervision::NOTICE_EVERY;
use crate::model::unit;
use crate::ops::Context;
use crate::sys::clock::{boot_us, micros};
use crate::sys::inotify::FileWatch;
use crate::sys::process::{stat, terminal};
use crate::sys::tmux::Server;
use crate::sys::tmux::input::Input;
use crate::sys::{env, journal};

/// How soon a notice is tried again for which the manager could not be reached.
const AGAIN: Duration = Duration::from_secs(10);

/// The search for questions on a session's screen. It costs nothing while its program is silent: the kernel
/// says when the program writes to its terminal, or reads an answer.
#[derive(Debug)]
pub(super) struct Questions {
    /// What the program writes and reads. The kernel has few of these for each user
    /// (`fs.inotify.max_user_instances`, 128 as a rule): without one, the screen is looked at now and then.
    pub(super) terminal: Option<FileWatch>,
    looks: LookSchedule,
}

impl Questions {
    /// The search where the session has a pattern for questions. The first look is at once: one may stand
    /// there already.
    pub(super) fn of(prompts: &Prompts, mark: &Mark) -> Option<Self> {
        prompts.asking.as_ref()?;
        Some(Self { terminal: changes_of(mark), looks: LookSchedule::at_once(boot_us()) })
    }

    /// After a look: without the terminal's changes, the next one comes in its time.
    fn looked(&mut self, mark: &Mark) {
        if self.terminal.is_some() {
            return;
        }
        self.terminal = changes_of(mark);
        if self.terminal.is_some() {
            // What came before it was watched is seen by one more look.
            self.looks.output(boot_us());
        } else {
            self.looks.put_off(boot_us(), LOOK);
        }
    }

    /// Whether the terminal's changes are waited for: not between the first and the look at what they
    /// made of the screen, or a program that always prints would wake the supervisor each time.
    pub(super) fn waits(&self) -> bool {
        self.looks.waits_for_output()
    }

    /// When the screen is to be looked at.
    pub(super) fn due(&self) -> Option<u64> {
        self.looks.due()
    }

    /// The terminal changed.
    pub(super) fn terminal_changed(&mut self) {
        self.terminal.iter().for_each(FileWatch::take);
        self.looks.output(boot_us());
    }
}

/// What the session's program writes to its terminal and reads from it, where the kernel tells.
fn changes_of(mark: &Mark) -> Option<FileWatch> {
    let terminal = stat(mark.pane_pid).and_then(|stat| terminal(&stat))?;
    FileWatch::of_terminal(&terminal).ok()
}

impl SessionWatch {
    /// A look at the screen of the session's program.
    ///
    /// # Errors
    /// `Kind::Deadline` where its server does not answer within five seconds, or is frozen; otherwise what tmux
    /// said.
    pub(super) fn look(&self) -> Result<Screen> {
        if self.cgroup.is_frozen() {
            return Err(Error::new(Kind::Deadline, "its server is frozen"));
        }
        let mark = &self.watched.mark;
        Input::new(Server::new(&env::tmux()?, &mark.socket), mark).look()
    }

    /// What the program asks, by that look.
    fn question(&self, look: &Screen) -> Option<Question> {
        Some(Question::new(&self.prompts.question(&look.text)?, &look.text))
    }
}

impl Supervisor {
    /// LookSchedule for a question, where it is time for that.
    pub(super) fn look_for_question(&mut self, context: &Context, watch: &mut SessionWatch) {
        let now = boot_us();
        let Some(questions) = &mut watch.questions else { return };
        if questions.due().is_none_or(|due| now < due) {
            return;
        }
        let more = questions.terminal.as_ref().is_some_and(FileWatch::came);
        if !questions.looks.is_time(now, more) {
            return;
        }
        match watch.look() {
            Ok(look) => {
                self.note_question(context, watch, &look);
                watch.questions.iter_mut().for_each(|questions| questions.looked(&watch.watched.mark));
            }
            // Its end is seen where that belongs; one that is frozen or stopped may go on.
            Err(error) => {
                tracing::debug!("{error}");
                watch.questions.iter_mut().for_each(|questions| questions.looks.put_off(boot_us(), LOOK));
            }
        }
    }

    /// Whether the program asks something now. Where its server does not answer, as it was.
    pub(super) fn is_asking(&mut self, context: &Context, watch: &mut SessionWatch) -> bool {
        if watch.prompts.asking.is_some()
            && let Ok(look) = watch.look()
        {
            self.note_question(context, watch, &look);
        }
        watch.watched.asked.is_some()
    }

    /// Notes what the program asks by that look, and records it where it did not before.
    fn note_question(&mut self, context: &Context, watch: &mut SessionWatch, look: &Screen) {
        let question = watch.question(look);
        if watch.watched.note_question(question, boot_us()) {
            // First: a supervisor that is killed here is followed by one that knows it.
            self.keep(context, watch);
            journal::record(&Event::Asking { session: self.id.clone() });
        }
    }

    /// Has a notice of the question sent, by a process of its own: that takes as long as networks take, and
    /// outlives this supervisor. It reads the screen itself, so that no command line has what is on it. Says
    /// whether the manager was asked.
    pub(super) fn send_notice(&mut self, context: &Context, watch: &mut SessionWatch) -> bool {
        let now = boot_us();
        watch.watched.note_notice(now);
        // First: a supervisor that is killed here is followed by one that does not send it again.
        self.keep(context, watch);
        match self.start_notice() {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!("{error}");
                if let Some(asked) = &mut watch.watched.asked {
                    asked.noticed = false;
                }
                watch.watched.noticed = Some((now + micros(AGAIN)).saturating_sub(micros(NOTICE_EVERY)));
                false
            }
        }
    }

    /// Writes down what is known of the run, for the next supervisor.
    pub(super) fn keep(&mut self, context: &Context, watch: &SessionWatch) {
        self.record.watched = Some(watch.watched.clone());
        self.write_record(context);
    }

    fn start_notice(&self) -> Result<()> {
        let config_file = self.terms.config_file.as_ref().map(|path| {
            path.to_str()
                .map(str::to_owned)
                .ok_or_else(|| Error::failed("the configuration's path is no text"))
        });
        let mut arguments = vec!["--quiet".to_owned()];
        if let Some(path) = config_file.transpose()? {
            arguments.extend(["--config".to_owned(), path]);
        }
        arguments.extend(["notify", "asking", self.id.as_str()].map(str::to_owned));
        // A connection of its own, gone with this call: see `Supervisor::with_manager`.
        let context = Context::with(self.paths.clone(), Config::default());
        let description = format!("Tells that forge session {} asks something", self.id);
        context.manager()?.start_detached(&unit::asking(&self.id), &description, &env::forge()?, &arguments)
    }
}
