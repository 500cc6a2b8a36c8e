//! The report on a guarded command that has ended.

use std::time::Duration;

use super::Running;
use crate::model::event::Event;
use crate::model::guard::report::{GuardReport, Verdict, timeline_rows, units};
use crate::model::guard::timeline::Happening;
use crate::model::guard::unit_state::Guarded;
use crate::model::session::End;
use crate::model::time::rfc3339;
use crate::ops::guard::freezing::Freezing;
use crate::ops::guard::surroundings;
use crate::sys::clock::micros;
use crate::sys::{journal, process};

/// The report shows a unit's journal from this time before its first disturbance ...
const BEFORE: Duration = Duration::from_secs(2);

/// ... to this time after its last.
const AFTER: Duration = Duration::from_secs(5);

impl Running<'_> {
    /// The lines of a unit's journal around its disturbances; empty where the unit was not disturbed.
    fn journal_of(&self, unit: &Guarded) -> Vec<String> {
        let is_its = |what: &Happening| matches!(what, Happening::Changed(changed) if changed.unit == *unit);
        let moments: Vec<u64> = self
            .timeline
            .moments()
            .iter()
            .filter(|moment| moment.what.disturbs() && is_its(&moment.what))
            .map(|moment| self.began_at_us + moment.at_us.saturating_sub(self.began_us))
            .collect();
        let (Some(first), Some(last)) = (moments.first(), moments.last()) else { return Vec::new() };
        let (before, after) = (micros(BEFORE), micros(AFTER));
        journal::around(unit, first.saturating_sub(before), last.saturating_add(after))
    }

    /// Records the end of the command in the journal, and returns the report. `cleared` is the number of
    /// processes that the command left behind and forge ended.
    pub(super) fn report(mut self, end: &End, elapsed_ms: u64, cleared: u64) -> GuardReport {
        let verdict = match (self.listened, self.timeline.is_disturbed()) {
            (_, true) => Verdict::Disturbed,
            (true, false) => Verdict::Listened,
            (false, false) => Verdict::Undisturbed,
        };
        let (program, exit_status) = (self.request.program(), verdict.exit_status(end));
        // The kernel counts the children that this process waited for even where it does not count the group.
        let cpu_usec = self.meter.cpu_usec.max(process::children_cpu_usec());
        journal::record(&Event::GuardFinished {
            guard: self.placement.id.clone(),
            program: program.clone(),
            verdict,
            result: end.words(),
            exit_status,
            elapsed_ms,
        });
        let (cause, sessions) = match self.first.take() {
            Some((cause, surroundings)) => (Some(cause), surroundings.sessions),
            None => (None, surroundings::surroundings(&self.placement.manager_group).sessions),
        };
        GuardReport {
            guard: self.placement.id.clone(),
            program,
            verdict,
            exit_status,
            status: end.status,
            signal: end.signal,
            began: rfc3339(self.began_at_us),
            elapsed_ms,
            units: units(&self.timeline, |unit| self.journal_of(unit)),
            timeline: timeline_rows(self.timeline.moments(), self.began_us),
            pressure: self.meter.peaks,
            cpu_usec,
            memory_peak: self.meter.memory_peak,
            oom_kills: self.meter.oom_kills,
            frozen_times: self.freezing.as_ref().map_or(0, Freezing::times),
            frozen_ms: self.freezing.as_ref().map_or(0, Freezing::total_ms),
            cleared,
            deny_listen: self.denial,
            sessions,
            cause,
            untold: self.timeline.unknown().map(|error| error.message.clone()),
        }
    }
}
