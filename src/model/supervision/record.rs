//! The state that a supervisor keeps in its file: for the next supervisor, for itself after it has executed
//! forge again to watch the session (`forge supervise --watch`), and for `forge spawn`.
//!
//! Fields that end in `_boot_us` are in microseconds since the boot, those that end in `_wall_us` in
//! microseconds since 1970. The names in the file are older and stay.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::policy::Breaker;
use super::silence::{OUTPUT_STEP, Rules};
use crate::model::session::Mark;
use crate::model::session::activity::{EventLimit, KnownActivity, Question};

/// The file of one session's supervisors.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// When runs failed, or could not be started, and were to be started again.
    #[serde(default, rename = "failures")]
    pub failures_boot_us: Vec<u64>,
    /// The run whose end is not recorded yet, by the time of its start; 0 while it is being started.
    #[serde(default, rename = "running")]
    pub running_wall_us: Option<u64>,
    /// The outcome of the last start.
    #[serde(default)]
    pub started: Option<StartOutcome>,
    /// Whether `forge poke` requested the next start of the supervisor. Such a start keeps the earlier
    /// failures.
    #[serde(default)]
    pub poked: bool,
    /// Whether systemd starts the next supervisor by itself after the end of the last one. `NRestarts=`
    /// says so too, until somebody runs `systemctl reset-failed`.
    #[serde(default)]
    pub by_itself: bool,
    /// The start of the manager that ran when `by_itself` was set, in microseconds since the boot. Another
    /// manager starts nothing by itself.
    #[serde(default)]
    pub manager_boot_us: Option<u64>,
    /// The description of the last failure.
    #[serde(default)]
    pub failure: Option<String>,
    /// The running session, while the supervisor is at rest.
    #[serde(default)]
    pub watched: Option<Watched>,
}

/// The settings of one supervisor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// The configuration file that `--config` named, if any.
    pub config_file: Option<PathBuf>,
    pub rules: Rules,
    pub breaker: Breaker,
    /// How often systemd has restarted the supervisor by itself (`NRestarts=`).
    pub restarts: u32,
}

/// A running session, and what its supervisor has seen of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Watched {
    /// The session's processes.
    pub mark: Mark,
    /// The control group of the session's slice.
    pub cgroup: String,
    /// The program's name, without arguments.
    pub program: String,
    pub terms: Terms,
    /// Since when the run counts as watched.
    #[serde(rename = "since")]
    pub since_boot_us: u64,
    /// Since when the tmux server does not answer.
    #[serde(rename = "wedged")]
    pub wedged_boot_us: Option<u64>,
    /// The last sign of life.
    #[serde(rename = "sign")]
    pub sign_boot_us: u64,
    /// The last check for signs of life.
    #[serde(rename = "looked")]
    pub checked_boot_us: u64,
    /// When the terminal had last been written to, as of the last check.
    #[serde(rename = "output")]
    pub output_wall_us: Option<u64>,
    /// The CPU time that the session had used, as of the last check.
    #[serde(rename = "cpu")]
    pub cpu_usec: u64,
    /// When the machine booted, by the wall clock as it was set at the last check.
    #[serde(default, rename = "booted")]
    pub booted_wall_us: u64,
    /// Whether the present silence was reported.
    #[serde(rename = "told")]
    pub reported: bool,
    /// Whether the present silence led to a nudge. A refused nudge counts: forge does not try again before
    /// the next silence.
    pub nudged: bool,
    /// A hash of the screen at the last check, without counters and the like (`model::screen::fold`).
    #[serde(default)]
    pub screen: Option<u64>,
    /// The question on the screen.
    #[serde(default)]
    pub asked: Option<AskedQuestion>,
    /// When the last notice of a question was sent.
    #[serde(default, rename = "noticed")]
    pub notice_boot_us: Option<u64>,
    /// The report of a hook whose question was on the screen already, by its `since`.
    #[serde(default, rename = "reported")]
    pub matched_report: Option<u64>,
    /// The activity that the supervisor saw last.
    #[serde(default)]
    pub seen: Option<KnownActivity>,
    /// Limits the events about changes of the activity on the screen.
    #[serde(default)]
    pub events: EventLimit,
}

/// A question that a program asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedQuestion {
    pub question: Question,
    /// When the supervisor saw the question first.
    #[serde(rename = "since")]
    pub since_boot_us: u64,
    /// Whether a notice of the question was sent.
    #[serde(rename = "noticed")]
    pub notified: bool,
}

