//! The table of events. A message id never changes.

use std::path::PathBuf;

use super::table::events;
use super::{About, Subject, TARGET, names, used};
use crate::model::guard::report::{Denial, Verdict};
use crate::model::guard::timeline::Changed;
use crate::model::guard::unit_state::Guarded;
use crate::model::notice::NoticeKind;
use crate::model::output::legible;
use crate::model::screen::typing::TextFate;
use crate::model::session::End;
use crate::model::session::activity::{Activity, Source};
use crate::model::session::name::SessionId;
use crate::model::session::resume::resumed_words;
use crate::model::sweep::stale_sockets;
use crate::model::unit;
use crate::model::usage::{self, Usage};

events! {
    /// A session was started. `program` is its name without arguments, which may hold secrets; `attempts` is
    /// 1 or 2; `swept` counts the dead sockets that forge removed first; `freed` describes the processes
    /// that an earlier run had left on the session's ports, and that forge ended. `resume_id` is the id that
    /// the program was resumed with; `fresh` says why forge ran `command` although the session has a `resume`
    /// command.
    Spawned {
        session: SessionId,
        program: String,
        socket: PathBuf,
        server_pid: u32,
        pane_pid: u32,
        attempts: u32,
        swept: usize,
        freed: Option<String>,
        resume_id: Option<String>,
        fresh: Option<String>,
        elapsed_ms: u64,
    } => {
        word: "spawned",
        id: "94f2c85bc8614410809371c5fca78d1f",
        level: INFO,
        about: session,
        text: {
            let cleaned = match swept {
                0 => String::new(),
                swept => format!(" after cleaning {}", stale_sockets(*swept)),
            };
            let resumed = resumed_words(resume_id.as_deref(), fresh.as_deref());
            format!("spawned {session}{cleaned}: {program}{resumed}")
        },
        fields: {
            forge_program: program.as_str(),
            forge_socket: socket.to_string_lossy().as_ref(),
            forge_slice: unit::slice(session).as_str(),
            forge_scope: unit::scope(session).as_str(),
            forge_server_pid: *server_pid,
            forge_pane_pid: *pane_pid,
            forge_attempts: *attempts,
            forge_swept: *swept,
            forge_freed: freed.as_deref(),
            forge_resume_id: resume_id.as_deref(),
            forge_fresh: fresh.as_deref(),
            forge_elapsed_ms: *elapsed_ms,
        },
    }

    /// The first attempt to start a session met an error of the tmux socket; forge tries once more.
    SpawnRetried { session: SessionId, error: String } => {
        word: "spawn_retried",
        id: "20e2e7918fbd476792c71314490b3145",
        level: WARN,
        about: session,
        text: format!("spawning {session} a second time after: {error}"),
        fields: { forge_error: error.as_str() },
    }

    /// A session was not started. `kind` is the word of the error's kind.
    SpawnFailed { session: SessionId, kind: &'static str, error: String } => {
        word: "spawn_failed",
        id: "5221a13094ca4110b2d157414dc82557",
        level: ERROR,
        about: session,
        text: format!("spawn of {session} failed: {error}"),
        fields: { forge_kind: *kind, forge_error: error.as_str() },
    }

    /// The ready pattern appeared, that long after the program's start.
    Ready { session: SessionId, elapsed_ms: u64 } => {
        word: "ready",
        id: "f011388296d44978828f176b01f5b03a",
        level: INFO,
        about: session,
        text: format!("{session} is ready after {elapsed_ms} ms"),
        fields: { forge_elapsed_ms: *elapsed_ms },
    }

    /// A session was stopped on request, and none of its processes is left. `killed` counts the processes
    /// that did not end on SIGTERM.
    Stopped { session: SessionId, processes: u64, killed: u64, elapsed_ms: u64, usage: Usage } => {
        word: "stopped",
        id: "bd79ef79beaa48289bc9926c746340de",
        level: INFO,
        about: session,
        text: format!("stopped {session}: {processes} processes ended, {killed} of them killed{}", used(usage)),
        fields: {
            forge_processes: *processes,
            forge_killed: *killed,
            forge_elapsed_ms: *elapsed_ms,
            forge_cpu_usec: usage.cpu_usec,
            forge_memory_peak: usage.memory_peak,
            forge_duration_usec: usage.duration_usec,
        },
    }

    /// A session's program ended cleanly by itself.
    Exited { session: SessionId, end: End, usage: Usage } => {
        word: "exited",
        id: "a19b1d9855354ab5b503953b23ca4d91",
        level: INFO,
        about: session,
        text: format!("{session} exited: {}{}", end.words(), used(usage)),
        fields: {
            forge_result: end.words().as_str(),
            forge_exit_status: end.status,
            forge_signal: end.signal,
            forge_cpu_usec: usage.cpu_usec,
            forge_memory_peak: usage.memory_peak,
            forge_duration_usec: usage.duration_usec,
        },
    }

    /// A session's program ended, and not cleanly.
    Crashed { session: SessionId, end: End, usage: Usage } => {
        word: "crashed",
        id: "d57096b34df74b7fbfde2418aa365b3a",
        level: ERROR,
        about: session,
        text: format!("{session} crashed: {}{}", end.words(), used(usage)),
        fields: {
            forge_result: end.words().as_str(),
            forge_exit_status: end.status,
            forge_signal: end.signal,
            forge_cpu_usec: usage.cpu_usec,
            forge_memory_peak: usage.memory_peak,
            forge_duration_usec: usage.duration_usec,
        },
    }

    /// A session runs again: somebody asked for a restart, or its supervisor restarted it after its end.
    /// `resume_id` and `fresh` are as in `spawned`.
    Restarted { session: SessionId, why: String, resume_id: Option<String>, fresh: Option<String> } => {
        word: "restarted",
        id: "0176dc96476d4429b01d14e0d3fce03d",
        level: INFO,
        about: session,
        text: format!(
            "restarted {session} after {why}{}",
            resumed_words(resume_id.as_deref(), fresh.as_deref())
        ),
        fields: {
            forge_why: why.as_str(),
            forge_resume_id: resume_id.as_deref(),
            forge_fresh: fresh.as_deref(),
        },
    }

    /// A dead socket was removed; `session` names the session that it belonged to, if any.
    Swept { socket: PathBuf, session: Option<SessionId> } => {
        word: "swept",
        id: "06c0eab6a44c4b4fbb889ef8707a2562",
        level: INFO,
        about: session,
        text: format!("removed dead socket {}", legible(socket)),
        fields: { forge_socket: socket.to_string_lossy().as_ref() },
    }

    /// A sweep finished. `unresponsive` counts the servers that did not answer in time.
    SweepDone { scanned: u64, removed: usize, live: usize, unresponsive: usize, elapsed_ms: u64 } => {
        word: "sweep_done",
        id: "be9ac521ab5547159f063b2e52dc6aa8",
        level: INFO,
        about: (),
        text: format!(
            "sweep done: {removed} of {scanned} sockets removed, {unresponsive} unresponsive, {elapsed_ms} ms"
        ),
        fields: {
            forge_scanned: *scanned,
            forge_removed: *removed,
            forge_live: *live,
            forge_unresponsive: *unresponsive,
            forge_elapsed_ms: *elapsed_ms,
        },
    }

    /// The missing socket of a live server exists again.
    SocketHealed { session: SessionId, socket: PathBuf } => {
        word: "socket_healed",
        id: "873e075187334eb7a867d283decf7065",
        level: WARN,
        about: session,
        text: format!("{session} has its socket {} again", legible(socket)),
        fields: { forge_socket: socket.to_string_lossy().as_ref() },
    }

    /// All processes of a session or of a guarded command were frozen. `pressure` is the pressure, in
    /// percent, that forge froze them for; `None` if somebody asked for it.
    Frozen { subject: Subject, pressure: Option<u64> } => {
        word: "frozen",
        id: "36100b8944764ada8bedc14c4e342d69",
        level: INFO,
        about: subject,
        text: match pressure {
            None => format!("froze {subject}"),
            Some(percent) => format!("froze {subject}: the pressure on the guarded units is {percent} %"),
        },
        fields: { forge_pressure: *pressure },
    }

    /// The processes run again.
    Thawed { subject: Subject } => {
        word: "thawed",
        id: "05d48581e81147fc972435839c74aa9b",
        level: INFO,
        about: subject,
        text: format!("thawed {subject}"),
        fields: {},
    }

    /// A session was saved, with the id that its program resumes with, if it has one.
    Saved { session: SessionId, resume_id: Option<String> } => {
        word: "saved",
        id: "ab32556b470b467db297bdd84bbd615f",
        level: INFO,
        about: session,
        text: match resume_id {
            Some(id) => format!("saved {session}: resumes with {id}"),
            None => format!("saved {session}"),
        },
        fields: { forge_resume_id: resume_id.as_deref() },
    }

    /// A session runs again after a boot. `resume_id` is the id that its program was resumed with; `fresh`
    /// says why forge ran `command` although the session has a `resume` command.
    Restored { session: SessionId, resume_id: Option<String>, fresh: Option<String> } => {
        word: "restored",
        id: "a834d4d27f7b468c88837d084ad0bc1e",
        level: INFO,
        about: session,
        text: format!("restored {session}{}", resumed_words(resume_id.as_deref(), fresh.as_deref())),
        fields: { forge_resume_id: resume_id.as_deref(), forge_fresh: fresh.as_deref() },
    }

    /// A session could not be started again after a boot. `kind` is the word of the error's kind.
    RestoreFailed { session: SessionId, kind: &'static str, error: String } => {
        word: "restore_failed",
        id: "260c0b50c5674850a94fedd20520907f",
        level: ERROR,
        about: session,
        text: format!("{session} was not restored: {error}"),
        fields: { forge_kind: *kind, forge_error: error.as_str() },
    }

    /// A notice was sent. `channel` is `command`, `telegram` or `webhook`; `attempts` counts the tries.
    Notified { notice: NoticeKind, channel: &'static str, attempts: u32 } => {
        word: "notified",
        id: "7a3ed40d75f94daa9bf0e8abdb6bb41f",
        level: INFO,
        about: (),
        text: format!("notice of {} sent by {channel}", notice.word()),
        fields: { forge_notice: notice.word(), forge_channel: *channel, forge_attempts: *attempts },
    }

    /// A notice was not sent.
    NotifyFailed { notice: NoticeKind, channel: &'static str, attempts: u32, error: String } => {
        word: "notify_failed",
        id: "bca169024c4544a297bd928d2be19f2f",
        level: ERROR,
        about: (),
        text: format!("notice of {} not sent by {channel}: {error}", notice.word()),
        fields: {
            forge_notice: notice.word(),
            forge_channel: *channel,
            forge_attempts: *attempts,
            forge_error: error.as_str(),
        },
    }

    /// A session failed too often within `within_s` seconds; its supervisor does not restart it again.
    /// `error` describes the last failure.
    BreakerOpen { session: SessionId, failures: usize, within_s: u64, error: String } => {
        word: "breaker_open",
        id: "7e7a75ef66af42c88fee7622890bc224",
        level: ERROR,
        about: session,
        text: format!(
            "{session} is not started again: {failures} failures within {}; the last: {error}",
            usage::duration(*within_s)
        ),
        fields: { forge_failures: *failures, forge_within_s: *within_s, forge_error: error.as_str() },
    }

    /// A supervisor took over a session that was running.
    Adopted { session: SessionId, server_pid: u32, pane_pid: u32 } => {
        word: "adopted",
        id: "bd0e94eef07a47b699723a9cbf65187a",
        level: INFO,
        about: session,
        text: format!("adopted {session}: program {pane_pid}, tmux server {server_pid}"),
        fields: { forge_server_pid: *server_pid, forge_pane_pid: *pane_pid },
    }

    /// A session gives no sign of life. `missing` lists the signs that count (`beat`, `output`, `cpu`), or
    /// is `server` for a tmux server that does not answer.
    Stuck { session: SessionId, missing: String, silent_s: u64, restarted: bool } => {
        word: "stuck",
        id: "07b44fead41646f0a6220997cf493838",
        level: WARN,
        about: session,
        text: {
            let silence = usage::duration(*silent_s);
            let then = if *restarted { " and will be restarted" } else { "" };
            match missing.as_str() {
                "server" => format!("{session} is wedged{then}: its tmux server does not answer"),
                missing => format!("{session} is stuck{then}: no sign of life ({missing}) for {silence}"),
            }
        },
        fields: { forge_missing: missing.as_str(), forge_silent_s: *silent_s, forge_restarted: *restarted },
    }

    /// forge typed `nudge_text` into a stuck session's program, or refused to. The outcome has nothing that
    /// is on the screen.
    Nudged { session: SessionId, outcome: Result<TextFate, String> } => {
        word: "nudged",
        id: "debc4ccf757640d1b2291b0acaad80b5",
        level: INFO,
        about: session,
        text: match outcome {
            Ok(TextFate::Submitted) => format!("nudged {session}"),
            Ok(TextFate::Typed) => format!("nudged {session}: the text is still in the input line"),
            Ok(TextFate::Unconfirmed) => format!("nudged {session}: the text is not on its screen"),
            Err(why) => format!("did not nudge {session}: {why}"),
        },
        fields: {
            forge_arrived: matches!(outcome, Ok(TextFate::Submitted | TextFate::Typed)),
            forge_result: outcome.as_ref().map_or("refused", |fate| fate.word()),
            forge_error: outcome.as_ref().err().map(String::as_str),
        },
    }

    /// The kernel killed processes of a session because memory ran out. `limit` is the session's own
    /// limit in bytes, if it has one.
    Oom { session: SessionId, kills: u64, limit: Option<u64> } => {
        word: "oom",
        id: "c7678fb1bad04503a35ab3671db50446",
        level: ERROR,
        about: session,
        text: {
            let limit = limit.map(|limit| format!(" (its limit is {})", usage::size(limit)));
            let limit = limit.unwrap_or_default();
            let processes = if *kills == 1 { "process" } else { "processes" };
            format!("out of memory: the kernel killed {kills} {processes} of {session}{limit}")
        },
        fields: { forge_kills: *kills, forge_memory_max: *limit },
    }

    /// A guarded command is about to run. `guard` is its id.
    GuardStarted { guard: String, program: String, units: Vec<Guarded>, deny_listen: Option<Denial> } => {
        word: "guard_started",
        id: "366b24728e304a84ba674edad58ba338",
        level: INFO,
        about: guard,
        text: match names(units).as_str() {
            "" => format!("guarded {program} starts"),
            units => format!("guarded {program} starts; it must not disturb {units}"),
        },
        fields: {
            forge_program: program.as_str(),
            forge_units: names(units).as_str(),
            forge_deny_listen: deny_listen.map(Denial::word),
        },
    }

    /// A guarded unit was disturbed. `guard` is the guarded command that noticed it, or `None` for
    /// `forge guard watch`; `sessions` and `commands` ran at that time.
    GuardDisturbed {
        guard: Option<String>,
        changed: Box<Changed>,
        sessions: Vec<String>,
        commands: Vec<String>,
    } => {
        word: "guard_disturbed",
        id: "ea92a6dfd4074c28a97c08203dd1dd4e",
        level: ERROR,
        about: guard,
        text: format!("{} {}", changed.unit, changed.words()),
        fields: {
            forge_unit: changed.unit.unit.as_str(),
            forge_manager: changed.unit.manager.word(),
            forge_change: changed.change.word(),
            forge_result: changed.after.result.as_str(),
            forge_pid_before: changed.before.main_pid,
            forge_pid_after: changed.after.main_pid,
            forge_invocation_before: changed.before.invocation.as_str(),
            forge_invocation_after: changed.after.invocation.as_str(),
            forge_sessions: sessions.join(" ").as_str(),
            forge_commands: commands.join(" ").as_str(),
        },
    }

    /// forge refused to run a guarded command.
    GuardRefused { program: String, error: String } => {
        word: "guard_refused",
        id: "e07fa4fd16444e758cab34596d6f7503",
        level: WARN,
        about: (),
        text: format!("{program} was not run: {error}"),
        fields: { forge_program: program.as_str(), forge_error: error.as_str() },
    }

    /// A guarded command listened although `--deny-listen` forbids it; forge ends the command.
    GuardListen { guard: String, address: String, process: String, pid: u32 } => {
        word: "guard_listen",
        id: "81c30ff15a73450bb1755ccea651399d",
        level: ERROR,
        about: guard,
        text: format!("{process} (process {pid}) listens on {address}, which is denied; forge ends the command"),
        fields: { forge_address: address.as_str(), forge_process: process.as_str(), forge_pid: *pid },
    }

    /// A guarded command ended. `result` describes its end; `exit_status` is the guard's.
    GuardFinished {
        guard: String,
        program: String,
        verdict: Verdict,
        result: String,
        exit_status: u8,
        elapsed_ms: u64,
    } => {
        word: "guard_finished",
        id: "a285088786e14025bdeec654b29f60eb",
        level: INFO,
        about: guard,
        text: format!("guarded {program} ended with {result}: {}", verdict.word()),
        fields: {
            forge_program: program.as_str(),
            forge_verdict: verdict.word(),
            forge_result: result.as_str(),
            forge_exit_status: *exit_status,
            forge_elapsed_ms: *elapsed_ms,
        },
    }

    /// A session's program asks its user something. The record does not contain the question: it may be
    /// private, and others read the journal.
    Asking { session: SessionId } => {
        word: "asking",
        id: "1fb9371b84ce43f089ddaade876e7e84",
        level: INFO,
        about: session,
        text: format!("{session} asks its user something"),
        fields: {},
    }

    /// The activity of a session's program changed: a hook reported it, or the supervisor saw it on the screen. forge
    /// records at most 10 such changes a minute for a session from each source.
    Activity { session: SessionId, activity: Activity, source: Source } => {
        word: "activity",
        id: "1ed357b4610c4547a6be6cb80f637aab",
        level: INFO,
        about: session,
        text: match activity {
            Activity::Unknown => format!("{session}: its {} does not show what it does", source.word()),
            activity => format!("{session} is {} ({})", activity.word(), source.word()),
        },
        fields: { forge_activity: activity.word(), forge_source: source.word() },
    }

    /// A session's program finished its work: `forge report done`.
    Done { session: SessionId } => {
        word: "done",
        id: "ad454ee9c66b44ac83e6204a58507290",
        level: INFO,
        about: session,
        text: format!("{session} is done"),
        fields: {},
    }
}
