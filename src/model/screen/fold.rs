//! Screens without spinners, clocks and counters. A program that hangs can go on drawing those for ever, so a
//! screen that differs only in them is not a sign of life.

use std::hash::{DefaultHasher, Hash, Hasher};

/// The most dots in a row that count as a spinner (`Thinking...`). More dots are progress: test runners print one
/// for each test.
const DOTS: usize = 3;

/// The longest unit after a number: `ms`, `KiB`.
const UNIT: usize = 3;

/// The screen with all numbers made equal, and without spinners and the spaces around them. Two screens that
/// differ only in spinners, clocks and counters become the same text.
pub fn folded(screen: &str) -> String {
    screen.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// A hash of the text, for comparison. Other releases of forge may compute other hashes.
pub fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

fn line(line: &str) -> String {
    let chars: Vec<char> = line.chars().collect();
    let mut folded = String::with_capacity(line.len());
    // Several spaces become one, and so do several adjacent numbers (1m 5s).
    let (mut blank, mut at) = (false, 0);
    while let Some(&c) = chars.get(at) {
        let length = number(&chars, at);
        if length > 0 {
            if !folded.ends_with('0') {
                separate(&mut folded, blank);
                folded.push('0');
            }
            (blank, at) = (false, at + length);
            continue;
        }
        let dots = chars.iter().skip(at).take_while(|c| **c == '.').count();
        let ticks = if dots > 0 { dots * usize::from(dots <= DOTS) } else { usize::from(ticks(&chars, at)) };
        if ticks > 0 || c.is_whitespace() {
            // A blinking spinner leaves a space.
            (blank, at) = (true, at + ticks.max(1));
            continue;
        }
        separate(&mut folded, blank);
        let taken = dots.max(1);
        folded.extend(chars.iter().skip(at).take(taken));
        (blank, at) = (false, at + taken);
    }
    folded
}

fn separate(folded: &mut String, blank: bool) {
    if blank && !folded.is_empty() {
        folded.push(' ');
    }
}

/// The length of the number that begins at `at`, with its unit: `59`, `1:02`, `12.5%`, `3KiB`.
fn number(chars: &[char], at: usize) -> usize {
    let is_digit = |at: usize| chars.get(at).is_some_and(char::is_ascii_digit);
    let mut end = at;
    while is_digit(end) || (end > at && is_digit(end + 1) && matches!(chars[end], '.' | ',' | ':' | '/')) {
        end += 1;
    }
    if end == at {
        return 0;
    }
    let unit = chars.iter().skip(end).take_while(|c| c.is_alphabetic()).count();
    let is_unit = unit <= UNIT
        && chars[end..end + unit].iter().all(|c| "smhdnµkKMGTiBb".contains(*c))
        && !is_digit(end + unit);
    if is_unit {
        end += unit;
    }
    end - at + usize::from(chars.get(end) == Some(&'%'))
}

/// Whether the character is a frame of a spinner.
fn ticks(chars: &[char], at: usize) -> bool {
    let c = chars[at];
    match c {
        // Braille patterns; asterisks and stars (✢ ✳ ✶ ✻ ✽); partly filled circles and squares
        // (◐ ◓ ◑ ◒ ◜ ◠ ◰ ◴); quarters of blocks (▖ ▘ ▝ ▗); blinking dots; clock faces and phases of the
        // moon.
        '\u{2800}'..='\u{28ff}'
        | '\u{2720}'..='\u{274b}'
        | '\u{25d0}'..='\u{25d7}'
        | '\u{25dc}'..='\u{25e1}'
        | '\u{25f0}'..='\u{25f7}'
        | '\u{2596}'..='\u{259f}'
        | '·'
        | '•'
        | '∙'
        | '●'
        | '○'
        | '◉'
        | '⏺'
        | '…'
        | '\u{1f550}'..='\u{1f567}'
        | '\u{1f311}'..='\u{1f318}' => true,
        '*' | '|' | '/' | '-' | '\\' => {
            let stands_apart = |at: Option<usize>| {
                let beside = at.and_then(|at| chars.get(at));
                beside.is_none_or(|c| !c.is_alphanumeric() && !"*|/-\\".contains(*c))
            };
            stands_apart(at.checked_sub(1)) && stands_apart(Some(at + 1))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(a: &str, b: &str) -> bool {
        folded(a) == folded(b)
    }

    #[test]
    fn spinners_are_folded() {
        for frames in ["⠋⠙⠹⠸", "|/-\\", "✻✶✳✢·*", "◐◓◑◒", "◴◷◶◵", "▖▘▝▗", "●○", "⏺ ", "🕐🕑🕛", "🌑🌘", "⣾⣽"]
        {
            let frames: Vec<char> = frames.chars().collect();
            for text in ["? Working", "Working ?", "[?] Working", "(?)", "?", "  ?  a"] {
                for frame in &frames {
                    let [a, b] = [*frame, frames[0]].map(|frame| text.replace('?', &frame.to_string()));
                    assert!(same(&a, &b), "'{a}' and '{b}'");
                }
            }
        }
        assert!(
            same("Thinking", "Thinking...")
                && same("Thinking.", "Thinking..")
                && same("Thinking…", "Thinking")
        );
    }

    #[test]
    fn clocks_and_counters_are_folded() {
        for (a, b) in [
            ("12:59:59", "1:00:00"),
            ("(esc to interrupt · 9s)", "(esc to interrupt · 10s)"),
            ("59s", "1m 0s"),
            ("1m 5s", "1h 12m 3s"),
            ("99 of 1000", "100 of 1000"),
            ("  9%", "100%"),
            ("999 tokens", "1.2k tokens"),
            ("5 MiB/s", "12.5 MiB/s"),
            ("3/10 done", "10/10 done"),
            ("2026-11-27", "2026-11-28"),
        ] {
            assert!(same(a, b), "'{}' and '{}'", folded(a), folded(b));
        }
    }

    #[test]
    fn words_and_progress_bars_are_not_folded() {
        for (a, b) in [
            ("compiling a", "compiling b"),
            ("....", "....."),
            ("[##  ]", "[### ]"),
            ("a\nb", "b\na"),
            ("x/y", "x-y"),
            ("", "x"),
            ("done 1 file", "done 1 file, failed 1"),
            ("3rd", "3th"),
        ] {
            assert!(!same(a, b), "'{a}' and '{b}'");
        }
    }
}
