//! The text in the box, and its width.

use super::options::Chip;

/// The contents of the box. The cursor is always at the end.
#[derive(Default)]
pub(super) struct Text(Vec<Piece>);

enum Piece {
    Typed(String),
    Chip { text: String, label: String },
}

impl Text {
    pub(super) fn typed(text: &str) -> Self {
        let mut it = Self::default();
        it.push(text);
        it
    }

    pub(super) fn push(&mut self, text: &str) {
        match self.0.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Typed(typed)) => typed.push_str(text),
            _ => self.0.push(Piece::Typed(text.to_owned())),
        }
    }

    pub(super) fn paste(&mut self, text: &str, chip: Chip) {
        let breaks = text.matches('\n').count();
        let number = 1 + self.0.iter().filter(|piece| matches!(piece, Piece::Chip { .. })).count();
        let label = match chip {
            Chip::Lines if breaks > 2 => Some(format!("[Pasted text #{number} +{breaks} lines]")),
            Chip::Lines if text.len() > 800 => Some(format!("[Pasted text #{number}]")),
            Chip::Characters if text.chars().nth(1000).is_some() => {
                Some(format!("[Pasted Content {} chars]", text.chars().count()))
            }
            Chip::Either if breaks > 4 => Some(format!("[Pasted Text: {} lines]", breaks + 1)),
            Chip::Either if text.chars().nth(500).is_some() => {
                Some(format!("[Pasted Text: {} chars]", text.chars().count()))
            }
            _ => None,
        };
        match label {
            Some(label) => self.0.push(Piece::Chip { text: text.to_owned(), label }),
            None => self.push(text),
        }
    }

    /// Backspace: the last character, or the last chip.
    pub(super) fn delete(&mut self) {
        match self.0.last_mut() {
            Some(Piece::Typed(text)) => {
                text.pop();
            }
            Some(Piece::Chip { .. }) => drop(self.0.pop()),
            None => {}
        }
        self.0.retain(|piece| !matches!(piece, Piece::Typed(text) if text.is_empty()));
    }

    /// C-u: deletes to the beginning of the line, and from there the line break.
    pub(super) fn delete_line(&mut self) {
        if matches!(self.0.last(), Some(Piece::Typed(text)) if text.ends_with('\n')) {
            self.delete();
            return;
        }
        while let Some(piece) = self.0.pop() {
            if let Piece::Typed(text) = piece
                && let Some((before, _)) = text.rsplit_once('\n')
            {
                self.push(&format!("{before}\n"));
                return;
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The text itself.
    pub(super) fn content(&self) -> String {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Typed(text) | Piece::Chip { text, .. } => text.as_str(),
            })
            .collect()
    }

    /// The text as drawn.
    pub(super) fn shown(&self) -> String {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Typed(text) => text.as_str(),
                Piece::Chip { label, .. } => label.as_str(),
            })
            .collect()
    }
}

/// The columns of a character; it knows the wide ones that the tests use.
pub(super) fn width(c: char) -> usize {
    match c {
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{1f300}'..='\u{1faff}' => 2,
        '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{200d}' | '\u{fe00}'..='\u{fe0f}' => 0,
        _ => 1,
    }
}

pub(super) fn columns(text: &str) -> usize {
    text.chars().map(width).sum()
}

/// The end of a text that fits into this many columns.
pub(super) fn tail(text: &str, columns: usize) -> &str {
    let mut left = columns;
    let mut begin = text.len();
    for (at, c) in text.char_indices().rev() {
        let Some(rest) = left.checked_sub(width(c)) else { break };
        left = rest;
        begin = at;
    }
    &text[begin..]
}

/// A line in rows of at most this many columns; at least one row.
pub(super) fn wrap(line: &str, columns: usize) -> Vec<String> {
    let mut rows = vec![String::new()];
    let mut used = 0;
    for c in line.chars() {
        // A terminal chooses the width of a tab.
        let (drawn, width) = if c == '\t' { ("    ".to_owned(), 4) } else { (c.to_string(), width(c)) };
        if used + width > columns {
            rows.push(String::new());
            used = 0;
        }
        if let Some(row) = rows.last_mut() {
            row.push_str(&drawn);
        }
        used += width;
    }
    rows
}
