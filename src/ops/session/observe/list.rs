//! Lists sessions and classifies each. The manager's units say which sessions exist.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::facts::{ANSWERS, collect_answers, ping_all, process_facts};
use crate::model::error::{Error, Result};
use crate::model::session::condition::{Active, Answer, Condition, ProcessLife, SessionFacts};
use crate::model::session::name::SessionId;
use crate::model::session::{Mark, State};
use crate::model::unit;
use crate::ops::{Context, heal};
use crate::sys::cgroup::Cgroup;
use crate::sys::clock::Deadline;

/// A session as forge observed it on the machine.
#[derive(Debug)]
pub struct ObservedSession {
    pub id: SessionId,
    pub condition: Condition,
    /// forge's mark on the cgroup. It names the session's processes. `None`: the spawn did not come far
    /// enough to write it.
    pub mark: Option<Mark>,
    /// The tmux server's process.
    pub server: ProcessLife,
    pub program: ProcessLife,
    /// Whether the server answered the ping.
    pub answered: bool,
    /// The cgroup of the session's slice.
    pub cgroup: Cgroup,
    /// Whether the scope exists. Without a scope, only leftover processes in the slice remain.
    pub has_scope: bool,
    /// Whether the scope exists or the slice has processes. If neither, the session consists of its
    /// supervisor's service, which is about to start the session or has given up.
    pub has_body: bool,
    /// State of the supervisor's service. `None`: no service, or an inactive one.
    pub service: Option<Active>,
    /// The session's socket, or the path at which tmux would create it.
    pub socket: PathBuf,
}

impl ObservedSession {
    pub fn state(&self) -> State {
        self.condition.state()
    }

    /// Whether the session has a supervisor. Between the end of one supervisor and the start of the next,
    /// the service is deactivating and then activating, and the session counts as supervised.
    pub fn is_supervised(&self) -> bool {
        self.service.is_some_and(|service| service != Active::Failed)
    }

    /// The mark of a session that must have one.
    ///
    /// # Errors
    /// [`Kind::Failed`](crate::model::error::Kind::Failed) if the spawn has not started the program.
    pub fn mark(&self) -> Result<&Mark> {
        self.mark.as_ref().ok_or_else(|| {
            let yet = if self.state() == State::Starting { " yet" } else { "" };
            Error::failed(format!("{} is {}: it has no program{yet}", self.id, self.state().word()))
                .hint(format!("'forge status {}' shows its state", self.id))
        })
    }
}

/// Observes every session whose id is `wanted`, sorted by id. forge asks the manager once, whatever the
/// number of sessions.
///
/// # Errors
/// [`Kind::Bus`](crate::model::error::Kind::Bus) if forge cannot reach the manager;
/// [`Kind::Deadline`](crate::model::error::Kind::Deadline) if the manager does not answer.
pub fn all(context: &Context, wanted: impl Fn(&SessionId) -> bool) -> Result<Vec<ObservedSession>> {
    observe(context, &ALL_UNITS, wanted, |_| ())
}

/// Observes one session. `None`: no such session exists.
///
/// # Errors
/// As for [`all`].
pub fn one(context: &Context, id: &SessionId) -> Result<Option<ObservedSession>> {
    let units = [unit::scope(id), unit::slice(id), unit::service(id)].map(|name| unit::pattern(&name));
    let units: Vec<&str> = units.iter().map(String::as_str).collect();
    Ok(observe(context, &units, |other| other == id, |_| ())?.pop())
}

/// Patterns for the units of all sessions.
pub(super) const ALL_UNITS: [&str; 3] = [unit::SCOPE_PATTERN, unit::SLICE_PATTERN, unit::SERVICE_PATTERN];

