//! The options of one run of the input box: one JSON argument, built by a test and parsed by the program.

use serde::{Deserialize, Serialize};

/// The options of one run. By default nothing special happens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "they are as independent as they look")]
pub(crate) struct Options {
    pub(crate) kind: Kind,
    /// Seeds the random moments of `busy`.
    pub(crate) seed: u64,
    /// The character before the text; `>` by default.
    pub(crate) sign: Option<char>,
    /// Enter within this time after the last key of a fast run is a line break.
    pub(crate) paste_window_ms: u64,
    /// A long paste is shown as a chip instead of its text.
    pub(crate) chip: Chip,
    /// The frame of a box of several lines.
    pub(crate) frame: Frame,
    /// The terminal's cursor is hidden, and a reversed cell is drawn at its place.
    pub(crate) own_cursor: bool,
    /// The terminal's cursor is hidden and far from the text.
    pub(crate) parked_cursor: bool,
    /// A dim suggestion stands in the empty box.
    pub(crate) placeholder: bool,
    /// Typed text is not shown.
    pub(crate) silent: bool,
    /// Text that is in the box from the beginning.
    pub(crate) standing: String,
    /// The program draws on the alternate screen.
    pub(crate) alternate: bool,
    /// The program works on a submitted text for this long, with a spinner and a ticking clock.
    pub(crate) work_ms: u64,
    pub(crate) busy: Busy,
    pub(crate) question: Option<Question>,
}

/// The way in which the program reads and shows input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// Raw mode, one input line that scrolls sideways and shows only the end of a long text.
    #[default]
    Line,
    /// Raw mode, an input line that wraps as readline's does.
    Wrapped,
    /// Raw mode, bracketed paste, a box of several lines with borders.
    Bracketed,
    /// Raw mode, a query line below the matches, as in fzf. Enter picks one.
    List,
    /// The kernel's line editor without echo for the first line, with echo for the question after it.
    Password,
    /// The kernel's line editor and echo, as with the shell's `read`.
    Canonical,
}

impl Kind {
    /// Whether the kernel edits the line.
    pub(crate) fn is_canonical(self) -> bool {
        matches!(self, Self::Password | Self::Canonical)
    }
}

/// The form in which a long paste is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Chip {
    #[default]
    Never,
    /// `[Pasted text #1 +49 lines]`, of more than 3 lines or 800 bytes.
    Lines,
    /// `[Pasted Content 3000 chars]`, of more than 1,000 characters.
    Characters,
    /// `[Pasted Text: 50 lines]` or `[Pasted Text: 600 chars]`, of more than 5 lines or 500 characters.
    Either,
}

/// The frame of a box of several lines. Agents were seen with each of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Frame {
    #[default]
    Borders,
    Rules,
    Nothing,
}

/// When the program reads nothing and draws nothing, although it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Busy {
    /// For how long, each time.
    pub(crate) for_ms: u64,
    /// At random moments, this long apart on average. 0: at none.
    pub(crate) every_ms: u64,
    /// After each Enter that submits, before anything of that is drawn.
    pub(crate) at_enter: bool,
}

/// A question that takes the box's place once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Question {
    pub(crate) form: Form,
    pub(crate) when: When,
    /// The question goes away unanswered after this long.
    pub(crate) stays_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Form {
    /// `Run on production? ❯ 1. Yes  2. No`: Enter takes the one that is marked, arrows move the mark,
    /// Escape cancels.
    Menu,
    /// The same, and the number of an answer takes it, as a key or alone in a paste.
    Numbered,
    /// `[y/n]`: any of these keys answers.
    SingleKey,
}

/// The moment of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum When {
    /// Before the box was ever shown.
    Start,
    /// At this byte of all received bytes.
    Byte(u64),
    /// Between text and Enter: this many milliseconds after the last byte, once there is a text.
    Quiet(u64),
    /// This many milliseconds after the Enter that submits.
    Enter(u64),
    /// This many milliseconds after the box was first drawn.
    Time(u64),
}

impl Options {
    /// The arguments that start the program with its log in this file.
    pub(crate) fn argv(&self, log: &str) -> Vec<String> {
        let program = "/usr/lib/forge-tests/machine";
        [program, super::INPUT_BOX, log, &self.to_json()].map(ToOwned::to_owned).into()
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("options as JSON")
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| format!("{error} in: {text}"))
    }

    pub(crate) fn sign(&self) -> char {
        self.sign.unwrap_or('>')
    }
}
