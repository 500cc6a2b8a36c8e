//! What runs is what the manager says runs: sessions, found on the machine and classified.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::heal;
use crate::model::error::{Error, Kind, Result};
use crate::model::screen::prompts::Prompts;
use crate::model::session::activity::{Activity, Source};
use crate::model::session::condition::{Active, Answer, Condition, ProcessLife, SessionFacts};
use crate::model::session::name::{Pattern, SessionId};
use crate::model::session::spec::Spec;
use crate::model::session::{Mark, Session, State};
use crate::model::time::rfc3339;
use crate::model::unit;
use crate::ops::Context;
use crate::sys::cgroup::Cgroup;
use crate::sys::clock::{Deadline, boot_us, now_us, pause};
use crate::sys::env;
use crate::sys::process::{life, stat, terminal_idle_s};
use crate::sys::tmux::Server;
use crate::sys::tmux::directory::Directory;
use crate::sys::tmux::input::Input;
use crate::sys::tmux::ping::{PendingPing, Ping, answers, knock};

/// How long all servers together may take to answer; one that does not is wedged.
const ANSWERS: Duration = Duration::from_secs(1);

/// How long a session that is being started may take until it has units.
const APPEARS: Duration = Duration::from_secs(10);

/// A session as it was found.
#[derive(Debug)]
pub struct ObservedSession {
    /// The session.
    pub id: SessionId,
    /// How it is.
    pub condition: Condition,
    /// forge's mark, which knows its processes.
    pub mark: Option<Mark>,
    /// Its server's process.
    pub server: ProcessLife,
    /// Its program's process.
    pub program: ProcessLife,
    /// Whether its server answered.
    pub answered: bool,
    /// The control group of its slice.
    pub cgroup: Cgroup,
    /// Whether its scope is there, and not only something that is left in the slice.
    pub has_scope: bool,
    /// Whether anything of it is there. Where not, its supervisor's service is: which is about to
    /// start it, or has given it up.
    pub has_body: bool,
    /// Its supervisor's service, where there is one.
    pub service: Option<Active>,
    /// The socket that it has, or would have.
    pub socket: PathBuf,
}

/// The units of one session.
#[derive(Debug, Default, Clone, Copy)]
struct Units {
    scope: Option<Active>,
    slice: Option<Active>,
    service: Option<Active>,
}

/// All sessions that match, sorted by name: one round trip to the manager, whatever their
/// number.
///
/// # Errors
/// When the manager does not answer.
pub fn all(context: &Context, wanted: impl Fn(&SessionId) -> bool) -> Result<Vec<ObservedSession>> {
    among(context, &ALL, wanted, |_| ())
}

/// The same, as people and bots see them.
///
/// # Errors
/// When the manager does not answer.
pub fn shown(context: &Context, wanted: impl Fn(&SessionId) -> bool) -> Result<Vec<Session>> {
    let mut shown = BTreeMap::new();
    let mut show = |found: &ObservedSession| drop(shown.insert(found.id.clone(), found.show(context)));
    let found = among(context, &ALL, wanted, &mut show)?;
    let shown: Vec<(&ObservedSession, (Session, Prompts))> =
        found.iter().filter_map(|found| Some((found, shown.remove(&found.id)?))).collect();
    let questions = questions(shown.iter().map(|(found, (_, prompts))| (*found, prompts)));
    let judged =
        |((found, (session, _)), question): ((&ObservedSession, (Session, Prompts)), Option<String>)| {
            with_activity(context, found, Session { state: found.state(), ..session }, question)
        };
    Ok(shown.into_iter().zip(questions).map(judged).collect())
}

/// One session, as people and bots see it.
pub fn show(context: &Context, found: &ObservedSession) -> Session {
    let (session, prompts) = found.show(context);
    let question = asked_of(found, &prompts).and_then(|asked| asked.question().ok()?);
    with_activity(context, found, session, question)
}

/// What the program of a session asks its user, by the lines of its screen; `None` where it asks nothing, or
/// the session has no pattern for that, and then nobody looks at its screen.
///
/// # Errors
/// `Kind::Deadline` when its server does not answer in five seconds.
pub fn question(context: &Context, found: &ObservedSession) -> Result<Option<String>> {
    let prompts = context.store.spec(&found.id)?.map(|spec| spec.prompts()).unwrap_or_default();
    asked_of(found, &prompts).map_or(Ok(None), |asked| asked.question())
}

