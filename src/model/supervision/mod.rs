//! Supervision: what a supervisor goes by, and what it decides.
//!
//! systemd restarts the supervisor, with its delays and its rate limit; the supervisor says by its
//! exit status whether it is to be.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::session::Mark;
use crate::model::session::activity::Question;

/// When a session is started again after its program ended; the words are those of `Restart=`
/// (systemd.service(5)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Never.
    Never,
    /// After an end that systemd would not call clean.
    #[default]
    OnFailure,
    /// After every end.
    Always,
}

/// What counts as a sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sign {
    /// `forge beat`.
    Beat,
    /// What the program prints.
    Output,
    /// CPU time that it uses.
    Cpu,
}

impl Sign {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Beat => "beat",
            Self::Output => "output",
            Self::Cpu => "cpu",
        }
    }
}

/// How a session is supervised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// When it is started again.
    pub restart: Restart,
    /// How long without a sign of life is called stuck; `None`: no silence is too long.
    pub stuck_after: Option<Duration>,
    /// Which signs count; the newest of them.
    pub signs: Vec<Sign>,
    /// What is typed into a stuck program, once.
    pub nudge_text: Option<String>,
    /// How long without a sign of life it takes for a restart; `None`: none is ever restarted for
    /// that.
    pub stuck_restart_after: Option<Duration>,
}

/// How long a server may leave its clients waiting where `stuck_restart_after` does not say.
const PATIENCE: Duration = Duration::from_secs(600);

/// Less than this is not measured well: the kernel keeps the time of a terminal's last output in
/// steps of 8 seconds.
pub const OUTPUT_STEP: Duration = Duration::from_secs(8);

impl Rules {
    /// How long a server may leave its clients waiting; `None`: for ever.
    pub fn patience(&self) -> Option<Duration> {
        (self.restart != Restart::Never).then(|| self.stuck_restart_after.unwrap_or(PATIENCE))
    }

    /// After how much silence the session is ended and started again. One that is not to be started
    /// again is not ended either.
    fn restart_after(&self) -> Option<Duration> {
        self.stuck_restart_after.filter(|_| self.restart != Restart::Never)
    }

    /// Whether that sign counts.
    pub fn counts(&self, sign: Sign) -> bool {
        self.stuck_after.is_some() && self.signs.contains(&sign)
    }

    /// What is to be done after so much silence.
    pub fn after_silence(&self, silence: Duration, told: bool, nudged: bool) -> Silence {
        let Some(stuck_after) = self.stuck_after else { return Silence::Never };
        if self.restart_after().is_some_and(|after| silence >= after) {
            Silence::Restart
        } else if silence < stuck_after {
            Silence::Until(stuck_after)
        } else if !told {
            Silence::Tell
        } else if !nudged && self.nudge_text.is_some() {
            Silence::Nudge
        } else {
            self.restart_after().map_or(Silence::Never, Silence::Until)
        }
    }
}

/// What a silence leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// Nothing before it is that long.
    Until(Duration),
    /// Nothing any more.
    Never,
    /// It is told.
    Tell,
    /// The program is nudged.
    Nudge,
    /// The session is restarted.
    Restart,
}

/// systemd's settings for how often a unit may start, as a window that slides: so many failures
/// within so much time, wherever it begins. (systemd's own begins anew after its end, and counts
/// what a person starts too.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breaker {
    /// `StartLimitBurst=`
    pub burst: u32,
    /// `StartLimitIntervalSec=`
    pub interval: Duration,
}

impl Breaker {
    /// Whether a failure at that time still counts; the times are in microseconds since the boot.
    pub fn counts(self, failure: u64, now_us: u64) -> bool {
        Duration::from_micros(now_us.saturating_sub(failure)) < self.interval
    }

    /// Whether that many failures are too many. As for systemd, 0 of either setting turns it off.
    pub fn is_open(self, failures: &[u64], now_us: u64) -> bool {
        let recent = failures.iter().filter(|failure| self.counts(**failure, now_us)).count();
        self.burst > 0 && !self.interval.is_zero() && recent >= self.burst as usize
    }
}

/// How long the pause before a restart is: `RestartSec=` of the unit, growing to `longest` in so many
/// steps. From version 254 on systemd could do that (`RestartMaxDelaySec=`, `RestartSteps=`); one unit
/// for all versions is worth more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delays {
    /// The first.
    pub first: Duration,
    /// After how many it has grown to the longest.
    pub steps: u32,
    /// The longest.
    pub longest: Duration,
}