/// Observes the wanted sessions among the units that match `patterns`.
///
/// While forge waits for the servers' answers, it calls `meanwhile` for each session, with a condition
/// that assumes an answer.
pub(super) fn observe(
    context: &Context,
    patterns: &[&str],
    wanted: impl Fn(&SessionId) -> bool,
    mut meanwhile: impl FnMut(&ObservedSession),
) -> Result<Vec<ObservedSession>> {
    let mut units = session_units(context, patterns)?;
    units.retain(|id, _| wanted(id));
    if units.is_empty() {
        return Ok(Vec::new());
    }
    let forge_slice = Cgroup::new(&context.manager()?.control_group()?).child(unit::FORGE_SLICE);
    let candidates: Vec<Candidate> =
        units.into_iter().map(|(id, units)| Candidate::new(context, &forge_slice, id, units)).collect();
    let sockets: Vec<Option<&Path>> = candidates.iter().map(Candidate::socket_to_ping).collect();
    let pings = ping_all(&sockets);
    // Examine the processes while the servers answer. The connections come first: a server that refused
    // the connection was already dead when forge looks for its process.
    let mut examined: Vec<(usize, SessionFacts, ObservedSession)> = Vec::new();
    for (at, candidate) in candidates.into_iter().enumerate() {
        if let Some((facts, session)) = candidate.examine(context)? {
            meanwhile(&session);
            examined.push((at, facts, session));
        }
    }
    let answers = collect_answers(&pings, Deadline::after(ANSWERS));
    let judge = |(at, facts, mut session): (usize, SessionFacts, ObservedSession)| {
        let answer: Answer = answers[at];
        session.answered = answer == Answer::Answers;
        if session.has_body {
            session.condition = Condition::of(SessionFacts { answer, ..facts });
        }
        if let (State::Dead, Some(mark)) = (session.state(), &session.mark) {
            heal::reap_program(mark);
        }
        session
    };
    Ok(examined.into_iter().map(judge).collect())
}

/// States of the units of one session. `None`: the manager does not list the unit.
#[derive(Debug, Default, Clone, Copy)]
struct SessionUnits {
    scope: Option<Active>,
    slice: Option<Active>,
    service: Option<Active>,
}

/// Asks the manager for the units that match `patterns`, and groups them by session.
fn session_units(context: &Context, patterns: &[&str]) -> Result<BTreeMap<SessionId, SessionUnits>> {
    let mut units: BTreeMap<SessionId, SessionUnits> = BTreeMap::new();
    for row in &context.manager()?.units(patterns)? {
        let active = Some(match (row.job.as_str(), Active::from_word(&row.active)) {
            // A slice stays active until it has stopped. Only its job shows that it is stopping.
            ("stop", _) => Active::Deactivating,
            // During a boot the manager queues the service before it starts the service.
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
    Ok(units)
}

/// A session that has units, before forge examines its processes and its server.
struct Candidate {
    id: SessionId,
    units: SessionUnits,
    cgroup: Cgroup,
    mark: Option<Mark>,
    frozen: bool,
    socket: PathBuf,
}

impl Candidate {
    fn new(context: &Context, forge_slice: &Cgroup, id: SessionId, units: SessionUnits) -> Self {
        let cgroup = forge_slice.child(&unit::slice(&id));
        let mark = cgroup.mark();
        let socket = mark.as_ref().map_or_else(|| context.socket(&id), |mark| mark.socket.clone());
        Self { frozen: cgroup.is_frozen(), id, units, cgroup, mark, socket }
    }

    /// `None` if the session is frozen: a frozen server cannot answer, and a ping would cost the whole
    /// deadline.
    fn socket_to_ping(&self) -> Option<&Path> {
        (!self.frozen).then_some(self.socket.as_path())
    }

    /// Reads the facts that need no answer from the server. `None`: the slice is empty and no service
    /// exists, so this is not a session; the slice is about to go away, or is only loaded.
    fn examine(self, context: &Context) -> Result<Option<(SessionFacts, ObservedSession)>> {
        let Self { id, units, cgroup, mark, frozen, socket } = self;
        let scope = units.scope.unwrap_or(Active::Inactive);
        let has_scope = scope != Active::Inactive;
        let has_body = has_scope || cgroup.is_populated()?;
        let facts = process_facts(mark.as_ref(), frozen);
        let spawning = !facts.up && context.store.is_claimed(&id);
        let facts = SessionFacts { scope, slice: units.slice.unwrap_or(Active::Inactive), spawning, ..facts };
        let service = units.service.filter(|active| *active != Active::Inactive);
        let condition = match (has_body, service) {
            (true, _) => Condition::of(facts),
            (false, None) => return Ok(None),
            (false, Some(Active::Failed)) => Condition::Failed,
            (false, Some(Active::Deactivating)) => Condition::Stopping,
            (false, Some(_)) => Condition::Starting,
        };
        let SessionFacts { server, program, .. } = facts;
        let session = ObservedSession {
            id,
            condition,
            mark,
            server,
            program,
            answered: false,
            cgroup,
            has_scope,
            has_body,
            service,
            socket,
        };
        Ok(Some((facts, session)))
    }
}
