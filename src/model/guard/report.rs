//! The report of a guarded command after its end.

use serde::Serialize;

use super::cause::Cause;
use super::pressure::Pressure;
use super::timeline::{Moment, Timeline, TimelineRow};
use super::unit_state::{Guarded, ManagerKind, UnitState};
use super::{DISTURBED, LISTENED};
use crate::model::output::Output;
use crate::model::session::End;
use crate::model::usage;

/// The result for the guarded units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// No guarded unit was disturbed.
    Undisturbed,
    /// A guarded unit was disturbed, or forge does not know whether one was.
    Disturbed,
    /// The command listened although that is denied, and forge ended it.
    Listened,
}

impl Verdict {
    pub fn word(self) -> &'static str {
        match self {
            Self::Undisturbed => "undisturbed",
            Self::Disturbed => "disturbed",
            Self::Listened => "listened",
        }
    }

    /// The exit status of the guard for a command with that end.
    pub fn exit_status(self, end: &End) -> u8 {
        match self {
            Self::Undisturbed => end.shell_status(),
            Self::Disturbed => DISTURBED,
            Self::Listened => LISTENED,
        }
    }
}

/// The way in which forge denies listening.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Denial {
    /// The kernel refuses it, and forge watches for sockets that the kernel permits.
    KernelAndWatch,
    /// forge watches for it only.
    Watch,
}

impl Denial {
    pub fn word(self) -> &'static str {
        match self {
            Self::KernelAndWatch => "kernel_and_watch",
            Self::Watch => "watch",
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Self::KernelAndWatch => "the kernel refuses it (Landlock), and forge watches for it",
            Self::Watch => "forge only watches for it: this kernel cannot refuse it (Landlock, Linux 6.7)",
        }
    }
}

/// The highest pressures, in percent; `None` if the kernel does not measure them.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Peaks {
    pub host: Option<Pressure>,
    pub units: Option<Pressure>,
    pub command: Option<Pressure>,
}

#[derive(Debug, Clone, Serialize)]
pub struct UnitReport {
    pub unit: String,
    pub manager: ManagerKind,
    pub disturbed: bool,
    /// The state at the start.
    pub before: UnitState,
    /// The state at the end of the run.
    pub after: UnitState,
    /// Lines of its journal around the disturbance.
    pub journal: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct GuardReport {
    /// The id of the guarded command.
    pub guard: String,
    /// Its program's name, without arguments.
    pub program: String,
    pub verdict: Verdict,
    /// The exit status of the guard.
    pub exit_status: u8,
    /// The command's exit status.
    pub status: Option<i32>,
    /// The signal that ended the command.
    pub signal: Option<i32>,
    /// When the command started, RFC 3339 in UTC.
    pub began: Option<String>,
    /// The command's run time.
    pub elapsed_ms: u64,
    pub units: Vec<UnitReport>,
    pub timeline: Vec<TimelineRow>,
    pub pressure: Peaks,
    /// CPU time of the command and all that it started, as far as it was seen, in microseconds.
    pub cpu_usec: Option<u64>,
    /// The most memory that they had, in bytes.
    pub memory_peak: Option<u64>,
    /// Out-of-memory kills among them; `None` if the kernel does not count them.
    pub oom_kills: Option<u64>,
    /// How often the command was frozen.
    pub frozen_times: u64,
    /// For how long altogether, in milliseconds.
    pub frozen_ms: u64,
    /// How many processes it had left, which were ended.
    pub cleared: u64,
    /// The way in which listening was denied, if it was.
    pub deny_listen: Option<Denial>,
    /// The sessions that ran when a unit was first disturbed, else at the end.
    pub sessions: Vec<String>,
    /// The likely cause of the disturbance.
    pub cause: Option<Cause>,
    /// Why the state of the units is unknown, if it is.
    pub untold: Option<String>,
}

/// The guarded units of a timeline, for a report.
pub fn units(timeline: &Timeline, journal: impl Fn(&Guarded) -> Vec<String>) -> Vec<UnitReport> {
    let unit = |known: &super::timeline::Known| UnitReport {
        unit: known.unit.unit.clone(),
        manager: known.unit.manager,
        disturbed: known.disturbed,
        before: known.first.clone(),
        after: known.last.clone(),
        journal: if known.disturbed { journal(&known.unit) } else { Vec::new() },
    };
    timeline.units().iter().map(unit).collect()
}

pub fn timeline_rows(moments: &[Moment], began_us: u64) -> Vec<TimelineRow> {
    moments.iter().map(|moment| moment.row(began_us)).collect()
}

impl GuardReport {
    /// The report for people.
    pub fn show(&self, end: &End) -> Output {
        // Without a disturbance forge ends with the signal of the command, as if there were no guard.
        let signal = self.signal.filter(|_| self.verdict == Verdict::Undisturbed && end.is_clean());
        let shown = Output { signal, ..Output::new(self).exit(self.exit_status) };
        let result = format!(
            "{} ended with {} after {}",
            self.program,
            end.words(),
            usage::cpu(self.elapsed_ms.saturating_mul(1000))
        );
        let names: Vec<&str> = self.units.iter().map(|unit| unit.unit.as_str()).collect();
        let result = match self.oom_kills {
            None | Some(0) => result,
            Some(kills) => {
                format!("{result}, and the kernel killed {kills} of its processes because memory ran out")
            }
        };
        match self.verdict {
            Verdict::Undisturbed if names.is_empty() => shown.line(format!("forge: {result}")),
            Verdict::Undisturbed => shown.line(format!("forge: {result}; undisturbed: {}", names.join(", "))),
            Verdict::Disturbed | Verdict::Listened => self.show_whole(shown, &result),
        }
    }

