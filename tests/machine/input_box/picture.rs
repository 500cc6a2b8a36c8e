//! The picture that each kind of program draws of its text and question.

use super::options::{Form, Frame, Kind, Options};
use super::region::Picture;
use super::text::{Text, columns, tail, wrap};
use std::fmt::Write as _;

/// The text of a placeholder.
const SUGGESTION: &str = "Try \"how does the parser work?\"";

/// The entries of the list.
const ENTRIES: [&str; 6] = ["apple", "banana", "cherry pie", "date", "elderberry", "fig tree"];

pub(super) fn of_box(options: &Options, text: &Text, size: (usize, usize)) -> Picture {
    let shown = if options.silent { String::new() } else { text.shown() };
    match options.kind {
        Kind::Wrapped => wrapped(options.sign(), &shown, size),
        Kind::Bracketed => boxed(options, &shown, size),
        Kind::List => list(options.sign(), &shown, size.0),
        _ => line(options.sign(), &shown, size.0),
    }
}

fn line(sign: char, shown: &str, width: usize) -> Picture {
    // A line break in the text, which a paste window creates, is drawn as a special sign.
    let shown = shown.replace('\n', "⏎");
    let row = format!("{sign} {}", tail(&shown, width - 3));
    Picture { cursor: (0, columns(&row)), rows: vec![row], wraps: false, hides_cursor: false }
}

fn wrapped(sign: char, shown: &str, (width, height): (usize, usize)) -> Picture {
    let shown = shown.replace('\n', "⏎");
    let mut rows = wrap(&format!("{sign} {shown}"), width);
    // One row is kept for the cursor behind the last column, and one for the spinner.
    rows.drain(..rows.len().saturating_sub(height - 3));
    let used = rows.last().map_or(0, |row| columns(row));
    let cursor = if used == width { (rows.len(), 0) } else { (rows.len() - 1, used) };
    Picture { rows, wraps: true, cursor, hides_cursor: false }
}

fn boxed(options: &Options, shown: &str, (width, height): (usize, usize)) -> Picture {
    let inner = width - 6;
    let mut content: Vec<String> = Vec::new();
    // Only the end is drawn, so earlier lines need no wrapping.
    let most = (height.saturating_sub(6)).clamp(1, 12);
    for line in shown.rsplit('\n').take(most) {
        content.splice(0..0, wrap(line, inner));
    }
    let above = content.len().saturating_sub(most);
    content.drain(..above);
    let is_whole = above == 0 && shown.matches('\n').count() < most;
    let used = content.last().map_or(0, |row| columns(row));
    let (edge, rule) = match options.frame {
        Frame::Borders => ("│ ", Some("─".repeat(width - 2))),
        Frame::Rules => ("", Some("─".repeat(width))),
        Frame::Nothing => ("", None),
    };
    let before = columns(edge) + 2;
    let cursor = (content.len() - 1 + usize::from(rule.is_some()), before + used);
    let mut padding: Vec<usize> = content.iter().map(|row| inner.saturating_sub(columns(row))).collect();
    if options.own_cursor {
        content.last_mut().expect("a row").push_str("\x1b[7m \x1b[27m");
        padding.iter_mut().last().into_iter().for_each(|padding| *padding = padding.saturating_sub(1));
    }
    if options.placeholder && shown.is_empty() {
        let _ = write!(content[0], "\x1b[2m{SUGGESTION}\x1b[22m");
        padding[0] = padding[0].saturating_sub(columns(SUGGESTION));
    }
    let mut rows = Vec::new();
    for (at, (row, padding)) in content.iter().zip(padding).enumerate() {
        let sign = if at == 0 && is_whole { options.sign() } else { ' ' };
        let end = if edge.is_empty() { String::new() } else { " ".repeat(padding) + " │" };
        rows.push(format!("{edge}{sign} {row}{end}"));
    }
    if let Some(rule) = rule {
        let (left, right) = if edge.is_empty() { ("", "") } else { ("╭", "╮") };
        rows.insert(0, format!("{left}{rule}{right}"));
        rows.push(if edge.is_empty() { rule } else { format!("╰{rule}╯") });
    }
    rows.push("  ? for shortcuts".to_owned());
    let cursor = if options.parked_cursor { (rows.len() - 1, 0) } else { cursor };
    Picture { rows, wraps: false, cursor, hides_cursor: options.own_cursor || options.parked_cursor }
}

fn list(sign: char, shown: &str, width: usize) -> Picture {
    let found = matches(shown);
    let mut rows: Vec<String> = found.iter().rev().map(|entry| format!("  {entry}")).collect();
    rows.push(format!("  {}/{}", found.len(), ENTRIES.len()));
    let query = line(sign, shown, width);
    let cursor = (rows.len(), query.cursor.1);
    rows.extend(query.rows);
    Picture { rows, wraps: false, cursor, hides_cursor: false }
}

/// The entries that contain this text, best first.
pub(super) fn matches(query: &str) -> Vec<&'static str> {
    ENTRIES.into_iter().filter(|entry| entry.contains(query)).collect()
}

pub(super) fn of_question(form: Form, marked: usize) -> Picture {
    let mark = |at: usize| if at == marked { '❯' } else { ' ' };
    let rows = match form {
        Form::Menu | Form::Numbered => vec![
            "Run on production?".to_owned(),
            format!("{} 1. Yes", mark(0)),
            format!("{} 2. No", mark(1)),
            "  Esc to cancel".to_owned(),
        ],
        Form::SingleKey => vec!["Overwrite the file? [y/n] ".to_owned()],
    };
    let cursor = match form {
        Form::Menu | Form::Numbered => (1 + marked, 0),
        Form::SingleKey => (0, columns(&rows[0])),
    };
    Picture { rows, wraps: false, cursor, hides_cursor: form != Form::SingleKey }
}