/// What `units/user/forge-spawn@.service` begins with, and what comes of it.
pub const DELAYS: Delays =
    Delays { first: Duration::from_secs(1), steps: 5, longest: Duration::from_secs(60) };

impl Delays {
    /// The pause before the `n`th restart in a row, by systemd's own formula
    /// (`service_restart_usec_next` of its sources).
    pub fn before(self, n: u32) -> Duration {
        if n <= 1 {
            self.first
        } else if self.first.is_zero() || self.first >= self.longest {
            // It cannot grow.
            self.first
        } else if n > self.steps {
            self.longest
        } else {
            let growth = self.longest.as_secs_f64() / self.first.as_secs_f64();
            self.first.mul_f64(growth.powf(f64::from(n - 1) / f64::from(self.steps)))
        }
    }
}

/// What comes after the end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it is done.
    Over,
    /// Nothing: it failed, and is not to be started again.
    Failed,
    /// It is started again.
    Again,
}

impl Restart {
    /// What comes after an end.
    pub fn after(self, clean: bool) -> Next {
        match (self, clean) {
            (Self::Always, _) | (Self::OnFailure, false) => Next::Again,
            (_, true) => Next::Over,
            (Self::Never, false) => Next::Failed,
        }
    }
}

/// The exit statuses of a supervisor, which the settings of `forge-spawn@.service` go by. Any other
/// is a failure that the manager restarts it after.
pub mod status {
    /// Its session is over.
    pub const OVER: u8 = 0;
    /// It is to be started again although its session ended cleanly (`EX_TEMPFAIL` of
    /// sysexits.h(3)).
    pub const AGAIN: u8 = 75;
    /// Its session is to be started again after a failure.
    pub const FAILED: u8 = 1;
    /// Its session is not to be started again.
    pub const FOR_GOOD: u8 = 5;
    /// The configuration cannot be used.
    const CONFIG: u8 = 2;

    /// Whether the manager starts another supervisor after one that ended with that status; `None`: by a
    /// signal, or not as it was told to.
    pub fn is_followed(status: Option<u8>) -> bool {
        !matches!(status, Some(OVER | FOR_GOOD | CONFIG))
    }
}

/// What a supervisor leaves for the next one, and for whoever asked for the session.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// When runs ended, or did not begin, and were to be started again; in microseconds since the
    /// boot.
    #[serde(default)]
    pub failures: Vec<u64>,
    /// The run whose end is not recorded yet, by its start in microseconds since 1970; 0 while it is
    /// being started.
    #[serde(default)]
    pub running: Option<u64>,
    /// The last start.
    #[serde(default)]
    pub started: Option<StartOutcome>,
    /// Whether the supervisor is started by a poke, which forgives nothing.
    #[serde(default)]
    pub poked: bool,
    /// Whether the manager starts the next supervisor by itself, after the end of the last one. Its own
    /// count of restarts says so too, until somebody has it forget failures.
    #[serde(default)]
    pub by_itself: bool,
    /// How the last failure is told.
    #[serde(default)]
    pub failure: Option<String>,
    /// What the supervisor that is at rest goes by.
    #[serde(default)]
    pub watched: Option<Watched>,
}

/// What a supervisor goes by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// The configuration file that was named, where one was.
    pub config_file: Option<PathBuf>,
    /// How the session is supervised.
    pub rules: Rules,
    /// How often it may fail.
    pub breaker: Breaker,
    /// How often the manager has started the supervisor again by itself.
    pub restarts: u32,
}

/// A run that is up, and what is known of it. Times are in microseconds since the boot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Watched {
    /// Its processes.
    pub mark: Mark,
    /// The control group of its slice.
    pub cgroup: String,
    /// The program's name.
    pub program: String,
    /// What its supervisor goes by.
    pub terms: Terms,
    /// Since when it is watched.
    pub since: u64,
    /// Since when its server does not answer.
    pub wedged: Option<u64>,
    /// Its last sign of life.
    pub sign: u64,
    /// When signs were last looked for, and what was seen: when its terminal was last written to (in
    /// microseconds since 1970), and how much CPU time it had used.
    pub looked: u64,
    /// See there.
    pub output: Option<u64>,
    /// See there.
    pub cpu: u64,
    /// When the machine booted, by the clock that people set, as it was then.
    #[serde(default)]
    pub booted: u64,
    /// Whether it was told that there has been none for too long since.
    pub told: bool,
    /// Whether it was nudged since, or would have been: a nudge that is refused is not tried again before
    /// the next silence.
    pub nudged: bool,
    /// Its screen at the last look, without what only ticks: `model::screen::fold`.
    #[serde(default)]
    pub screen: Option<u64>,
    /// What its program asks.
    #[serde(default)]
    pub asked: Option<AskedQuestion>,
    /// When a notice of a question was last sent.
    #[serde(default)]
    pub noticed: Option<u64>,
}

