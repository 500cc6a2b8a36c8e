//! The events of the audit log: the one list of their kinds, message ids and texts.
//!
//! `packaging/forge.catalog` has an entry for each message id; a test compares the two.

use std::path::PathBuf;

use super::output::{legible, plain};
use super::session::End;
use super::sweep::stale_sockets;
use super::unit;
use super::usage::{self, Usage};
use crate::model::guard::report::{Denial, Verdict};
use crate::model::guard::timeline::Changed;
use crate::model::guard::unit_state::{Guarded, ManagerKind};
use crate::model::screen::typing::TextFate;
use crate::model::session::name::SessionId;

/// How loud an event is, as `PRIORITY=` of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// 3
    Error,
    /// 4
    Warning,
    /// 6
    Info,
}

/// One thing that happened and is worth knowing later.
#[derive(Debug, Clone)]
pub enum Event {
    /// A session was started.
    Spawned {
        /// The session.
        session: SessionId,
        /// Its program's name, without arguments.
        program: String,
        /// Its socket.
        socket: PathBuf,
        /// Its tmux server.
        server_pid: u32,
        /// Its program.
        pane_pid: u32,
        /// How often tmux was started until it stood: 1 or 2.
        attempts: u32,
        /// How many dead sockets were removed on the way.
        swept: usize,
        /// What an earlier run had left on its ports, and was ended: in words.
        freed: Option<String>,
        /// How long it took.
        elapsed_ms: u64,
    },
    /// The first attempt met a socket error, and there is one more.
    SpawnRetried {
        /// The session.
        session: SessionId,
        /// What tmux said.
        error: String,
    },
    /// A session was not started.
    SpawnFailed {
        /// The session.
        session: SessionId,
        /// The error's kind.
        kind: &'static str,
        /// Why, in one line.
        error: String,
    },
    /// The ready pattern appeared.
    Ready {
        /// The session.
        session: SessionId,
        /// How long after the program's start.
        elapsed_ms: u64,
    },
    /// A session was ended on request, and nothing of it is left.
    Stopped {
        /// The session.
        session: SessionId,
        /// How many processes it had.
        processes: u64,
        /// How many of them did not end when asked.
        killed: u64,
        /// How long it took.
        elapsed_ms: u64,
        /// What it used.
        usage: Usage,
    },
    /// A session's program ended cleanly by itself.
    Exited {
        /// The session.
        session: SessionId,
        /// How.
        end: End,
        /// What it used.
        usage: Usage,
    },
    /// A session's program ended otherwise.
    Crashed {
        /// The session.
        session: SessionId,
        /// How.
        end: End,
        /// What it used.
        usage: Usage,
    },
    /// A session runs again after it was stopped for that, or after its supervisor saw its end.
    Restarted {
        /// The session.
        session: SessionId,
        /// Why.
        why: String,
    },
    /// A session had too many failures, and is not started again any more.
    BreakerOpen {
        /// The session.
        session: SessionId,
        /// How many.
        failures: usize,
        /// Within how many seconds.
        within_s: u64,
        /// How the last one is told.
        error: String,
    },
    /// A supervisor took over a session that was running.
    Adopted {
        /// The session.
        session: SessionId,
        /// Its tmux server.
        server_pid: u32,
        /// Its program.
        pane_pid: u32,
    },
    /// A session gives no sign of life.
    Stuck {
        /// The session.
        session: SessionId,
        /// What is missing: `beat`, `output`, `cpu`, or `server`, which does not answer.
        missing: String,
        /// For how many seconds.
        silent_s: u64,
        /// Whether it is restarted for that.
        restarted: bool,
    },
    /// A stuck session's program was nudged, or would have been.
    Nudged {
        /// The session.
        session: SessionId,
        /// What the text came to, or why it was refused: without anything that is on the screen.
        outcome: Result<TextFate, String>,
    },
    /// A session's program asks its user something. The question is not in the record: it may be private,
    /// and others read the journal.
    Asking {
        /// The session.
        session: SessionId,
    },
    /// The kernel killed processes of a session for want of memory.
    Oom {
        /// The session.
        session: SessionId,
        /// How many.
        kills: u64,
        /// What the session may use, in bytes, where it has a limit of its own.
        limit: Option<u64>,
    },
    /// A dead socket was removed.
    Swept {
        /// The socket.
        socket: PathBuf,
        /// The session, where the socket was one of forge's.
        session: Option<SessionId>,
    },
    /// A sweep came to its end.
    SweepDone {
        /// Sockets looked at.
        scanned: u64,
        /// Dead sockets removed.
        removed: usize,
        /// Live servers.
        live: usize,
        /// Servers that did not answer in time.
        unresponsive: usize,
        /// How long it took.
        elapsed_ms: u64,
    },
    /// A live server's missing socket is back.
    SocketHealed {
        /// The session.
        session: SessionId,
        /// The socket.
        socket: PathBuf,
    },
    /// All processes of a session, or of a guarded command, were frozen.
    Frozen {
        /// Of what.
        subject: Subject,
        /// The pressure for which that was done, in percent, where it was for that.
        pressure: Option<u64>,
    },
    /// They run again.
    Thawed {
        /// Of what.
        subject: Subject,
    },
    /// A guarded command is about to run.
    GuardStarted {
        /// The id of the guarded command.
        guard: String,
        /// Its program's name, without arguments.
        program: String,
        /// The guarded units.
        units: Vec<Guarded>,
        /// How listening is denied to it, where it is.
        deny_listen: Option<Denial>,
    },
    /// A guarded unit was disturbed.
    GuardDisturbed {
        /// The guarded command that guards it; `None` for the watch.
        guard: Option<String>,
        /// What changed.
        changed: Box<Changed>,
        /// The sessions that ran then.
        sessions: Vec<String>,
        /// The guarded commands that ran then.
        commands: Vec<String>,
    },
    /// A command was not run.
    GuardRefused {
        /// Its program's name, without arguments.
        program: String,
        /// Why.
        error: String,
    },
    /// A command listened although that was denied, and is ended.
    GuardListen {
        /// The id of the guarded command.
        guard: String,
        /// Where.
        address: String,
        /// The process, by its name.
        process: String,
        /// Its pid.
        pid: u32,
    },
    /// A guarded command came to its end.
    GuardFinished {
        /// The id of the guarded command.
        guard: String,
        /// Its program's name, without arguments.
        program: String,
        /// How it came out.
        verdict: Verdict,
        /// How the command ended, in words.
        result: String,
        /// The exit status of the guard.
        exit_status: u8,
        /// How long it ran.
        elapsed_ms: u64,
    },
    /// A session was saved, with the id with which its program resumes.
    Saved {
        /// The session.
        session: SessionId,
        /// The id, where its program has one.
        resume_id: Option<String>,
    },
    /// A session runs again after a boot.
    Restored {
        /// The session.
        session: SessionId,
        /// The id with which its program was resumed.
        resume_id: Option<String>,
        /// Why it was started afresh although it has a `resume` command.
        fresh: Option<String>,
    },
    /// A session does not run again after a boot.
    RestoreFailed {
        /// The session.
        session: SessionId,
        /// The error's kind.
        kind: &'static str,
        /// Why.
        error: String,
    },
    /// A notice went out.
    Notified {
        /// What about: `boot`, `failure`, `disturbed`, `asking`, `test`.
        notice: &'static str,
        /// Which way: `command`, `telegram`, `webhook`.
        channel: &'static str,
        /// At which try.
        attempts: u32,
    },
    /// A notice did not go out.
    NotifyFailed {
        /// What about.
        notice: &'static str,
        /// Which way.
        channel: &'static str,
        /// After how many tries.
        attempts: u32,
        /// Why.
        error: String,
    },
}

