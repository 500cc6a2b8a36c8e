//! Which signs of life count, and what a supervisor does when they are missing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::policy::Restart;

/// A sign of life of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sign {
    /// `forge beat`.
    Beat,
    /// The program prints something.
    Output,
    /// The session's processes use CPU time.
    Cpu,
}

impl Sign {
    pub fn word(self) -> &'static str {
        match self {
            Self::Beat => "beat",
            Self::Output => "output",
            Self::Cpu => "cpu",
        }
    }
}

/// The rules by which a session is supervised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    pub restart: Restart,
    /// Report the session as stuck after this long without a sign of life; `None`: never.
    pub stuck_after: Option<Duration>,
    /// The signs that count; the newest sign of any of them is the last sign of life.
    pub signs: Vec<Sign>,
    /// The text that is typed into a stuck program, once.
    pub nudge_text: Option<String>,
    /// Restart the session after this long without a sign of life; `None`: never.
    pub stuck_restart_after: Option<Duration>,
}

/// How long a tmux server may leave its clients waiting if `stuck_restart_after` is not set.
const PATIENCE: Duration = Duration::from_secs(600);

/// The kernel keeps the time of a terminal's last output in steps of 8 seconds; a shorter silence cannot be
/// measured well.
pub const OUTPUT_STEP: Duration = Duration::from_secs(8);

impl Rules {
    /// How long a tmux server may leave its clients waiting; `None`: for ever.
    pub fn patience(&self) -> Option<Duration> {
        (self.restart != Restart::Never).then(|| self.stuck_restart_after.unwrap_or(PATIENCE))
    }

    /// After how much silence the supervisor ends the session and starts it again. It does not end a
    /// session that it may not start again.
    fn restart_after(&self) -> Option<Duration> {
        self.stuck_restart_after.filter(|_| self.restart != Restart::Never)
    }

    pub fn counts(&self, sign: Sign) -> bool {
        self.stuck_after.is_some() && self.signs.contains(&sign)
    }

    /// The supervisor's next step after that much silence. `reported` and `nudged` say which steps it took during this
    /// silence already.
    pub fn after_silence(&self, silence: Duration, reported: bool, nudged: bool) -> Silence {
        let Some(stuck_after) = self.stuck_after else { return Silence::Never };
        if self.restart_after().is_some_and(|after| silence >= after) {
            Silence::Restart
        } else if silence < stuck_after {
            Silence::Until(stuck_after)
        } else if !reported {
            Silence::Report
        } else if !nudged && self.nudge_text.is_some() {
            Silence::Nudge
        } else {
            self.restart_after().map_or(Silence::Never, Silence::Until)
        }
    }
}

/// The next step of a supervisor during a silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// Wait until the silence has lasted this long altogether.
    Until(Duration),
    /// Nothing more to do.
    Never,
    /// Report the session as stuck.
    Report,
    /// Type `nudge_text`.
    Nudge,
    /// Restart the session.
    Restart,
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_silence_is_reported_then_nudged_then_ended() {
        let rules = Rules {
            restart: Restart::OnFailure,
            stuck_after: Some(s(60)),
            signs: vec![Sign::Beat],
            nudge_text: Some("go on".into()),
            stuck_restart_after: Some(s(600)),
        };
        assert_eq!(rules.after_silence(s(59), false, false), Silence::Until(s(60)));
        assert_eq!(rules.after_silence(s(60), false, false), Silence::Report);
        assert_eq!(rules.after_silence(s(60), true, false), Silence::Nudge);
        assert_eq!(rules.after_silence(s(61), true, true), Silence::Until(s(600)));
        assert_eq!(rules.after_silence(s(600), true, true), Silence::Restart);
        let quiet = Rules { nudge_text: None, stuck_restart_after: None, ..rules.clone() };
        assert_eq!(quiet.after_silence(s(9999), false, false), Silence::Report);
        assert_eq!(quiet.after_silence(s(9999), true, false), Silence::Never);
        let once = Rules { restart: Restart::Never, ..rules.clone() };
        assert_eq!((once.after_silence(s(9999), true, true), once.patience()), (Silence::Never, None));
        let patient = Rules { stuck_after: None, stuck_restart_after: None, ..rules };
        assert_eq!(patient.after_silence(s(9999), false, false), Silence::Never);
        assert_eq!(patient.patience(), Some(s(600)));
    }
}
