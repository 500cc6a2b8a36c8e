//! The activity of a session's program, as far as forge knows.
//!
//! Two sources know it: the hooks of the program, which run `forge report` in the session, and the patterns of
//! the session, which forge compares with the screen. [`current`] decides between them.

use serde::{Deserialize, Serialize};

use crate::model::screen::fold;
use crate::model::screen::prompts::Prompts;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activity {
    /// The program works on a turn.
    Working,
    /// The program asks its user something: a permission or a question.
    Asking,
    /// The turn is over, and the program waits for its user.
    Idle,
    #[default]
    Unknown,
}

impl Activity {
    pub const ALL: [Self; 4] = [Self::Working, Self::Asking, Self::Idle, Self::Unknown];

    pub fn word(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Asking => "asking",
            Self::Idle => "idle",
            Self::Unknown => "unknown",
        }
    }

    /// Whether the program waits for its user. Silence is then not a sign that the program is stuck.
    pub fn waits_for_user(self) -> bool {
        matches!(self, Self::Asking | Self::Idle)
    }

    /// The activity that the patterns find on a screen. Agents show their prompt while they work, too, so a
    /// `ready` pattern alone does not make a program idle: this needs a `working` pattern that does not match.
    fn on_screen(prompts: &Prompts, screen: &str) -> Self {
        if prompts.is_asking(screen) {
            Self::Asking
        } else if prompts.is_working(screen) {
            Self::Working
        } else if prompts.working.is_some() && prompts.is_ready(screen) {
            Self::Idle
        } else {
            Self::Unknown
        }
    }
}

/// The source of the activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A process of the session reported it: `forge report`.
    Hook,
    /// A pattern of the session matches its screen.
    Screen,
}

impl Source {
    pub fn word(self) -> &'static str {
        match self {
            Self::Hook => "hook",
            Self::Screen => "screen",
        }
    }
}

/// The last report of a session's hooks. Times are in microseconds since the boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivityReport {
    /// The run that reported: [`Mark::since_us`](super::Mark::since_us).
    pub run: u64,
    pub activity: Activity,
    /// Whether the last report was `forge report done`.
    pub done: bool,
    /// When this activity began.
    pub since: u64,
    /// When the last report came.
    pub at: u64,
    /// Whether the session's supervisor had seen the question on the screen before a hook reported it.
    pub seen_before: bool,
    /// A digest of the last conversation id that was reported.
    pub conversation: Option<u64>,
    pub events: EventLimit,
}

/// The changes that a report makes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReportChanges {
    /// The activity is another one.
    pub activity: bool,
    /// A question begins that nobody has recorded.
    pub asking: bool,
    /// A turn ended with `forge report done`.
    pub done: bool,
}

impl ActivityReport {
    /// The report of `activity` at `now`, and what it changes. A report of a question after a report of a
    /// question is about the same one: an agent may run several hooks for one question.
    ///
    /// `seen_before` says whether the session's supervisor sees a question on the screen already.
    #[must_use]
    pub fn following(
        before: Option<&Self>,
        (run, activity, done): (u64, Activity, bool),
        now: u64,
        seen_before: impl FnOnce() -> bool,
    ) -> (Self, ReportChanges) {
        let before = before.filter(|before| before.run == run);
        let same = before.filter(|before| before.activity == activity);
        let is_question = activity == Activity::Asking;
        let seen_before = is_question && same.map_or_else(seen_before, |same| same.seen_before);
        let begins = same.is_none() && !seen_before;
        let changes = ReportChanges {
            activity: begins,
            asking: begins && is_question,
            done: done && !same.is_some_and(|same| same.done),
        };
        let report = Self {
            run,
            activity,
            done,
            since: same.map_or(now, |same| same.since),
            at: now,
            seen_before,
            conversation: before.and_then(|before| before.conversation),
            events: before.map(|before| before.events.clone()).unwrap_or_default(),
        };
        (report, changes)
    }
}

impl ActivityReport {
    /// Whether the supervisor saw the reported question on the screen. `matched` is the last report whose question
    /// it saw there, by its `since`.
    pub fn was_shown(&self, matched: Option<u64>) -> bool {
        self.seen_before || matched == Some(self.since)
    }
}