/// What was frozen.
#[derive(Debug, Clone)]
pub enum Subject {
    /// A session.
    Session(SessionId),
    /// A guarded command, by its id.
    Guarded(String),
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Session(session) => session.fmt(f),
            Self::Guarded(id) => write!(f, "the guarded command {id}"),
        }
    }
}

/// Every kind: its word in `FORGE_EVENT=`, and its `MESSAGE_ID=`, which never changes.
pub const KINDS: [(&str, &str); 29] = [
    ("spawned", "94f2c85bc8614410809371c5fca78d1f"),
    ("spawn_retried", "20e2e7918fbd476792c71314490b3145"),
    ("spawn_failed", "5221a13094ca4110b2d157414dc82557"),
    ("ready", "f011388296d44978828f176b01f5b03a"),
    ("stopped", "bd79ef79beaa48289bc9926c746340de"),
    ("exited", "a19b1d9855354ab5b503953b23ca4d91"),
    ("crashed", "d57096b34df74b7fbfde2418aa365b3a"),
    ("restarted", "0176dc96476d4429b01d14e0d3fce03d"),
    ("swept", "06c0eab6a44c4b4fbb889ef8707a2562"),
    ("sweep_done", "be9ac521ab5547159f063b2e52dc6aa8"),
    ("socket_healed", "873e075187334eb7a867d283decf7065"),
    ("frozen", "36100b8944764ada8bedc14c4e342d69"),
    ("thawed", "05d48581e81147fc972435839c74aa9b"),
    ("saved", "ab32556b470b467db297bdd84bbd615f"),
    ("restored", "a834d4d27f7b468c88837d084ad0bc1e"),
    ("restore_failed", "260c0b50c5674850a94fedd20520907f"),
    ("notified", "7a3ed40d75f94daa9bf0e8abdb6bb41f"),
    ("notify_failed", "bca169024c4544a297bd928d2be19f2f"),
    ("breaker_open", "7e7a75ef66af42c88fee7622890bc224"),
    ("adopted", "bd0e94eef07a47b699723a9cbf65187a"),
    ("stuck", "07b44fead41646f0a6220997cf493838"),
    ("nudged", "debc4ccf757640d1b2291b0acaad80b5"),
    ("oom", "c7678fb1bad04503a35ab3671db50446"),
    ("guard_started", "366b24728e304a84ba674edad58ba338"),
    ("guard_disturbed", "ea92a6dfd4074c28a97c08203dd1dd4e"),
    ("guard_refused", "e07fa4fd16444e758cab34596d6f7503"),
    ("guard_listen", "81c30ff15a73450bb1755ccea651399d"),
    ("guard_finished", "a285088786e14025bdeec654b29f60eb"),
    ("asking", "1fb9371b84ce43f089ddaade876e7e84"),
];

