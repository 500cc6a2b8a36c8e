//! Waits until a session's program asks its user something, or is idle.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::Duration;

use super::observe::{ObservedSession, was_shown};
use crate::model::error::{Error, Kind, Result};
use crate::model::screen::captures::CaptureSchedule;
use crate::model::screen::prompts::Prompts;
use crate::model::screen::quoted;
use crate::model::session::activity::{Activity, KnownActivity, ScreenActivity, current};
use crate::ops::Context;
use crate::sys::cgroup::Cgroup;
use crate::sys::clock::{Deadline, boot_us};
use crate::sys::env;
use crate::sys::inotify::FileWatch;
use crate::sys::poll::readable;
use crate::sys::proc::{stat, terminal};
use crate::sys::process::Process;
use crate::sys::tmux::Server;
use crate::sys::tmux::input::Input;

/// How long to wait before the next try to read the screen of a frozen session. No event reports that it thaws.
const FROZEN: Duration = Duration::from_secs(1);

/// Whether a hook has reported the activity of this run, so that [`until_activity`] knows when the turn ends.
pub fn is_reported(found: &ObservedSession) -> bool {
    found.mark.as_ref().is_some_and(|mark| found.cgroup.report(mark).is_some())
}

/// Waits until the session's activity is `wanted`, by the reports of its hooks and by its patterns. The kernel
/// reports when a hook reports, and when the program prints.
///
/// # Errors
/// [`Kind::Deadline`] if the activity is another one at the deadline; [`Kind::Asking`] if the program asks a
/// question and `wanted` is another activity; [`Kind::Ended`] if the program ends.
pub fn until_activity(
    context: &Context,
    found: &ObservedSession,
    wanted: Activity,
    deadline: Deadline,
) -> Result<()> {
    let (id, mark) = (&found.id, found.mark()?);
    let prompts = context.store.spec(id)?.map(|spec| spec.prompts()).unwrap_or_default();
    let ended = || {
        Error::new(Kind::Ended, format!("the program of {id} ended"))
            .hint(format!("'forge logs {id}' shows how"))
    };
    let program = Process::open_that(mark.program())?.ok_or_else(ended)?;
    let reports = found.cgroup.watch_reports()?;
    let input = Input::new(Server::new(&env::tmux()?, &mark.socket), mark);
    let mut screen =
        ScreenWatch::new(&prompts, &found.cgroup, stat(mark.pane_pid).and_then(|stat| terminal(&stat)))?;
    loop {
        // Drain first: a report that comes after it is the next event.
        reports.drain();
        screen.read_if_due(&input)?;
        let report = found.cgroup.report(mark);
        let shown = report.as_ref().and_then(|report| was_shown(context, found, report));
        let known = current(report.as_ref(), screen.activity, shown, boot_us());
        match known {
            KnownActivity { activity, .. } if activity == wanted => return Ok(()),
            KnownActivity { activity: Activity::Asking, .. } => {
                let question = screen.question.as_deref().unwrap_or_default();
                let message = quoted(&format!("{id} asks a question:"), question.lines());
                let message = message.trim_end_matches(':').to_owned();
                return Err(
                    Error::new(Kind::Asking, message).hint(format!("'forge attach {id}' to answer it"))
                );
            }
            _ if deadline.passed() => {
                let message =
                    format!("{id} is not {}: its activity is {}", wanted.word(), known.activity.word());
                return Err(Error::new(Kind::Deadline, message)
                    .hint(format!("'forge capture {id}' shows the screen")));
            }
            KnownActivity { .. } => {}
        }
        let mut fds = vec![program.as_fd(), reports.as_fd()];
        fds.extend(screen.output());
        let came = readable(&fds, screen.due().map_or(deadline, |due| due.min(deadline)));
        if came[0] {
            return Err(ended());
        }
        if came.get(2) == Some(&true) {
            screen.changed();
        }
    }
}

/// The readings of a screen by which a wait decides. Each costs a process, so they are a second apart.
struct ScreenWatch<'a> {
    prompts: &'a Prompts,
    cgroup: &'a Cgroup,
    /// `None` where the session has no pattern that shows the activity.
    output: Option<FileWatch>,
    captures: CaptureSchedule,
    activity: Option<ScreenActivity>,
    question: Option<String>,
}

impl<'a> ScreenWatch<'a> {
    fn new(prompts: &'a Prompts, cgroup: &'a Cgroup, terminal: Option<PathBuf>) -> Result<Self> {
        let terminal = terminal.filter(|_| prompts.show_activity());
        Ok(Self {
            prompts,
            cgroup,
            output: terminal.map(|terminal| FileWatch::of_terminal(&terminal)).transpose()?,
            captures: CaptureSchedule::at_once(boot_us()),
            activity: None,
            question: None,
        })
    }

    /// Reads the screen if the output has stopped, or goes on for long. A frozen server answers later.
    fn read_if_due(&mut self, input: &Input<'_>) -> Result<()> {
        let (Some(output), now) = (&self.output, boot_us()) else { return Ok(()) };
        if self.captures.due().is_none_or(|due| now < due) {
            return Ok(());
        }
        if !self.captures.is_time(now, output.has_changed()) {
            return Ok(());
        }
        if self.cgroup.is_frozen() {
            self.captures.put_off(now, FROZEN);
            return Ok(());
        }
        let screen = input.read_screen()?.text;
        self.activity = Some(ScreenActivity::of(self.prompts, &screen));
        self.question = self.prompts.question(&screen);
        Ok(())
    }

    fn output(&self) -> Option<BorrowedFd<'_>> {
        self.output.as_ref().filter(|_| self.captures.waits_for_output()).map(AsFd::as_fd)
    }

    fn due(&self) -> Option<Deadline> {
        self.output.as_ref().and(self.captures.due()).map(Deadline::at_boot_us)
    }

    fn changed(&mut self) {
        self.output.iter().for_each(FileWatch::drain);
        self.captures.output(boot_us());
    }
}