/// A question that a program asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedQuestion {
    /// Which one.
    pub question: Question,
    /// Since when it is known, in microseconds since the boot.
    pub since: u64,
    /// Whether a notice of it was sent.
    pub noticed: bool,
}

/// The shortest time between two notices of questions of one session.
pub const NOTICE_EVERY: Duration = Duration::from_secs(60);

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Watched {
    /// Notes what the program asks now; says whether that is another question than before. One that was
    /// answered is a sign of life: while it stood there, silence did not count.
    pub fn note_question(&mut self, question: Option<Question>, now: u64) -> bool {
        match (question, &mut self.asked) {
            (None, None) => false,
            (None, Some(_)) => {
                (self.asked, self.sign) = (None, self.sign.max(now));
                false
            }
            (Some(question), Some(asked)) if asked.question.is_same(&question) => {
                asked.question = question;
                false
            }
            (Some(question), _) => {
                self.asked = Some(AskedQuestion { question, since: now, noticed: false });
                true
            }
        }
    }

    /// When a notice of the question is to be sent, where none was.
    pub fn notice_due(&self) -> Option<u64> {
        self.asked.filter(|asked| !asked.noticed)?;
        Some(self.noticed.map_or(0, |at| at.saturating_add(micros(NOTICE_EVERY))))
    }

    /// Notes that a notice of the question is on its way.
    pub fn note_notice(&mut self, now: u64) {
        if let Some(asked) = &mut self.asked {
            asked.noticed = true;
            self.noticed = Some(now);
        }
    }

    /// Whether the program may have written to its terminal since the last look, when the terminal was
    /// last written to at `output`. The kernel keeps that time in steps, so what came soon after it may
    /// have left no trace.
    pub fn may_have_printed(&self, output: Option<u64>) -> bool {
        let looked = self.booted.saturating_add(self.looked);
        output != self.output || output.is_some_and(|at| looked.saturating_sub(at) < micros(OUTPUT_STEP))
    }

    /// When the output came that is seen now, and was not at the last look. The terminal has the time of
    /// it by the clock that people set: where they have set it since, nobody knows, and it may be new.
    pub fn time_of_output(&self, output: Option<u64>, now: u64, booted: u64) -> u64 {
        if Duration::from_micros(booted.abs_diff(self.booted)) >= OUTPUT_STEP {
            return now;
        }
        let age = output.map_or(0, |at| (booted + now).saturating_sub(at));
        now.saturating_sub(age).clamp(self.looked.min(now), now)
    }

    /// The same run under these terms, from now on. Where the rules are others, what was no silence
    /// before is none now.
    #[must_use]
    pub fn under(&self, terms: &Terms, now: u64) -> Self {
        let same = Self { terms: terms.clone(), ..self.clone() };
        if terms.rules == self.terms.rules {
            same
        } else {
            Self { sign: now, told: false, nudged: false, ..same }
        }
    }
}