/// Limits how many changes of the activity forge records: at most [`EventLimit::MOST`] in any minute.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLimit(Vec<u64>);

impl EventLimit {
    pub const MOST: usize = 10;

    /// The time that counts, in microseconds.
    const MINUTE: u64 = 60_000_000;

    /// Whether forge may record a change at `now`, in microseconds since the boot. If so, the change counts.
    pub fn admits(&mut self, now: u64) -> bool {
        self.0.retain(|at| now.saturating_sub(*at) < Self::MINUTE);
        let admits = self.0.len() < Self::MOST;
        if admits {
            self.0.push(now);
        }
        admits
    }
}

/// The activity by a session's screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScreenActivity {
    activity: Activity,
    /// Whether the session has a pattern for questions.
    shows_questions: bool,
}

impl ScreenActivity {
    pub fn of(prompts: &Prompts, screen: &str) -> Self {
        Self { activity: Activity::on_screen(prompts, screen), shows_questions: prompts.asking.is_some() }
    }
}

/// The activity that forge shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownActivity {
    pub activity: Activity,
    /// The source of the activity; `None` if the activity is unknown.
    pub source: Option<Source>,
    /// When the activity began, in microseconds since the boot.
    pub since: Option<u64>,
}

/// How long a program may take to draw a question that its hook has reported, in microseconds, if no supervisor
/// watches the screen: agents run the hook before they draw.
const DRAWN: u64 = 2_000_000;

/// How long after the report of a question a supervisor takes the question on the screen for the reported one, in
/// microseconds: it reads the screen of a program that prints every 4 seconds.
const SHOWN: u64 = 10_000_000;

/// The session's activity at `now`, in microseconds since the boot.
///
/// A report of a hook counts, with two exceptions. A question on the screen counts whatever was reported before,
/// because some agents have no hook for questions. And a reported question is over once it has left the screen:
/// agents have no hook for an answer. Then the screen counts, which may show that the program works again.
///
/// `was_shown` says whether the session's supervisor saw the reported question on the screen; `None` if the session
/// has no supervisor. A question that the session's pattern never found may still be open, and nobody may type into
/// it.
///
/// (A source that reads an agent's own files belongs between the two.)
pub fn current(
    report: Option<&ActivityReport>,
    screen: Option<ScreenActivity>,
    was_shown: Option<bool>,
    now: u64,
) -> KnownActivity {
    let by_screen = |activity, since| KnownActivity {
        activity,
        source: (activity != Activity::Unknown).then_some(Source::Screen),
        since,
    };
    let question = report.filter(|report| report.activity == Activity::Asking);
    match (report, screen) {
        (_, Some(ScreenActivity { activity: Activity::Asking, .. })) => {
            by_screen(Activity::Asking, question.map(|question| question.since))
        }
        (Some(report), Some(ScreenActivity { activity, shows_questions: true }))
            if question.is_some() && was_shown.unwrap_or(now.saturating_sub(report.at) >= DRAWN) =>
        {
            by_screen(activity, None)
        }
        (Some(report), _) => {
            KnownActivity { activity: report.activity, source: Some(Source::Hook), since: Some(report.since) }
        }
        (None, Some(screen)) => by_screen(screen.activity, None),
        (None, None) => KnownActivity::default(),
    }
}

/// Whether the question that has just appeared on the screen is the one that the hook reported. `matched` is the
/// time of the report whose question was on the screen already.
pub fn is_reported_question(report: &ActivityReport, matched: Option<u64>, now: u64) -> bool {
    report.activity == Activity::Asking && !report.was_shown(matched) && now.saturating_sub(report.at) < SHOWN
}

/// A question on a screen, as hashes: the text may be private, and supervisors only have to recognise the
/// question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The question's lines, without the mark of the selected line in a menu.
    text: u64,
    /// The same, without spinners and counters (`model::screen::fold`).
    folded: u64,
    /// The screen, without spinners and counters.
    screen: u64,
}