impl Event {
    /// The place of the kind in [`KINDS`].
    fn index(&self) -> usize {
        match self {
            Self::Spawned { .. } => 0,
            Self::SpawnRetried { .. } => 1,
            Self::SpawnFailed { .. } => 2,
            Self::Ready { .. } => 3,
            Self::Stopped { .. } => 4,
            Self::Exited { .. } => 5,
            Self::Crashed { .. } => 6,
            Self::Restarted { .. } => 7,
            Self::Swept { .. } => 8,
            Self::SweepDone { .. } => 9,
            Self::SocketHealed { .. } => 10,
            Self::Frozen { .. } => 11,
            Self::Thawed { .. } => 12,
            Self::Saved { .. } => 13,
            Self::Restored { .. } => 14,
            Self::RestoreFailed { .. } => 15,
            Self::Notified { .. } => 16,
            Self::NotifyFailed { .. } => 17,
            Self::BreakerOpen { .. } => 18,
            Self::Adopted { .. } => 19,
            Self::Stuck { .. } => 20,
            Self::Nudged { .. } => 21,
            Self::Oom { .. } => 22,
            Self::GuardStarted { .. } => 23,
            Self::GuardDisturbed { .. } => 24,
            Self::GuardRefused { .. } => 25,
            Self::GuardListen { .. } => 26,
            Self::GuardFinished { .. } => 27,
            Self::Asking { .. } => 28,
        }
    }

