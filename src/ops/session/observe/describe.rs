//! Describes sessions for `forge list` and `forge status`: resources, command, and whether the program
//! asks a question.

use std::collections::BTreeMap;

use super::list::{ALL_UNITS, ObservedSession, observe};
use crate::model::error::Result;
use crate::model::screen::prompts::Prompts;
use crate::model::session::activity::{Activity, Source};
use crate::model::session::name::SessionId;
use crate::model::session::spec::Spec;
use crate::model::session::{Session, State};
use crate::model::time::rfc3339;
use crate::ops::Context;
use crate::ops::session::outside::outside;
use crate::sys::clock::{boot_us, now_us};
use crate::sys::connections::Connections;
use crate::sys::env;
use crate::sys::proc::{stat, terminal_idle_s};
use crate::sys::tmux;
use crate::sys::tmux::Server;
use crate::sys::tmux::input::Input;

/// Observes and describes every session whose id is `wanted`.
///
/// # Errors
/// As for [`all`](super::all).
pub fn describe_all(context: &Context, wanted: impl Fn(&SessionId) -> bool) -> Result<Vec<Session>> {
    let mut described = BTreeMap::new();
    let mut add =
        |found: &ObservedSession| drop(described.insert(found.id.clone(), without_activity(context, found)));
    let found = observe(context, &ALL_UNITS, wanted, &mut add)?;
    let described: Vec<(&ObservedSession, (Session, Prompts))> =
        found.iter().filter_map(|found| Some((found, described.remove(&found.id)?))).collect();
    let questions = read_questions(described.iter().map(|(found, (_, prompts))| (*found, prompts)));
    let complete =
        |((found, (session, _)), question): ((&ObservedSession, (Session, Prompts)), Option<String>)| {
            // The server's answer was not known when the session was described.
            with_activity(context, found, Session { state: found.state(), ..session }, question)
        };
    Ok(described.into_iter().zip(questions).map(complete).collect())
}

pub fn describe(context: &Context, found: &ObservedSession) -> Session {
    let (session, prompts) = without_activity(context, found);
    let question = QuestionReader::new(found, &prompts).and_then(|reader| reader.question().ok()?);
    let outside = outside(&found.id, &found.cgroup, found.mark.as_ref(), &Connections::default());
    Session { outside, ..with_activity(context, found, session, question) }
}

/// The question that the session's program asks, as the lines of its screen.
///
/// `None`: the program asks nothing, or the session has no pattern for questions. Without a pattern forge
/// does not read the screen.
///
/// # Errors
/// [`Kind::Deadline`](crate::model::error::Kind::Deadline) if the server does not answer within 5 seconds.
pub fn question(context: &Context, found: &ObservedSession) -> Result<Option<String>> {
    let prompts = context.store.spec(&found.id)?.map(|spec| spec.prompts()).unwrap_or_default();
    QuestionReader::new(found, &prompts).map_or(Ok(None), |reader| reader.question())
}

/// Reads the question on a session's screen.
struct QuestionReader<'a> {
    prompts: &'a Prompts,
    input: Input<'a>,
}

impl<'a> QuestionReader<'a> {
    /// `None` unless the session has a pattern for questions and its program runs.
    fn new(found: &'a ObservedSession, prompts: &'a Prompts) -> Option<Self> {
        prompts.asking.as_ref()?;
        let is_readable = found.state() == State::Running && found.program.is_there();
        let mark = found.mark.as_ref().filter(|_| is_readable)?;
        Some(Self { prompts, input: Input::new(Server::new(&env::tmux().ok()?, &mark.socket), mark) })
    }

    /// Reads the screen in the same way as `forge send`, so that both recognise the same questions.
    fn question(&self) -> Result<Option<String>> {
        Ok(self.prompts.question(&self.input.read_screen()?.text))
    }
}

/// Reads the questions of several sessions. Up to 8 threads ask the servers in parallel.
fn read_questions<'a>(
    sessions: impl Iterator<Item = (&'a ObservedSession, &'a Prompts)>,
) -> Vec<Option<String>> {
    const THREADS: usize = 8;
    let readers: Vec<_> = sessions.map(|(found, prompts)| QuestionReader::new(found, prompts)).collect();
    let read = |readers: &[Option<QuestionReader<'_>>]| -> Vec<Option<String>> {
        readers.iter().map(|reader| reader.as_ref()?.question().ok()?).collect()
    };
    if readers.iter().flatten().count() < 2 {
        return read(&readers);
    }
    std::thread::scope(|scope| {
        let started: Vec<_> = readers
            .chunks(readers.len().div_ceil(THREADS))
            .map(|part| (part, std::thread::Builder::new().spawn_scoped(scope, || read(part))))
            .collect();
        let questions = started.into_iter().map(|(part, thread)| match thread {
            Ok(thread) => thread.join().unwrap_or_else(|_| vec![None; part.len()]),
            // The kernel gave no thread: read them in this one.
            Err(_) => read(part),
        });
        questions.flatten().collect()
    })
}

/// Adds the activity to a described session. Without a question the activity stays unknown.
fn with_activity(
    context: &Context,
    found: &ObservedSession,
    session: Session,
    question: Option<String>,
) -> Session {
    if question.is_none() {
        return session;
    }
    // If a supervisor saw the question appear, its record has the time.
    let watched = context.store.record(&found.id).ok().flatten().and_then(|record| record.watched);
    let watched = watched.filter(|watched| found.mark.as_ref() == Some(&watched.mark));
    let since = watched.and_then(|watched| watched.asked).map(|asked| {
        let age = boot_us().saturating_sub(asked.since_boot_us);
        now_us().saturating_sub(age)
    });
    Session {
        activity: Activity::Asking,
        activity_since: since.and_then(rfc3339),
        activity_source: Some(Source::Screen),
        question,
        ..session
    }
}

/// The last failure of a session that its supervisor starts again, or no longer starts.
fn failure(context: &Context, found: &ObservedSession) -> Option<String> {
    let is_down = found.service.is_some() && matches!(found.state(), State::Starting | State::Failed);
    is_down.then(|| context.store.record(&found.id).ok().flatten()?.failure)?
}

/// Describes a session except for its activity; also returns its prompt patterns.
fn without_activity(context: &Context, found: &ObservedSession) -> (Session, Prompts) {
    // If the specification cannot be read, the session is described without its command.
    let spec = context.store.spec(&found.id).ok().flatten();
    let mark = found.mark.as_ref();
    let pane = mark.filter(|_| found.program.is_there());
    let attached = tmux::is_attached(&found.socket);
    let prompts = spec.as_ref().map(Spec::prompts).unwrap_or_default();
    let session = Session {
        session: found.id.clone(),
        state: found.state(),
        since: mark.and_then(|mark| rfc3339(mark.since_us)),
        socket: found.socket.clone(),
        server_pid: mark.filter(|_| found.server.is_there()).map(|mark| mark.server_pid),
        pane_pid: pane.map(|mark| mark.pane_pid),
        command: spec.as_ref().map(|spec| spec.command.as_slice().to_vec()).unwrap_or_default(),
        cwd: spec.map(|spec| spec.cwd),
        memory_bytes: found.cgroup.memory(),
        cpu_usec: found.cgroup.cpu_usec(),
        tasks: found.cgroup.processes().len() as u64,
        attached,
        supervised: found.is_supervised(),
        activity: Activity::Unknown,
        activity_since: None,
        activity_source: None,
        question: None,
        failure: failure(context, found),
        outside: None,
        idle_s: pane.and_then(|mark| terminal_idle_s(&stat(mark.pane_pid)?)),
    };
    (session, prompts)
}