/// What came of a start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartOutcome {
    /// The session is up: what `forge spawn` prints.
    Up(serde_json::Value),
    /// It is not.
    Failed {
        /// The error's kind.
        kind: String,
        /// What happened, with what was on the screen.
        message: String,
        /// What to do next.
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
    fn the_window_slides() {
        let breaker = Breaker { burst: 3, interval: s(10) };
        let at = |seconds: &[u64]| seconds.iter().map(|s| s * 1_000_000).collect::<Vec<_>>();
        assert!(!breaker.is_open(&at(&[1, 2]), 2_000_000));
        assert!(breaker.is_open(&at(&[1, 2, 3]), 3_000_000));
        // Three within ten seconds, across any border.
        assert!(breaker.is_open(&at(&[1, 8, 9, 14]), 14_000_000));
        assert!(!breaker.is_open(&at(&[1, 5, 11]), 11_000_000), "the first is ten seconds old");
        assert!(!Breaker { burst: 0, ..breaker }.is_open(&at(&[1, 1, 1]), 1));
        assert!(!Breaker { interval: s(0), ..breaker }.is_open(&at(&[1, 1, 1]), 1_000_000));
    }

    #[test]
    fn the_unit_says_after_which_ends_there_is_another_supervisor() {
        let unit = include_str!("../../../units/user/forge-spawn@.service");
        let statuses = |key: &str| -> Vec<u8> {
            let line = unit.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            line.split(' ').filter_map(|word| word.parse().ok()).collect()
        };
        for status in statuses("RestartForceExitStatus=") {
            assert!(status::is_followed(Some(status)), "{status}");
        }
        for status in [statuses("RestartPreventExitStatus="), vec![status::OVER]].concat() {
            assert!(!status::is_followed(Some(status)), "{status}");
        }
        assert!(status::is_followed(None), "one that was killed");
    }

    #[test]
    fn a_clock_that_is_set_makes_no_silence() {
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
        let time = |output, booted| watched.time_of_output(Some(at(output)), at(160), at(booted));
        assert_eq!(time(5140, 5000), at(140));
        assert_eq!(time(5140, 5001), at(139), "a clock that is steered");
        assert_eq!(time(5000, 5000), at(100), "not before the last look");
        assert_eq!(time(5140, 5000 + 86_400), at(160), "a day ahead");
        assert_eq!(time(5140 + 86_400, 5000), at(160), "from the future");
        assert_eq!(time(5140, 0), at(160), "back");
    }

    #[test]
    fn delays_grow_as_systemd_says() {
        let millis: Vec<u128> = (0..8).map(|n| DELAYS.before(n).as_millis()).collect();
        assert_eq!(millis, [1000, 1000, 2267, 5143, 11665, 26455, 60000, 60000]);
        for first in [s(0), s(60), s(100)] {
            assert_eq!(Delays { first, ..DELAYS }.before(9), first, "it cannot grow");
        }
        let unit = include_str!("../../../units/user/forge-spawn@.service");
        for line in [
            format!("\nRestartSec={}s\n", DELAYS.first.as_secs()),
            format!("\nSuccessExitStatus={}\n", status::AGAIN),
            format!(
                "\nRestartForceExitStatus={} SIGTERM SIGINT SIGHUP {} 3 4 ",
                status::AGAIN,
                status::FAILED
            ),
            format!("\nRestartPreventExitStatus=2 {}\n", status::FOR_GOOD),
        ] {
            assert!(unit.contains(&line), "the unit lacks {line}");
        }
    }

    #[test]
    fn the_policy_is_systemds() {
        for (restart, clean, next) in [
            (Restart::Never, true, Next::Over),
            (Restart::Never, false, Next::Failed),
            (Restart::OnFailure, true, Next::Over),
            (Restart::OnFailure, false, Next::Again),
            (Restart::Always, true, Next::Again),
            (Restart::Always, false, Next::Again),
        ] {
            assert_eq!(restart.after(clean), next, "{restart:?} {clean}");
        }
    }

    #[test]
    fn silence_is_told_then_nudged_then_ended() {
        let rules = Rules {
            restart: Restart::OnFailure,
            stuck_after: Some(s(60)),
            signs: vec![Sign::Beat],
            nudge_text: Some("go on".into()),
            stuck_restart_after: Some(s(600)),
        };
        assert_eq!(rules.after_silence(s(59), false, false), Silence::Until(s(60)));
        assert_eq!(rules.after_silence(s(60), false, false), Silence::Tell);
        assert_eq!(rules.after_silence(s(60), true, false), Silence::Nudge);
        assert_eq!(rules.after_silence(s(61), true, true), Silence::Until(s(600)));
        assert_eq!(rules.after_silence(s(600), true, true), Silence::Restart);
        let quiet = Rules { nudge_text: None, stuck_restart_after: None, ..rules.clone() };
        assert_eq!(quiet.after_silence(s(9999), false, false), Silence::Tell);
        assert_eq!(quiet.after_silence(s(9999), true, false), Silence::Never);
        let once = Rules { restart: Restart::Never, ..rules.clone() };
        assert_eq!((once.after_silence(s(9999), true, true), once.patience()), (Silence::Never, None));
        let patient = Rules { stuck_after: None, stuck_restart_after: None, ..rules };
        assert_eq!(patient.after_silence(s(9999), false, false), Silence::Never);
        assert_eq!(patient.patience(), Some(s(600)));
    }
}