    /// The word of the kind.
    pub fn word(&self) -> &'static str {
        KINDS[self.index()].0
    }

    /// The message id of the kind.
    pub fn message_id(&self) -> &'static str {
        KINDS[self.index()].1
    }

    /// How loud it is.
    pub fn level(&self) -> Level {
        match self {
            Self::SpawnFailed { .. }
            | Self::Crashed { .. }
            | Self::BreakerOpen { .. }
            | Self::Oom { .. }
            | Self::RestoreFailed { .. }
            | Self::NotifyFailed { .. }
            | Self::GuardDisturbed { .. }
            | Self::GuardListen { .. } => Level::Error,
            Self::SpawnRetried { .. }
            | Self::SocketHealed { .. }
            | Self::Stuck { .. }
            | Self::GuardRefused { .. } => Level::Warning,
            _ => Level::Info,
        }
    }

    /// The session, where there is one.
    pub fn session(&self) -> Option<&SessionId> {
        match self {
            Self::Spawned { session, .. }
            | Self::SpawnRetried { session, .. }
            | Self::SpawnFailed { session, .. }
            | Self::Ready { session, .. }
            | Self::Stopped { session, .. }
            | Self::Exited { session, .. }
            | Self::Crashed { session, .. }
            | Self::Restarted { session, .. }
            | Self::BreakerOpen { session, .. }
            | Self::Adopted { session, .. }
            | Self::Stuck { session, .. }
            | Self::Nudged { session, .. }
            | Self::Asking { session }
            | Self::Oom { session, .. }
            | Self::SocketHealed { session, .. }
            | Self::Frozen { subject: Subject::Session(session), .. }
            | Self::Thawed { subject: Subject::Session(session) }
            | Self::Saved { session, .. }
            | Self::Restored { session, .. }
            | Self::RestoreFailed { session, .. } => Some(session),
            Self::Swept { session, .. } => session.as_ref(),
            Self::SweepDone { .. }
            | Self::Notified { .. }
            | Self::NotifyFailed { .. }
            | Self::Frozen { .. }
            | Self::Thawed { .. }
            | Self::GuardStarted { .. }
            | Self::GuardDisturbed { .. }
            | Self::GuardRefused { .. }
            | Self::GuardListen { .. }
            | Self::GuardFinished { .. } => None,
        }
    }

    /// The guarded command, where there is one.
    pub fn guard(&self) -> Option<&str> {
        match self {
            Self::Frozen { subject: Subject::Guarded(guard), .. }
            | Self::Thawed { subject: Subject::Guarded(guard) }
            | Self::GuardStarted { guard, .. }
            | Self::GuardListen { guard, .. }
            | Self::GuardFinished { guard, .. } => Some(guard),
            Self::GuardDisturbed { guard, .. } => guard.as_deref(),
            _ => None,
        }
    }

    /// The unit of the user's whose records the event is shown among: a session's supervisor, whether
    /// or not there is one, a unit that was disturbed, a guarded command.
    pub fn user_unit(&self) -> Option<String> {
        match self {
            Self::GuardDisturbed { changed, .. } if changed.unit.manager == ManagerKind::User => {
                Some(changed.unit.unit.clone())
            }
            _ => self.session().map(unit::service).or_else(|| self.guard().map(unit::guard_scope)),
        }
    }

    /// The text for people, without what journalctl would not show.
    pub fn message(&self) -> String {
        plain(&self.text())
    }

    fn text(&self) -> String {
        match self {
            Self::Spawned { session, program, swept: 0, .. } => format!("spawned {session}: {program}"),
            Self::Spawned { session, program, swept, .. } => {
                format!("spawned {session} after cleaning {}: {program}", stale_sockets(*swept))
            }
            Self::SpawnRetried { session, error } => {
                format!("spawn of {session} is tried once more after: {error}")
            }
            Self::SpawnFailed { session, error, .. } => format!("spawn of {session} failed: {error}"),
            Self::Ready { session, elapsed_ms } => format!("{session} is ready after {elapsed_ms} ms"),
            Self::Stopped { session, processes, killed, usage, .. } => format!(
                "stopped {session}: {processes} processes ended, {killed} of them killed{}",
                used(usage)
            ),
            Self::Exited { session, end, usage } => {
                format!("{session} exited: {}{}", end.words(), used(usage))
            }
            Self::Crashed { session, end, usage } => {
                format!("{session} crashed: {}{}", end.words(), used(usage))
            }
            Self::Restarted { session, why } => format!("restarted {session} after {why}"),
            Self::BreakerOpen { session, failures, within_s, error } => format!(
                "{session} is not started again: {failures} failures within {}; the last: {error}",
                usage::duration(*within_s)
            ),
            Self::Adopted { session, server_pid, pane_pid } => {
                format!("adopted {session}: it runs as process {pane_pid}, in server {server_pid}")
            }
            Self::Stuck { session, missing, silent_s, restarted } => {
                let silence = usage::duration(*silent_s);
                let then = if *restarted { ", and is restarted" } else { "" };
                match missing.as_str() {
                    "server" => format!("{session} is wedged{then}: its tmux server does not answer"),
                    missing => {
                        format!("{session} is stuck{then}: no sign of life by {missing} for {silence}")
                    }
                }
            }
            Self::Nudged { session, outcome } => match outcome {
                Ok(TextFate::Submitted) => format!("nudged {session}"),
                Ok(TextFate::Typed) => format!("nudged {session}, and the text stands in its input line"),
                Ok(TextFate::Unconfirmed) => format!("nudged {session}, and nothing of it is on its screen"),
                Err(why) => format!("did not nudge {session}: {why}"),
            },
            Self::Asking { session } => format!("{session} asks its user something"),
            Self::Oom { session, kills, limit } => {
                let limit = limit.map(|limit| format!(" (its limit is {})", usage::size(limit)));
                format!(
                    "the kernel killed {kills} of {session} for want of memory{}",
                    limit.unwrap_or_default()
                )
            }
            Self::Swept { socket, .. } => format!("removed dead socket {}", legible(socket)),
            Self::SweepDone { scanned, removed, unresponsive, elapsed_ms, .. } => format!(
                "sweep done: {removed} of {scanned} sockets removed, {unresponsive} unresponsive, {elapsed_ms} ms"
            ),
            Self::SocketHealed { session, socket } => {
                format!("{session} has its socket {} again", legible(socket))
            }
            Self::Frozen { subject, pressure: None } => format!("froze {subject}"),
            Self::Frozen { subject, pressure: Some(percent) } => {
                format!("froze {subject}: the pressure on what is guarded is {percent} %")
            }
            Self::Thawed { subject } => format!("thawed {subject}"),
            Self::GuardStarted { program, units, .. } => match names(units).as_str() {
                "" => format!("guarded {program} begins"),
                units => format!("guarded {program} begins; it may not disturb {units}"),
            },
            Self::GuardDisturbed { changed, .. } => format!("{} {}", changed.unit, changed.words()),
            Self::GuardRefused { program, error } => format!("{program} was not run: {error}"),
            Self::GuardListen { address, process, pid, .. } => {
                format!("{process} (process {pid}) listens on {address}, which is denied; it is ended")
            }
            Self::GuardFinished { program, verdict, result, .. } => {
                format!("guarded {program} ended with {result}: {}", verdict.word())
            }
            Self::Saved { session, resume_id: Some(id) } => format!("saved {session}: resumes with {id}"),
            Self::Saved { session, .. } => format!("saved {session}"),
            Self::Restored { session, resume_id: Some(id), .. } => {
                format!("restored {session}, resumed with {id}")
            }
            Self::Restored { session, fresh: Some(why), .. } => {
                format!("restored {session}, started afresh: {why}")
            }
            Self::Restored { session, .. } => format!("restored {session}"),
            Self::RestoreFailed { session, error, .. } => format!("{session} was not restored: {error}"),
            Self::Notified { notice, channel, .. } => format!("notice of {notice} sent by {channel}"),
            Self::NotifyFailed { notice, channel, error, .. } => {
                format!("notice of {notice} not sent by {channel}: {error}")
            }
        }
    }
}

