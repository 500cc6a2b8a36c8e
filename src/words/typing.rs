//! Text that is typed into a program.

/// The most that is sent to tmux at once, in bytes: longer pieces were seen to lose keys.
pub const PIECE: usize = 512;

/// The text without control characters, which a terminal would take for keys; a line break or a
/// tab inside becomes a space, so that one text stays one entry.
pub fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.trim_end_matches(['\n', '\r']).chars() {
        match c {
            '\n' | '\r' | '\t' => clean.push(' '),
            c if c.is_control() => {}
            c => clean.push(c),
        }
    }
    clean
}

/// The text in pieces of at most [`PIECE`] bytes, none of which breaks a character.
pub fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut end = rest.len().min(PIECE);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (piece, tail) = rest.split_at(end);
        pieces.push(piece);
        rest = tail;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_hides_in_a_text() {
        assert_eq!(clean("a\u{1b}[31mb\u{3}\nc\td\r\n"), "a[31mb c d");
        assert_eq!(clean("путь ❯"), "путь ❯");
    }

    #[test]
    fn pieces_join_to_the_text() {
        let text = "ж".repeat(1000);
        let pieces = pieces(&text);
        assert_eq!(pieces.concat(), text);
        assert!(pieces.iter().all(|piece| piece.len() <= PIECE));
        assert!(super::pieces("").is_empty());
    }
}