/// Where to look for a question.
struct Asker<'a> {
    prompts: &'a Prompts,
    input: Input<'a>,
}

impl Asker<'_> {
    /// What it asks, by the same look at its screen that `forge send` takes.
    fn question(&self) -> Result<Option<String>> {
        Ok(self.prompts.question(&self.input.look()?.text))
    }
}

/// Where to look for a question of a session: only where it has a pattern for one, and its program reads and
/// prints.
fn asked_of<'a>(found: &'a ObservedSession, prompts: &'a Prompts) -> Option<Asker<'a>> {
    prompts.asking.as_ref()?;
    let mark = found.mark.as_ref().filter(|_| found.state() == State::Running && found.program.is_there())?;
    Some(Asker { prompts, input: Input::new(Server::new(&env::tmux().ok()?, &mark.socket), mark) })
}

/// The questions of several sessions. Their servers are asked side by side, a few at a time.
fn questions<'a>(sessions: impl Iterator<Item = (&'a ObservedSession, &'a Prompts)>) -> Vec<Option<String>> {
    const AT_A_TIME: usize = 8;
    let asked: Vec<_> = sessions.map(|(found, prompts)| asked_of(found, prompts)).collect();
    let some = |asked: &[Option<Asker<'_>>]| -> Vec<Option<String>> {
        asked.iter().map(|asked| asked.as_ref()?.question().ok()?).collect()
    };
    if asked.iter().flatten().count() < 2 {
        return some(&asked);
    }
    std::thread::scope(|scope| {
        let started: Vec<_> = asked
            .chunks(asked.len().div_ceil(AT_A_TIME))
            .map(|part| (part, std::thread::Builder::new().spawn_scoped(scope, || some(part))))
            .collect();
        // Where no thread is to be had, this one does the work.
        let answers = started.into_iter().map(|(part, thread)| match thread {
            Ok(thread) => thread.join().unwrap_or_else(|_| vec![None; part.len()]),
            Err(_) => some(part),
        });
        answers.flatten().collect()
    })
}