    fn show_whole(&self, shown: Output, result: &str) -> Output {
        let what = match (self.verdict, &self.untold) {
            (Verdict::Listened, _) => "the command listened, which is denied, and forge ended it".to_owned(),
            (_, Some(why)) => format!("it is not known whether the guarded units were disturbed: {why}"),
            _ => "guarded units were disturbed".to_owned(),
        };
        let rows = self.timeline.iter().map(|row| {
            let mark = if row.disturbs { "!" } else { "" };
            vec![format!("{}.{:03}s", row.ms / 1000, row.ms % 1000), mark.to_owned(), row.text.clone()]
        });
        let mut shown = shown
            .line(String::new())
            .line(format!("forge: {what} (exit status {}); {result}", self.exit_status))
            .line(String::new())
            .table(&["after", "", "what happened"], rows.collect());
        let before_after = self.units.iter().filter(|unit| unit.disturbed).flat_map(|unit| {
            [("before", &unit.before), ("after", &unit.after)].map(|(when, state)| {
                vec![
                    unit.unit.clone(),
                    when.to_owned(),
                    state.active_and_sub(),
                    state.process(),
                    state.restarts.to_string(),
                    state.result.clone(),
                    state.short_invocation(),
                ]
            })
        });
        let before_after: Vec<_> = before_after.collect();
        if !before_after.is_empty() {
            let head = ["unit", "when", "state", "process", "restarts", "result", "invocation"];
            shown = shown.line(String::new()).table(&head, before_after);
        }
        for unit in self.units.iter().filter(|unit| !unit.journal.is_empty()) {
            shown = shown.line(String::new()).line(format!("journal of {}:", unit.unit));
            shown = unit.journal.iter().fold(shown, |shown, line| shown.line(format!("  {line}")));
        }
        shown = shown.line(String::new());
        if let Some(cause) = &self.cause {
            shown = shown.line(format!("likely cause: {}", cause.likely));
            shown = cause.because.iter().fold(shown, |shown, reason| shown.line(format!("  {reason}")));
        }
        let pressures = [
            ("machine", self.pressure.host),
            ("units", self.pressure.units),
            ("command", self.pressure.command),
        ];
        let pressures: Vec<String> = pressures
            .into_iter()
            .filter_map(|(whose, pressure)| {
                let Pressure { cpu, memory, io } = pressure?;
                Some(format!("{whose} {cpu}/{memory}/{io} %"))
            })
            .collect();
        if !pressures.is_empty() {
            shown = shown.line(format!("highest pressure, for CPU/memory/disks: {}", pressures.join(", ")));
        }
        let mut used = Vec::new();
        used.extend(self.cpu_usec.map(|usec| format!("{} CPU", usage::cpu(usec))));
        used.extend(self.memory_peak.map(|bytes| format!("{} memory at most", usage::size(bytes))));
        if self.frozen_times > 0 {
            let long = usage::cpu(self.frozen_ms.saturating_mul(1000));
            used.push(format!("frozen {} times, {long} altogether", self.frozen_times));
        }
        if !used.is_empty() {
            shown = shown.line(format!("the command: {}", used.join(", ")));
        }
        match self.sessions.as_slice() {
            [] => shown.line("no session of forge ran"),
            sessions => shown.line(format!("sessions that ran: {}", sessions.join(", "))),
        }
    }
}
