//! The activity of sessions: the last report of their hooks, and what their screens show.

use super::list::ObservedSession;
use crate::model::error::Result;
use crate::model::screen::prompts::Prompts;
use crate::model::session::State;
use crate::model::session::activity::{
    Activity, ActivityReport, KnownActivity, ScreenActivity, Source, current,
};
use crate::model::supervision::Watched;
use crate::ops::Context;
use crate::sys::clock::boot_us;
use crate::sys::env;
use crate::sys::tmux::Server;
use crate::sys::tmux::input::Input;

/// The activity of a session, and the question on its screen.
#[derive(Debug, Clone, Default)]
pub struct ObservedActivity {
    pub known: KnownActivity,
    /// The question that the program asks, as the lines of its screen; `None` without a pattern for questions.
    pub question: Option<String>,
    /// The last report of the session's hooks.
    pub report: Option<ActivityReport>,
}

impl ObservedActivity {
    /// Whether the turn ended with `forge report done`.
    pub fn is_done(&self) -> bool {
        self.known.activity == Activity::Idle && self.report.as_ref().is_some_and(|report| report.done)
    }
}

/// The activity of a session. Without patterns that show it, forge does not read the screen.
///
/// # Errors
/// [`Kind::Deadline`](crate::model::error::Kind::Deadline) if the server does not answer within 5 seconds.
pub fn activity(context: &Context, found: &ObservedSession) -> Result<ObservedActivity> {
    let prompts = context.store.spec(&found.id)?.map(|spec| spec.prompts()).unwrap_or_default();
    let reading = ScreenReader::new(found, &prompts).map(|reader| reader.read()).transpose()?;
    Ok(observed(context, found, reading))
}

/// The activities of all these sessions. If a server does not answer, its screen counts as not read.
pub fn activities(context: &Context, found: &[ObservedSession]) -> Vec<ObservedActivity> {
    let prompts = |found: &ObservedSession| {
        context.store.spec(&found.id).ok().flatten().map(|spec| spec.prompts()).unwrap_or_default()
    };
    let prompts: Vec<Prompts> = found.iter().map(prompts).collect();
    activities_by(context, &found.iter().zip(&prompts).collect::<Vec<_>>())
}

/// The same, for sessions whose patterns are known.
pub(super) fn activities_by(
    context: &Context,
    sessions: &[(&ObservedSession, &Prompts)],
) -> Vec<ObservedActivity> {
    let readings = read_screens(sessions);
    let observed =
        |((found, _), reading): (&(&ObservedSession, &Prompts), _)| observed(context, found, reading);
    sessions.iter().zip(readings).map(observed).collect()
}

/// A reading of a session's screen.
#[derive(Debug, Clone)]
struct ScreenReading {
    activity: ScreenActivity,
    question: Option<String>,
}

fn observed(context: &Context, found: &ObservedSession, reading: Option<ScreenReading>) -> ObservedActivity {
    let Some(mark) = found.mark.as_ref().filter(|_| found.program.is_there()) else {
        return ObservedActivity::default();
    };
    let report = found.cgroup.report(mark);
    let screen = reading.as_ref().map(|reading| reading.activity);
    let was_shown = report.as_ref().and_then(|report| was_shown(context, found, report));
    let known = current(report.as_ref(), screen, was_shown, boot_us());
    let since = if known.source == Some(Source::Screen) { seen_since(context, found, known) } else { None };
    let known = KnownActivity { since: since.or(known.since), ..known };
    ObservedActivity { known, question: reading.and_then(|reading| reading.question), report }
}

/// Whether the session's supervisor saw the reported question on the screen; `None` if no supervisor watches it.
pub(in crate::ops::session) fn was_shown(
    context: &Context,
    found: &ObservedSession,
    report: &ActivityReport,
) -> Option<bool> {
    if report.activity != Activity::Asking || !found.is_supervised() {
        return None;
    }
    let watched = watched(context, found)?;
    Some(report.was_shown(watched.matched_report))
}

/// The data of the supervisor that watches this run.
fn watched(context: &Context, found: &ObservedSession) -> Option<Watched> {
    let watched = context.store.record(&found.id).ok().flatten()?.watched;
    watched.filter(|watched| found.mark.as_ref() == Some(&watched.mark))
}

/// When the supervisor saw this activity begin on the screen, in microseconds since the boot.
fn seen_since(context: &Context, found: &ObservedSession, known: KnownActivity) -> Option<u64> {
    let watched = watched(context, found)?;
    match known.activity {
        Activity::Asking => watched.asked.map(|asked| asked.since_boot_us),
        activity => watched.seen.filter(|seen| seen.activity == activity)?.since,
    }
}

/// Reads a session's screen, in the same way as `forge send`, so that both recognise the same questions.
struct ScreenReader<'a> {
    prompts: &'a Prompts,
    input: Input<'a>,
}

impl<'a> ScreenReader<'a> {
    /// `None` unless the session has patterns that show its activity, and its program runs.
    fn new(found: &'a ObservedSession, prompts: &'a Prompts) -> Option<Self> {
        let is_readable = found.state() == State::Running && found.program.is_there();
        let mark = found.mark.as_ref().filter(|_| is_readable && prompts.show_activity())?;
        Some(Self { prompts, input: Input::new(Server::new(&env::tmux().ok()?, &mark.socket), mark) })
    }

    fn read(&self) -> Result<ScreenReading> {
        let screen = self.input.read_screen()?.text;
        Ok(ScreenReading {
            activity: ScreenActivity::of(self.prompts, &screen),
            question: self.prompts.question(&screen),
        })
    }
}

/// Reads the screens of several sessions. Up to 8 threads ask the servers in parallel.
fn read_screens(sessions: &[(&ObservedSession, &Prompts)]) -> Vec<Option<ScreenReading>> {
    const THREADS: usize = 8;
    let readers: Vec<_> = sessions.iter().map(|(found, prompts)| ScreenReader::new(found, prompts)).collect();
    let read = |readers: &[Option<ScreenReader<'_>>]| -> Vec<Option<ScreenReading>> {
        readers.iter().map(|reader| reader.as_ref()?.read().ok()).collect()
    };
    if readers.iter().flatten().count() < 2 {
        return read(&readers);
    }
    std::thread::scope(|scope| {
        let started: Vec<_> = readers
            .chunks(readers.len().div_ceil(THREADS))
            .map(|part| (part, std::thread::Builder::new().spawn_scoped(scope, || read(part))))
            .collect();
        let readings = started.into_iter().map(|(part, thread)| match thread {
            Ok(thread) => thread.join().unwrap_or_else(|_| vec![None; part.len()]),
            // The kernel gave no thread: read them in this one.
            Err(_) => read(part),
        });
        readings.flatten().collect()
    })
}
