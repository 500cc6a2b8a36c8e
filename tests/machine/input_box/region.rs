//! The part of the screen that the program redraws, below its printed output.

use super::terminal::Terminal;
use std::fmt::Write as _;

/// The contents of the region, and its cursor.
pub(super) struct Picture {
    pub(super) rows: Vec<String>,
    /// The terminal itself wraps the line at its edge, as for readline.
    pub(super) wraps: bool,
    pub(super) cursor: (usize, usize),
    /// The cursor is at its position, but hidden.
    pub(super) hides_cursor: bool,
}

#[derive(Default)]
pub(super) struct Region {
    /// The row of the cursor, counted from the region's first row.
    cursor_row: usize,
}

impl Region {
    pub(super) fn paint(&mut self, terminal: &Terminal, picture: &Picture) {
        let mut out = self.erase();
        out.push_str(&picture.rows.join(if picture.wraps { "" } else { "\r\n" }));
        let (row, column) = picture.cursor;
        if picture.wraps && column == 0 && row == picture.rows.len() {
            // The cursor is behind the last column: a character moves it to the next row.
            out.push_str(" \r");
        } else {
            let up = picture.rows.len().saturating_sub(row + 1);
            if up > 0 {
                let _ = write!(out, "\x1b[{up}A");
            }
            let _ = write!(out, "\r\x1b[{}G", column + 1);
        }
        out.push_str(if picture.hides_cursor { "" } else { "\x1b[?25h" });
        self.cursor_row = row;
        terminal.write(&out);
    }

    /// Prints lines above the region, which must be painted again.
    pub(super) fn print(&mut self, terminal: &Terminal, lines: &[String]) {
        let mut out = self.erase();
        for line in lines {
            out.push_str(line);
            out.push_str("\r\n");
        }
        self.cursor_row = 0;
        terminal.write(&out);
    }

    fn erase(&self) -> String {
        let mut out = "\x1b[?25l".to_owned();
        if self.cursor_row > 0 {
            let _ = write!(out, "\x1b[{}A", self.cursor_row);
        }
        out.push_str("\r\x1b[J");
        out
    }
}
