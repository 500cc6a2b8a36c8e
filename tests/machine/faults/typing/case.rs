//! One case of typing at random: a program, a text and forge's arguments.

use crate::chance::Chance;
use crate::input_box::options::{Busy, Chip, Form, Frame, Kind, Options, Question, When};
use std::fmt::Write as _;

/// The screen patterns of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patterns {
    None,
    Asking,
    Ready,
    Both,
}

impl Patterns {
    pub(super) const ALL: [Self; 4] = [Self::None, Self::Asking, Self::Ready, Self::Both];

    /// The options of `forge spawn` that set the patterns.
    pub(super) fn options(self) -> Vec<&'static str> {
        let ready = ["--ready", r"\? for shortcuts|^> *$|^Password: *$"];
        let asking = ["--asking", r"^Run on production\?|^Overwrite the file\?|Keep the data\?"];
        match self {
            Self::None => vec![],
            Self::Asking => asking.into(),
            Self::Ready => ready.into(),
            Self::Both => [ready, asking].concat(),
        }
    }
}

/// The channel by which forge gets the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Argument,
    StandardInput,
    File,
}

/// The sessions differ in their patterns and in whether a user is attached.
pub(super) const SESSIONS: usize = 2 * Patterns::ALL.len();

#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "they are forge's options")]
pub(super) struct Case {
    pub(super) seed: u64,
    pub(super) options: Options,
    pub(super) patterns: Patterns,
    pub(super) text: String,
    pub(super) by: By,
    /// An idle user is attached to the session.
    pub(super) attended: bool,
    /// The session is created for this case.
    pub(super) fresh: bool,
    pub(super) lines: bool,
    pub(super) no_enter: bool,
    pub(super) replace_input: bool,
}