/// The marks that menus put before the selected line. Moving the mark does not make a new question.
const SELECTED: [char; 6] = ['❯', '›', '▶', '➜', '→', '>'];

impl Question {
    pub fn new(text: &str, screen: &str) -> Self {
        let text: String = text.chars().filter(|c| !SELECTED.contains(c) && !c.is_whitespace()).collect();
        let folded = fold::digest(&fold::folded(&text));
        Self { text: fold::digest(&text), folded, screen: fold::digest(&fold::folded(screen)) }
    }

    /// Whether both are the same question: the same words, or words that differ only in numbers and spinners
    /// (a countdown, for example) while the rest of the screen is the same as well.
    pub fn is_same(&self, other: &Self) -> bool {
        self.text == other.text || (self.folded == other.folded && self.screen == other.screen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::screen::prompts::{PatternKey, ScreenPattern};

    #[test]
    fn a_countdown_does_not_make_a_new_question() {
        let is_same =
            |a: (&str, &str), b: (&str, &str)| Question::new(a.0, a.1).is_same(&Question::new(b.0, b.1));
        assert!(is_same(("Sure?", "Sure?"), ("Sure?", "a log line\nSure?")));
        assert!(is_same(("Sure? (9s)", "a\nSure? (9s)"), ("Sure? (10s)", "a\nSure? (10s)")), "a countdown");
        assert!(is_same(("❯ 1. Yes\n2. No", ""), ("1. Yes\n❯ 2. No", "")), "another line is selected");
        assert!(!is_same(("Delete 1?", "Delete 1?"), ("Delete 2?", "deleted 1\nDelete 2?")), "the next one");
        assert!(!is_same(("Delete it?", ""), ("Keep it?", "")));
    }

    fn prompts(asking: Option<&str>, working: Option<&str>) -> Prompts {
        let of = |key, text: &str| ScreenPattern::parse(key, text).unwrap();
        Prompts {
            ready: Some(of(PatternKey::Ready, "❯")),
            not_ready: Some(of(PatternKey::NotReady, "trust")),
            asking: asking.map(|text| of(PatternKey::Asking, text)),
            working: working.map(|text| of(PatternKey::Working, text)),
        }
    }

    #[test]
    fn a_prompt_alone_is_not_idle() {
        let by_prompt = prompts(Some("Delete it"), None);
        let with_working = prompts(Some("Delete it"), Some("esc to interrupt"));
        for (screen, alone, with) in [
            ("✳ (esc to interrupt)\n❯", Activity::Unknown, Activity::Working),
            ("done\n❯", Activity::Unknown, Activity::Idle),
            ("compiling", Activity::Unknown, Activity::Unknown),
            ("Do you trust it?\n❯ 1. Yes", Activity::Unknown, Activity::Unknown),
            ("(esc to interrupt)\nDelete it?", Activity::Asking, Activity::Asking),
        ] {
            let on_screen = |prompts| Activity::on_screen(prompts, screen);
            assert_eq!((on_screen(&by_prompt), on_screen(&with_working)), (alone, with), "{screen}");
        }
        let no_prompt = Prompts { ready: None, not_ready: None, ..with_working };
        assert_eq!(Activity::on_screen(&no_prompt, "❯"), Activity::Unknown);
    }

    const S: u64 = 1_000_000;

    fn report(before: Option<&ActivityReport>, activity: Activity, at: u64) -> ActivityReport {
        ActivityReport::following(before, (1, activity, false), at, || false).0
    }

    #[test]
    fn a_question_on_the_screen_counts_more_than_a_report() {
        let both = prompts(Some("Sure"), Some("esc"));
        let working = report(None, Activity::Working, 10 * S);
        let on = |screen: &str| Some(ScreenActivity::of(&both, screen));
        let known = |report: Option<&ActivityReport>, screen, now| {
            let known = current(report, screen, None, now);
            (known.activity, known.source, known.since)
        };
        let (hook, screen) = (Some(Source::Hook), Some(Source::Screen));
        assert_eq!(known(None, None, 0), (Activity::Unknown, None, None));
        assert_eq!(known(None, on("esc\n❯"), 0), (Activity::Working, screen, None));
        assert_eq!(known(Some(&working), None, 99 * S), (Activity::Working, hook, Some(10 * S)));
        assert_eq!(known(Some(&working), on("❯"), 99 * S), (Activity::Working, hook, Some(10 * S)));
        assert_eq!(known(Some(&working), on("Sure? ❯"), 99 * S), (Activity::Asking, screen, None));
        // The program draws the question after its hook, and a question that is gone was answered.
        let asking = report(Some(&working), Activity::Asking, 20 * S);
        assert_eq!(known(Some(&asking), on("esc ❯"), 21 * S), (Activity::Asking, hook, Some(20 * S)));
        assert_eq!(known(Some(&asking), on("Sure?"), 30 * S), (Activity::Asking, screen, Some(20 * S)));
        assert_eq!(known(Some(&asking), on("esc ❯"), 30 * S), (Activity::Working, screen, None));
        let no_working = prompts(Some("Sure"), None);
        let answered = Some(ScreenActivity::of(&no_working, "❯"));
        assert_eq!(known(Some(&asking), answered, 30 * S), (Activity::Unknown, None, None));
        // A question that the pattern never found may still be open.
        let by_supervisor = |was_shown| current(Some(&asking), on("esc ❯"), Some(was_shown), 30 * S).activity;
        assert_eq!((by_supervisor(true), by_supervisor(false)), (Activity::Working, Activity::Asking));
        // Without a pattern for questions, only the next report ends the question.
        let no_asking = Some(ScreenActivity::of(&prompts(None, Some("esc")), "esc ❯"));
        assert_eq!(known(Some(&asking), no_asking, 30 * S), (Activity::Asking, hook, Some(20 * S)));
    }

    #[test]
    fn a_report_says_what_it_changes() {
        let changes = |before: Option<&ActivityReport>, activity, done, seen: bool| {
            ActivityReport::following(before, (1, activity, done), 9 * S, || seen)
        };
        let all = ReportChanges::default();
        let (asking, first) = changes(None, Activity::Asking, false, false);
        assert_eq!(first, ReportChanges { activity: true, asking: true, ..all });
        let (again, second) = changes(Some(&asking), Activity::Asking, false, true);
        assert_eq!((second, again.seen_before), (all, false), "the same question");
        let (seen, known) = changes(None, Activity::Asking, false, true);
        assert_eq!((known, seen.seen_before), (all, true), "its supervisor was faster");
        let (idle, over) = changes(Some(&seen), Activity::Idle, false, true);
        assert_eq!((over, idle.seen_before), (ReportChanges { activity: true, ..all }, false));
        let (done, finished) = changes(Some(&idle), Activity::Idle, true, false);
        assert_eq!((finished, done.since), (ReportChanges { done: true, ..all }, idle.since));
        assert_eq!(changes(Some(&done), Activity::Idle, true, false).1, all);
        let other_run = ActivityReport { run: 2, ..idle };
        assert!(changes(Some(&other_run), Activity::Idle, false, false).1.activity);
    }

    #[test]
    fn a_reported_question_is_recognised_on_the_screen_once() {
        let asking = report(None, Activity::Asking, 20 * S);
        assert!(is_reported_question(&asking, None, 22 * S));
        assert!(!is_reported_question(&asking, Some(20 * S), 22 * S), "the next question");
        assert!(!is_reported_question(&asking, None, 40 * S), "too late");
        let seen = ActivityReport { seen_before: true, ..asking };
        assert!(!is_reported_question(&seen, None, 22 * S));
    }

    #[test]
    fn no_minute_has_more_events_than_the_limit() {
        let mut limit = EventLimit::default();
        let admitted: Vec<u64> = (0..1000).map(|n| n * S / 2).filter(|at| limit.admits(*at)).collect();
        let most = |from: u64| admitted.iter().filter(|at| (from..from + 60 * S).contains(*at)).count();
        assert!(admitted.iter().all(|from| most(*from) <= EventLimit::MOST), "{admitted:?}");
        assert_eq!(admitted.len(), 9 * EventLimit::MOST, "500 seconds");
    }
}