/// The session with what its program does.
fn with_activity(
    context: &Context,
    found: &ObservedSession,
    session: Session,
    question: Option<String>,
) -> Session {
    if question.is_none() {
        return session;
    }
    // Its supervisor knows since when, if it has one that saw it begin.
    let watched = context.store.record(&found.id).ok().flatten().and_then(|record| record.watched);
    let watched = watched.filter(|watched| found.mark.as_ref() == Some(&watched.mark));
    let since = watched.and_then(|watched| watched.asked).map(|asked| {
        let age = boot_us().saturating_sub(asked.since);
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

/// The units of all sessions.
const ALL: [&str; 3] = [unit::SCOPE_PATTERN, unit::SLICE_PATTERN, unit::SERVICE_PATTERN];

/// Those among the units of these patterns. `meanwhile` is called with each while the servers are waited
/// for: as if they answered.
fn among(
    context: &Context,
    units: &[&str],
    wanted: impl Fn(&SessionId) -> bool,
    mut meanwhile: impl FnMut(&ObservedSession),
) -> Result<Vec<ObservedSession>> {
    let manager = context.manager()?;
    let listed = manager.units(units)?;
    let mut units: BTreeMap<SessionId, Units> = BTreeMap::new();
    for row in &listed {
        // A slice is active to its end: that it is being stopped, only its job tells.
        let active = Some(match (row.job.as_str(), Active::from_word(&row.active)) {
            ("stop", _) => Active::Deactivating,
            // At a boot it is queued before it is started.
            ("start", Active::Inactive) => Active::Activating,
            (_, active) => active,
        });
        if let Some(id) = unit::session_of_scope(&row.name) {
            units.entry(id).or_default().scope = active;
        } else if let Some(id) = unit::session_of_slice(&row.name) {
            units.entry(id).or_default().slice = active;
        } else if let Some(id) = unit::session_of_service(&row.name) {
            units.entry(id).or_default().service = active;
        }
    }
    units.retain(|id, _| wanted(id));
    if units.is_empty() {
        return Ok(Vec::new());
    }
    let forge_slice = Cgroup::new(&manager.control_group()?).child(unit::FORGE_SLICE);
    let marked: Vec<_> = units
        .into_iter()
        .map(|(id, units)| {
            let cgroup = forge_slice.child(&unit::slice(&id));
            let mark = cgroup.mark();
            let socket = mark.as_ref().map_or_else(
                || context.paths.socket_dir().join(unit::socket(&id)),
                |mark| mark.socket.clone(),
            );
            (id, units, cgroup, mark, socket)
        })
        .collect();
    // A frozen server cannot answer: it is not asked, or it would cost the whole deadline.
    let frozen: Vec<bool> = marked.iter().map(|(_, _, cgroup, ..)| cgroup.is_frozen()).collect();
    let asked: Vec<Option<&Path>> = marked
        .iter()
        .zip(&frozen)
        .map(|((.., socket), frozen)| (!frozen).then_some(socket.as_path()))
        .collect();
    let knocks = knock_all(&asked);
    // While the servers answer. What is seen here is seen after the connection: a server that refused it
    // was dead before its process is looked for.
    let mut seen: Vec<(usize, SessionFacts, ObservedSession)> = Vec::new();
    for (at, ((id, units, cgroup, mark, socket), frozen)) in marked.into_iter().zip(frozen).enumerate() {
        let scope = units.scope.unwrap_or(Active::Inactive);
        let has_body = scope != Active::Inactive || cgroup.is_populated()?;
        let facts = facts(mark.as_ref(), frozen);
        let spawning = !facts.up && context.store.is_claimed(&id);
        let facts = SessionFacts { scope, slice: units.slice.unwrap_or(Active::Inactive), spawning, ..facts };
        let service = units.service.filter(|active| *active != Active::Inactive);
        let condition = match (has_body, service) {
            (true, _) => Condition::of(facts),
            // A slice that holds nothing is no session: it is just going, or is only loaded.
            (false, None) => continue,
            (false, Some(Active::Failed)) => Condition::Failed,
            (false, Some(Active::Deactivating)) => Condition::Stopping,
            (false, Some(_)) => Condition::Starting,
        };
        let (has_scope, answered) = (scope != Active::Inactive, false);
        let SessionFacts { server, program, .. } = facts;
        let found = ObservedSession {
            id,
            condition,
            mark,
            server,
            program,
            answered,
            cgroup,
            has_scope,
            has_body,
            service,
            socket,
        };
        meanwhile(&found);
        seen.push((at, facts, found));
    }
    let answers = answers_of(&knocks, Deadline::after(ANSWERS));
    let judge = |(at, facts, mut found): (usize, SessionFacts, ObservedSession)| {
        let answer: Answer = answers[at];
        found.answered = answer == Answer::Answers;
        if found.has_body {
            found.condition = Condition::of(SessionFacts { answer, ..facts });
        }
        if let (State::Dead, Some(mark)) = (found.state(), &found.mark) {
            heal::unnoticed_end(mark);
        }
        found
    };
    Ok(seen.into_iter().map(judge).collect())
}

/// What is seen of a session without its manager, whose units are taken for active, and without its server,
/// which is taken for answering.
fn facts(mark: Option<&Mark>, frozen: bool) -> SessionFacts {
    let life =
        |of: fn(&Mark) -> (u32, u64)| mark.map(of).map_or(ProcessLife::Gone, |(pid, start)| life(pid, start));
    SessionFacts {
        scope: Active::Active,
        slice: Active::Active,
        frozen,
        up: mark.is_some_and(|mark| mark.up),
        spawning: false,
        server: life(|mark| (mark.server_pid, mark.server_start)),
        program: life(|mark| (mark.pane_pid, mark.pane_start)),
        answer: Answer::Answers,
    }
}

/// How a session is that runs, seen without asking the manager.
pub fn glance(mark: &Mark, cgroup: &Cgroup) -> Condition {
    let frozen = cgroup.is_frozen();
    let socket = (!frozen).then_some(mark.socket.as_path());
    let knocks = knock_all(&[socket]);
    let facts = facts(Some(mark), frozen);
    let answer = answers_of(&knocks, Deadline::after(ANSWERS)).first().copied();
    Condition::of(SessionFacts { answer: answer.unwrap_or(Answer::Silent), ..facts })
}

/// Asks all servers; none is waited for.
fn knock_all(sockets: &[Option<&Path>]) -> Vec<Ping> {
    let mut directories: BTreeMap<&Path, Option<Directory>> = BTreeMap::new();
    let mut knocks = Vec::new();
    for socket in sockets {
        let (Some(parent), Some(name)) = (socket.and_then(Path::parent), socket.and_then(Path::file_name))
        else {
            knocks.push(Ping::Full);
            continue;
        };
        let directory = directories.entry(parent).or_insert_with(|| Directory::open(parent).ok().flatten());
        knocks.push(directory.as_ref().map_or(Ping::Missing, |directory| knock(directory, name)));
    }
    knocks
}

/// What they answer, waited for side by side.
fn answers_of(knocks: &[Ping], deadline: Deadline) -> Vec<Answer> {
    let callers: Vec<&PendingPing> = knocks
        .iter()
        .filter_map(|knock| if let Ping::Open(caller) = knock { Some(caller) } else { None })
        .collect();
    let mut answered = answers(&callers, deadline).into_iter();
    knocks
        .iter()
        .map(|knock| match knock {
            Ping::Open(_) if answered.next() == Some(true) => Answer::Answers,
            Ping::Open(_) | Ping::Full | Ping::Unknown(_) => Answer::Silent,
            Ping::Refused => Answer::Refused,
            Ping::Missing => Answer::Missing,
        })
        .collect()
}

/// One session; `None` where there is none of that name.
///
/// # Errors
/// When the manager does not answer.
pub fn one(context: &Context, id: &SessionId) -> Result<Option<ObservedSession>> {
    let units = [unit::scope(id), unit::slice(id), unit::service(id)].map(|name| unit::pattern(&name));
    let units: Vec<&str> = units.iter().map(String::as_str).collect();
    Ok(among(context, &units, |other| other == id, |_| ())?.pop())
}

/// One session that must be there.
///
/// # Errors
/// [`Kind::NoSession`] when it is not, with how its last run ended where that is known.
pub fn existing(context: &Context, id: &SessionId) -> Result<ObservedSession> {
    if let Some(found) = one(context, id)? {
        return Ok(found);
    }
    let no_session = |more: String| Error::new(Kind::NoSession, format!("there is no session {id}{more}"));
    let again = format!("'forge restart {id}' starts it again");
    let is_over = context.store.spec(id).ok().flatten().map(|spec| spec.over);
    Err(match (context.store.end(id), is_over) {
        (Ok(Some(end)), is_over) => {
            no_session(format!(" any more: it ended with {}", end.words())).hint(format!(
                "'forge logs {id}' tells what happened{}",
                if is_over.is_some() { format!("; {again}") } else { String::new() }
            ))
        }
        (_, Some(is_over)) => {
            let how = if is_over { "" } else { ", and nobody stopped it: its server is gone" };
            no_session(format!(" any more{how}")).hint(format!("{again}, 'forge stop {id}' forgets it"))
        }
        (_, None) => no_session(String::new()).hint("'forge list' shows the sessions that there are"),
    })
}

/// The sessions that a verb is about, those of which something is there.
///
/// # Errors
/// [`Kind::NoSession`] when a name or pattern matches none.
pub fn matching(context: &Context, patterns: &[Pattern]) -> Result<Vec<ObservedSession>> {
    let mut found = all(context, |id| patterns.iter().any(|pattern| pattern.matches(id)))?;
    found.retain(|found| found.has_body);
    all_match(context, patterns, &found, &[])?;
    Ok(found)
}

/// The same with the sessions of which only the specification is there: lost with their server,
/// or not restored.
///
/// # Errors
/// As for [`matching`].
pub fn matching_or_kept(
    context: &Context,
    patterns: &[Pattern],
) -> Result<(Vec<ObservedSession>, Vec<SessionId>)> {
    let matches = |id: &SessionId| patterns.iter().any(|pattern| pattern.matches(id));
    let deadline = Deadline::after(APPEARS);
    loop {
        // First: a session that starts meanwhile is then among those found.
        let mut kept: Vec<SessionId> = context.store.specs()?.into_keys().filter(matches).collect();
        let found = all(context, matches)?;
        kept.retain(|id| !found.iter().any(|found| found.id == *id));
        // One that is being started has its units in a moment, and no event tells of it.
        let is_claimed = |id: &SessionId| context.store.is_claimed(id);
        let starting: Vec<SessionId> = kept.iter().filter(|id| is_claimed(id)).cloned().collect();
        if deadline.passed() || starting.is_empty() {
            all_match(context, patterns, &found, &kept)?;
            return Ok((found, kept));
        }
        // The others are not asked meanwhile.
        while !deadline.passed()
            && starting.iter().all(is_claimed)
            && all(context, |id| starting.contains(id))?.is_empty()
        {
            pause(Duration::from_millis(20));
        }
    }
}

/// Refuses a pattern that nothing matches.
fn all_match(
    context: &Context,
    patterns: &[Pattern],
    found: &[ObservedSession],
    kept: &[SessionId],
) -> Result<()> {
    for pattern in patterns.iter().filter(|pattern| pattern.as_str() != "*") {
        let mut ids = found.iter().map(|found| &found.id).chain(kept);
        if !ids.any(|id| pattern.matches(id)) {
            if pattern.is_name() {
                let id = SessionId::from_name(pattern.as_str())?;
                return Err(existing(context, &id)
                    .err()
                    .unwrap_or_else(|| Error::failed(format!("{id} just appeared"))));
            }
            return Err(Error::new(Kind::NoSession, format!("no session matches '{}'", pattern.as_str()))
                .hint("'forge list' shows the sessions that there are"));
        }
    }
    Ok(())
}

impl ObservedSession {
    /// The word for how it is.
    pub fn state(&self) -> State {
        self.condition.state()
    }

    /// Whether a supervisor looks after it. Between the end of one and the start of the next its
    /// service is deactivating, and then activating.
    pub fn is_supervised(&self) -> bool {
        self.service.is_some_and(|service| service != Active::Failed)
    }

    /// The mark, of a session that must have one.
    ///
    /// # Errors
    /// When its spawn never came that far.
    pub fn mark(&self) -> Result<&Mark> {
        self.mark.as_ref().ok_or_else(|| {
            let yet = if self.state() == State::Starting { " yet" } else { "" };
            Error::failed(format!("{} is {}: it has no program{yet}", self.id, self.state().word()))
                .hint(format!("'forge status {}' tells more", self.id))
        })
    }

    /// The session as people and bots see it, but for what its program does; and its patterns.
    fn show(&self, context: &Context) -> (Session, Prompts) {
        // A specification that cannot be read hides the command, and not the session.
        let spec = context.store.spec(&self.id).ok().flatten();
        let mark = self.mark.as_ref();
        let pane = mark.filter(|_| self.program.is_there());
        // tmux sets the x bits while somebody is attached.
        let attached = self.socket.symlink_metadata().is_ok_and(|metadata| metadata.mode() & 0o100 != 0);
        let prompts = spec.as_ref().map(Spec::prompts).unwrap_or_default();
        let session = Session {
            session: self.id.clone(),
            state: self.state(),
            since: mark.and_then(|mark| rfc3339(mark.since_us)),
            socket: self.socket.clone(),
            server_pid: mark.filter(|_| self.server.is_there()).map(|mark| mark.server_pid),
            pane_pid: pane.map(|mark| mark.pane_pid),
            command: spec.as_ref().map(|spec| spec.command.as_slice().to_vec()).unwrap_or_default(),
            cwd: spec.map(|spec| spec.cwd),
            memory_bytes: self.cgroup.memory(),
            cpu_usec: self.cgroup.cpu_usec(),
            tasks: self.cgroup.processes().len() as u64,
            attached,
            supervised: self.is_supervised(),
            activity: Activity::Unknown,
            activity_since: None,
            activity_source: None,
            question: None,
            idle_s: pane.and_then(|mark| terminal_idle_s(&stat(mark.pane_pid)?)),
        };
        (session, prompts)
    }
}