/// Units in a sentence.
pub fn names(units: &[Guarded]) -> String {
    units.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What was used, as a part of a sentence.
fn used(used: &Usage) -> String {
    let mut parts = Vec::new();
    if let Some(usec) = used.duration_usec {
        parts.push(format!("ran {}", usage::duration(usec / 1_000_000)));
    }
    if let Some(usec) = used.cpu_usec {
        parts.push(format!("{} CPU", usage::cpu(usec)));
    }
    if let Some(bytes) = used.memory_peak {
        parts.push(format!("{} memory at most", usage::size(bytes)));
    }
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_ids_are_one_to_one() {
        for (at, (word, id)) in KINDS.iter().enumerate() {
            assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{word}");
            assert!(KINDS[..at].iter().all(|(other, same)| other != word && same != id), "{word}");
        }
    }

    #[test]
    fn each_kind_has_its_entry_in_the_catalog() {
        let catalog = include_str!("../../../packaging/forge.catalog");
        for (word, id) in KINDS {
            assert!(catalog.contains(&format!("-- {id}\n")), "{word} is not in packaging/forge.catalog");
        }
        assert_eq!(catalog.matches("\n-- ").count() + usize::from(catalog.starts_with("-- ")), KINDS.len());
    }

    #[test]
    fn the_cleaning_is_told() {
        let session = SessionId::from_name("demo").unwrap();
        let mut event = Event::Spawned {
            session,
            program: "sleep".into(),
            socket: "/tmp/x".into(),
            server_pid: 2,
            pane_pid: 3,
            attempts: 1,
            swept: 1,
            freed: None,
            elapsed_ms: 5,
        };
        assert_eq!(event.message(), "spawned demo after cleaning 1 stale socket: sleep");
        if let Event::Spawned { swept, .. } = &mut event {
            *swept = 0;
        }
        assert_eq!((event.message().as_str(), event.word()), ("spawned demo: sleep", "spawned"));
    }
}
