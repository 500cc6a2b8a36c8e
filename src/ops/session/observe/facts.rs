//! The facts about a session that forge reads without the manager: its processes, its cgroup and its
//! server's answer.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::model::process::ProcessId;
use crate::model::session::Mark;
use crate::model::session::condition::{Active, Answer, Condition, ProcessLife, SessionFacts};
use crate::sys::cgroup::Cgroup;
use crate::sys::clock::Deadline;
use crate::sys::process::life;
use crate::sys::tmux::directory::Directory;
use crate::sys::tmux::ping::{PendingPing, Ping, answers};

/// How long all servers together may take to answer. A server that does not answer in time is wedged.
pub(super) const ANSWERS: Duration = Duration::from_secs(1);

/// The condition of a running session. This does not ask the manager.
///
/// It waits up to 1 second for the session's server.
pub fn current_condition(mark: &Mark, cgroup: &Cgroup) -> Condition {
    let frozen = cgroup.is_frozen();
    let socket = (!frozen).then_some(mark.socket.as_path());
    let pings = ping_all(&[socket]);
    let facts = process_facts(Some(mark), frozen);
    let answer = collect_answers(&pings, Deadline::after(ANSWERS)).first().copied();
    Condition::of(SessionFacts { answer: answer.unwrap_or(Answer::Silent), ..facts })
}

/// The facts about a session's processes. The units count as active and the server as answering: the
/// caller replaces these facts when it knows better.
pub(super) fn process_facts(mark: Option<&Mark>, frozen: bool) -> SessionFacts {
    let life = |process: fn(&Mark) -> ProcessId| mark.map_or(ProcessLife::Gone, |mark| life(process(mark)));
    SessionFacts {
        scope: Active::Active,
        slice: Active::Active,
        frozen,
        up: mark.is_some_and(|mark| mark.up),
        spawning: false,
        server: life(Mark::server),
        program: life(Mark::program),
        answer: Answer::Answers,
    }
}

/// Connects to every socket and sends a ping, without waiting for the answers. A session without a
/// socket to ping counts as silent.
pub(super) fn ping_all(sockets: &[Option<&Path>]) -> Vec<Ping> {
    let mut directories: BTreeMap<&Path, Option<Directory>> = BTreeMap::new();
    let mut pings = Vec::new();
    for socket in sockets {
        let (Some(parent), Some(name)) = (socket.and_then(Path::parent), socket.and_then(Path::file_name))
        else {
            pings.push(Ping::Full);
            continue;
        };
        let directory = directories.entry(parent).or_insert_with(|| Directory::open(parent).ok().flatten());
        pings.push(directory.as_ref().map_or(Ping::Missing, |directory| directory.ping(name)));
    }
    pings
}

/// Waits until every server has answered or the deadline has passed.
pub(super) fn collect_answers(pings: &[Ping], deadline: Deadline) -> Vec<Answer> {
    let pending: Vec<&PendingPing> = pings
        .iter()
        .filter_map(|ping| if let Ping::Open(pending) = ping { Some(pending) } else { None })
        .collect();
    let mut answered = answers(&pending, deadline).into_iter();
    pings
        .iter()
        .map(|ping| match ping {
            Ping::Open(_) if answered.next() == Some(true) => Answer::Answers,
            Ping::Open(_) | Ping::Full | Ping::Unknown(_) => Answer::Silent,
            Ping::Refused => Answer::Refused,
            Ping::Missing => Answer::Missing,
        })
        .collect()
}