/// The shortest time between two notices of questions of one session.
pub const NOTICE_EVERY: Duration = Duration::from_secs(60);

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Watched {
    /// Replaces the question; returns whether another question than before is asked now. An answer is a
    /// sign of life, because a session that asks is not silent.
    pub fn replace_question(&mut self, question: Option<Question>, now_boot_us: u64) -> bool {
        match (question, &mut self.asked) {
            (None, None) => false,
            (None, Some(_)) => {
                (self.asked, self.sign_boot_us) = (None, self.sign_boot_us.max(now_boot_us));
                false
            }
            (Some(question), Some(asked)) if asked.question.is_same(&question) => {
                asked.question = question;
                false
            }
            (Some(question), _) => {
                self.asked = Some(AskedQuestion { question, since_boot_us: now_boot_us, notified: false });
                true
            }
        }
    }

    /// Marks the question as the one that a hook reported at `since`: its notice is on its way.
    pub fn match_report(&mut self, since: u64) {
        self.matched_report = Some(since);
        if let Some(asked) = &mut self.asked {
            (asked.since_boot_us, asked.notified) = (since, true);
        }
    }

    /// Replaces the activity; returns whether another one, or another source, counts now.
    pub fn see(&mut self, known: KnownActivity, now_boot_us: u64) -> bool {
        let before = self.seen.unwrap_or_default();
        if (before.activity, before.source) == (known.activity, known.source) {
            return false;
        }
        self.seen = Some(KnownActivity { since: known.since.or(Some(now_boot_us)), ..known });
        true
    }

    /// The earliest time for a notice of the question; `None` if there is no question, or a notice of it
    /// was sent.
    pub fn notice_due_boot_us(&self) -> Option<u64> {
        self.asked.filter(|asked| !asked.notified)?;
        Some(self.notice_boot_us.map_or(0, |at| at.saturating_add(micros(NOTICE_EVERY))))
    }

    /// Marks the question as one that a notice was sent of.
    pub fn mark_notified(&mut self, now_boot_us: u64) {
        if let Some(asked) = &mut self.asked {
            asked.notified = true;
            self.notice_boot_us = Some(now_boot_us);
        }
    }

    /// Whether the program may have written to its terminal since the last check, if the terminal was last
    /// written to at `output_wall_us`. The kernel keeps that time in steps, so output that came soon after
    /// it may have left no trace.
    pub fn may_have_printed(&self, output_wall_us: Option<u64>) -> bool {
        let checked_wall_us = self.booted_wall_us.saturating_add(self.checked_boot_us);
        output_wall_us != self.output_wall_us
            || output_wall_us.is_some_and(|at| checked_wall_us.saturating_sub(at) < micros(OUTPUT_STEP))
    }

    /// The time of output that was not there at the last check. The terminal keeps that time by the wall
    /// clock: if somebody has set the clock since, the time is unknown and the output may be new.
    pub fn output_boot_us(&self, output_wall_us: Option<u64>, now_boot_us: u64, booted_wall_us: u64) -> u64 {
        if Duration::from_micros(booted_wall_us.abs_diff(self.booted_wall_us)) >= OUTPUT_STEP {
            return now_boot_us;
        }
        let age = output_wall_us.map_or(0, |at| (booted_wall_us + now_boot_us).saturating_sub(at));
        now_boot_us.saturating_sub(age).clamp(self.checked_boot_us.min(now_boot_us), now_boot_us)
    }

    /// The same run with other settings. If the rules differ, the silence starts again: what was no silence
    /// under the old rules is not held against the session.
    #[must_use]
    pub fn with_terms(&self, terms: &Terms, now_boot_us: u64) -> Self {
        let same = Self { terms: terms.clone(), ..self.clone() };
        if terms.rules == self.terms.rules {
            same
        } else {
            Self { sign_boot_us: now_boot_us, reported: false, nudged: false, ..same }
        }
    }
}

/// The outcome of a start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartOutcome {
    /// The session is up; the value is what `forge spawn` prints.
    Up(serde_json::Value),
    Failed {
        /// The word of the error's kind.
        kind: String,
        /// The error, with the screen's text.
        message: String,
        hint: Option<String>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn setting_the_clock_does_not_look_like_silence() {
        let at = |seconds: u64| seconds * 1_000_000;
        let watched: Watched = serde_json::from_value(serde_json::json!({
            "mark": { "server_pid": 1, "server_start": 1, "pane": "%0", "pane_pid": 2, "pane_start": 1,
                      "socket": "/s", "since_us": 0, "up": true },
            "cgroup": "/", "program": "p", "since": 0, "wedged": null, "sign": at(100), "looked": at(100),
            "output": null, "cpu": 0, "booted": at(5000), "told": false, "nudged": false,
            "terms": { "config_file": null, "restarts": 0, "breaker": Breaker { burst: 5, interval: s(600) },
                       "rules": { "restart": "on-failure", "stuck_after": null, "signs": [],
                                  "nudge_text": null, "stuck_restart_after": null } },
        }))
        .unwrap();
        let time = |output, booted| watched.output_boot_us(Some(at(output)), at(160), at(booted));
        assert_eq!(time(5140, 5000), at(140));
        assert_eq!(time(5140, 5001), at(139), "a clock that is steered");
        assert_eq!(time(5000, 5000), at(100), "not before the last check");
        assert_eq!(time(5140, 5000 + 86_400), at(160), "a day ahead");
        assert_eq!(time(5140 + 86_400, 5000), at(160), "from the future");
        assert_eq!(time(5140, 0), at(160), "back");
    }
}