impl Case {
    pub(super) fn of(seed: u64) -> Self {
        // Neighbouring seeds must have nothing in common.
        let mut chance = Chance(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let kinds = [
            (Kind::Line, 4),
            (Kind::Wrapped, 2),
            (Kind::Bracketed, 7),
            (Kind::List, 2),
            (Kind::Password, 1),
            (Kind::Canonical, 2),
        ];
        let kind = weighted(&mut chance, &kinds);
        let bytes = weighted(&mut chance, &[(1, 3), (40, 6), (500, 5), (3_000, 4), (100_000, 1)]);
        let lines = weighted(&mut chance, &[(1, 5), (2, 2), (50, 2)]);
        let lines = if kind == Kind::Password || bytes < 2 * lines { 1 } else { lines };
        let text = text(&mut chance, bytes, lines, kind == Kind::Bracketed);
        let mut options = program(&mut chance, kind, &text);
        let no_enter = chance.one_in(8);
        // 50 lines of 100,000 bytes typed as keys take minutes and show nothing new.
        let may_be_entries = kind != Kind::Bracketed && text.contains('\n') && bytes < 10_000 && !no_enter;
        let lines = may_be_entries && !chance.one_in(3);
        if lines {
            // Each of 50 entries would wait until the previous one is done.
            options.work_ms = options.work_ms.min(50);
            options.busy.for_ms = options.busy.for_ms.min(300);
        }
        Self {
            seed,
            patterns: chance.one_of(&Patterns::ALL),
            by: chance.one_of(&[By::Argument, By::StandardInput, By::File]),
            attended: chance.one_in(6),
            fresh: chance.one_in(10),
            lines,
            no_enter,
            replace_input: !options.standing.is_empty() && chance.one_in(2),
            options,
            text,
        }
    }

    /// The index in [`SESSIONS`] of the session that the case needs.
    pub(super) fn session(&self) -> usize {
        let patterns = Patterns::ALL.iter().position(|patterns| *patterns == self.patterns).expect("a place");
        2 * patterns + usize::from(self.attended)
    }

    /// The entries that make up the text.
    pub(super) fn entries(&self) -> Vec<String> {
        if self.lines {
            self.text.lines().filter(|line| !line.is_empty()).map(ToOwned::to_owned).collect()
        } else {
            vec![self.text.clone()]
        }
    }

    /// The arguments of `forge send`.
    pub(super) fn argv(&self, session: &str, file: &str) -> Vec<String> {
        let mut argv: Vec<&str> = match self.by {
            By::StandardInput => vec!["sh", "-c", r#"exec "$@" <"$0""#, file],
            By::Argument | By::File => vec![],
        };
        argv.extend(["forge", "--json", "send", session]);
        let flags =
            [(self.lines, "--lines"), (self.no_enter, "--no-enter"), (self.replace_input, "--replace-input")];
        argv.extend(flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag));
        match self.by {
            By::Argument => argv.extend(["--", &self.text]),
            By::StandardInput => argv.push("-"),
            By::File => argv.extend(["--file", file]),
        }
        argv.into_iter().map(ToOwned::to_owned).collect()
    }

    /// Whether nothing hinders the text, so that forge must send it.
    pub(super) fn is_calm(&self) -> bool {
        let options = &self.options;
        options.question.is_none()
            && options.busy == Busy::default()
            && (options.standing.is_empty() || self.replace_input)
    }

    /// The row of the table that counts the case.
    pub(super) fn name(&self) -> String {
        let options = &self.options;
        let mut name = format!("{:?}", options.kind).to_lowercase();
        let parts = [
            (options.paste_window_ms > 0, "paste-window"),
            (options.busy != Busy::default(), "busy"),
            (!options.standing.is_empty(), "standing"),
            (options.question.is_some_and(|question| question.form == Form::Menu), "menu"),
            (options.question.is_some_and(|question| question.form == Form::Numbered), "numbered"),
            (options.question.is_some_and(|question| question.form == Form::SingleKey), "single-key"),
        ];
        for (_, part) in parts.iter().filter(|(is_there, _)| *is_there) {
            name = format!("{name}, {part}");
        }
        name
    }
}

fn weighted<T: Copy>(chance: &mut Chance, things: &[(T, usize)]) -> T {
    let all: usize = things.iter().map(|(_, weight)| weight).sum();
    let mut at = chance.below(all);
    for (thing, weight) in things {
        if at < *weight {
            return *thing;
        }
        at -= weight;
    }
    things[0].0
}

/// A text of about this many bytes and lines, without a hyphen at its start or a line break at its end.
fn text(chance: &mut Chance, bytes: usize, lines: usize, is_pasted: bool) -> String {
    const WORDS: [&str; 24] = [
        "go", "on", "yes", "no", "naïve", "дом", "漢字", "한글", "🦀", "fn", "{", "}", "\"x\"", "'", "$HOME",
        "`ls`", "\\", ";", "#{pid}", "--", "|", "é", "1.", "~/",
    ];
    if bytes == 1 {
        return chance.one_of(&["y", "n", "1", "x", "?", "/"]).to_owned();
    }
    let each = bytes / lines;
    let line = |chance: &mut Chance, at: usize| {
        let mut line =
            if at > 0 && is_pasted { chance.one_of(&["", "    ", "\t"]).to_owned() } else { String::new() };
        // A unique word at both ends makes any cut visible.
        let _ = write!(line, "l{at}");
        while line.len() + 8 < each {
            line.push(if chance.one_in(30) { '.' } else { ' ' });
            line.push_str(chance.one_of(&WORDS));
        }
        let _ = write!(line, " e{}", chance.below(1000));
        line
    };
    (0..lines).map(|at| line(chance, at)).collect::<Vec<_>>().join("\n")
}

/// A program of this kind with random behaviour beside reading.
fn program(chance: &mut Chance, kind: Kind, text: &str) -> Options {
    let mut options = Options { kind, seed: chance.below(1 << 30) as u64, ..Options::default() };
    if kind == Kind::Bracketed {
        options.chip = chance.one_of(&[Chip::Never, Chip::Lines, Chip::Characters, Chip::Either]);
        options.frame = chance.one_of(&[Frame::Borders, Frame::Rules, Frame::Nothing]);
        options.sign = chance.one_of(&[None, Some('❯'), Some('›')]);
        options.placeholder = chance.one_in(4);
        options.own_cursor = chance.one_in(3);
        options.parked_cursor = options.own_cursor && chance.one_in(3);
    }
    if !kind.is_canonical() {
        options.alternate = chance.one_in(4);
        // A cursor elsewhere hides the text in the box and its line breaks. No agent was seen to keep it
        // elsewhere while it shows its box.
        if chance.one_in(3) && kind != Kind::List && !options.parked_cursor {
            options.paste_window_ms = chance.one_of(&[30, 120]);
        }
        if chance.one_in(12) && !options.parked_cursor {
            options.standing.push_str("left over");
        }
        if chance.one_in(6) {
            options.work_ms = chance.one_of(&[200, 2_000]);
        }
    }
    if chance.one_in(4) {
        let for_ms = chance.one_of(&[50, 300, 1_500]);
        options.busy = Busy { for_ms, every_ms: chance.one_of(&[0, 200, 1_000]), at_enter: chance.one_in(2) };
        if options.busy.every_ms == 0 {
            options.busy.at_enter = true;
        }
    }
    if kind.is_canonical() {
        if chance.one_in(2) || kind == Kind::Password {
            let when = When::Enter(chance_ms(chance, 2_500));
            options.question = Some(question(chance, &[when]));
        }
    } else if chance.one_in(2) {
        let when = [
            When::Start,
            When::Byte(1 + chance.below(text.len() + 8) as u64),
            When::Byte(1 + chance.below(10) as u64),
            When::Quiet(chance_ms(chance, 600)),
            When::Enter(chance_ms(chance, 100)),
            When::Enter(chance_ms(chance, 1_500)),
            When::Time(chance_ms(chance, 800)),
            When::Time(chance_ms(chance, 3_000)),
        ];
        options.question = Some(question(chance, &when));
    }
    options
}

fn chance_ms(chance: &mut Chance, below: usize) -> u64 {
    chance.below(below) as u64
}

fn question(chance: &mut Chance, when: &[When]) -> Question {
    Question {
        form: chance.one_of(&[Form::Menu, Form::Menu, Form::Numbered, Form::SingleKey]),
        when: chance.one_of(when),
        stays_ms: chance.one_of(&[50, 300, 1_000, 3_000, 30_000]),
    }
}
