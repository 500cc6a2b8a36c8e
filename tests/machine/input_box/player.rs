//! The programs that read raw keys: their loop, their box, their questions.

use super::keys::{Decoder, Key};
use super::log::{Event, Log};
use super::options::{Kind, Options, Question, When};
use super::picture;
use super::question::{Outcome, Shown};
use super::region::Region;
use super::terminal::{Received, Terminal};
use super::text::Text;
use super::{End, Signals};
use crate::chance::Chance;
use std::time::{Duration, Instant};

/// A TUI draws at most 60 pictures per second.
const FRAME: Duration = Duration::from_millis(16);

/// Keys with shorter gaps than this are a fast run, from this many keys on. Agents were seen to count this
/// way, with shorter gaps.
const RUN_GAP: Duration = Duration::from_millis(30);
const RUN: usize = 3;

/// A lone ESC is the key Escape after this long.
const ESCAPE: Duration = Duration::from_millis(50);

pub(super) struct Player<'a> {
    options: &'a Options,
    terminal: &'a Terminal,
    log: &'a mut Log,
    decoder: Decoder,
    text: Text,
    region: Region,
    changed: bool,
    last_frame: Option<Instant>,
    /// The one question, until its moment comes.
    to_ask: Option<Question>,
    asked: Option<Shown>,
    /// The time when the question is due, once known.
    due: Option<Instant>,
    received: u64,
    last_byte: Instant,
    last_key: Instant,
    /// How many keys the current fast run has.
    run: usize,
    chance: Chance,
    busy_at: Option<Instant>,
    busy_until: Option<Instant>,
    working: Option<Instant>,
    /// The lines that the next picture prints above the box.
    said: Vec<String>,
}

impl<'a> Player<'a> {
    pub(super) fn new(options: &'a Options, terminal: &'a Terminal, log: &'a mut Log) -> Self {
        let now = Instant::now();
        let mut chance = Chance(options.seed);
        Self {
            options,
            terminal,
            log,
            decoder: Decoder::new(options.kind == Kind::Bracketed),
            text: Text::typed(&options.standing),
            region: Region::default(),
            changed: true,
            last_frame: None,
            to_ask: options.question,
            asked: None,
            due: None,
            received: 0,
            last_byte: now,
            last_key: now,
            run: 0,
            busy_at: next_busy(options, &mut chance, now),
            chance,
            busy_until: None,
            working: None,
            said: Vec::new(),
        }
    }

    pub(super) fn play(&mut self, signals: &Signals) -> End {
        self.terminal.raw();
        let is_bracketed = self.options.kind == Kind::Bracketed;
        let on = |on, sequence| if on { sequence } else { "" };
        self.terminal.write(on(self.options.alternate, "\x1b[?1049h\x1b[H"));
        self.terminal.write(on(is_bracketed, "\x1b[?2004h"));
        if matches!(self.to_ask, Some(Question { when: When::Start, .. })) {
            self.ask(0);
        }
        let end = self.rounds(signals);
        self.terminal.write(on(is_bracketed, "\x1b[?2004l"));
        self.terminal.write(on(self.options.alternate, "\x1b[?1049l"));
        end
    }

    fn rounds(&mut self, signals: &Signals) -> End {
        loop {
            if let Some(end) = signals.end() {
                return end;
            }
            let now = Instant::now();
            if self.is_busy(now) {
                std::thread::sleep(Duration::from_millis(2));
                continue;
            }
            self.clocks(now);
            // The contents are known once all input is read.
            if self.terminal.pending() == 0 && signals.take_standing() {
                self.log.write(Event::Standing {
                    text: self.text.content(),
                    question: self.asked.is_some(),
                    received: self.received,
                });
            }
            self.draw(now);
            match self.terminal.read(self.wait(now)) {
                Received::Bytes(bytes) => self.bytes(&bytes),
                Received::Nothing => {}
                Received::Hangup => return End::Hangup,
            }
            if self.last_byte.elapsed() > ESCAPE
                && let Some(key) = self.decoder.quiet()
            {
                self.key(&key, false);
            }
        }
    }

    /// Whether the program currently neither reads nor draws.
    fn is_busy(&mut self, now: Instant) -> bool {
        if self.busy_at.is_some_and(|at| at <= now) {
            self.be_busy(now);
            self.busy_at = next_busy(self.options, &mut self.chance, now);
        }
        self.busy_until.is_some_and(|until| now < until)
    }

    fn be_busy(&mut self, now: Instant) {
        let ms = self.options.busy.for_ms;
        self.log.write(Event::Busy { ms });
        self.busy_until = Some(now + Duration::from_millis(ms));
    }

    /// Handles events that time alone causes.
    fn clocks(&mut self, now: Instant) {
        if let Some(Question { when: When::Quiet(ms), .. }) = self.to_ask {
            let due = self.last_byte + Duration::from_millis(ms);
            self.due = (!self.text.is_empty() && self.received > 0).then_some(due);
        }
        if self.due.is_some_and(|due| due <= now) {
            self.ask(0);
        }
        if self.asked.as_ref().is_some_and(|asked| asked.end() <= now) {
            self.log.write(Event::Cancelled { by: "time".to_owned() });
            self.asked = None;
            self.changed = true;
        }
        if let Some(until) = self.working {
            self.changed = true;
            if until <= now {
                self.working = None;
                self.said.push("● done".to_owned());
            }
        }
    }

    /// How long to wait for bytes.
    fn wait(&self, now: Instant) -> Duration {
        // Signals and clocks without a due time are checked this often.
        let mut wait = Duration::from_millis(20);
        if self.changed {
            wait =
                self.last_frame.map_or(Duration::ZERO, |last| (last + FRAME).saturating_duration_since(now));
        }
        for moment in [self.due, self.asked.as_ref().map(Shown::end), self.busy_at].into_iter().flatten() {
            wait = wait.min(moment.saturating_duration_since(now));
        }
        // Rounded up: poll counts in milliseconds, and 0 would not wait.
        wait.max(Duration::from_millis(1))
    }

    fn draw(&mut self, now: Instant) {
        if self.changed && self.last_frame.is_none_or(|last| last + FRAME <= now) {
            self.draw_now(now);
        }
    }

    fn draw_now(&mut self, now: Instant) {
        let said = std::mem::take(&mut self.said);
        if !said.is_empty() {
            self.region.print(self.terminal, &said);
        }
        let mut picture = match &self.asked {
            Some(asked) => picture::of_question(asked.question.form, asked.marked),
            None => picture::of_box(self.options, &self.text, self.terminal.size()),
        };
        if let Some(until) = self.working.filter(|_| self.asked.is_none()) {
            let left = until.saturating_duration_since(now).as_millis();
            let spinner = ['✢', '✳', '✶', '✻'][usize::try_from(left / 100 % 4).unwrap_or(0)];
            picture.rows.insert(0, format!("{spinner} Working… ({left} ms left, esc to interrupt)"));
            picture.cursor.0 += 1;
            if picture.wraps {
                picture.rows[0].push_str("\r\n");
            }
        }
        self.region.paint(self.terminal, &picture);
        self.changed = false;
        if self.last_frame.replace(now).is_none() {
            self.log.write(Event::Drawn);
            if let Some(Question { when: When::Time(ms), .. }) = self.to_ask {
                self.due = Some(now + Duration::from_millis(ms));
            }
        }
    }

    /// Shows the question; of the bytes of one read, this many are not handled yet.
    fn ask(&mut self, unhandled: u64) {
        self.due = None;
        let Some(question) = self.to_ask.take() else { return };
        let pending = unhandled + self.terminal.pending();
        // Logged first: from here on a key may reach the question.
        self.log.write(Event::Question { pending });
        self.asked = Some(Shown::new(question, pending));
        self.draw_now(Instant::now());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.last_byte = Instant::now();
        for (at, byte) in bytes.iter().enumerate() {
            self.received += 1;
            let pending = self.asked.as_mut().is_some_and(Shown::byte_was_pending);
            if let Some(key) = self.decoder.push(*byte) {
                self.key(&key, pending);
            }
            if matches!(self.to_ask, Some(Question { when: When::Byte(n), .. }) if n == self.received) {
                self.ask((bytes.len() - at - 1) as u64);
            }
        }
    }

    fn key(&mut self, key: &Key, pending: bool) {
        self.changed = true;
        if let Some(asked) = &mut self.asked {
            let log = &mut *self.log;
            if asked.key(key, pending, &mut |event| log.write(event)) == Outcome::Over {
                self.asked = None;
                self.said.push("the question is over".to_owned());
            }
            return;
        }
        let now = Instant::now();
        let since = now.saturating_duration_since(std::mem::replace(&mut self.last_key, now));
        match key {
            Key::Character(c) => {
                self.run = if since < RUN_GAP { self.run + 1 } else { 1 };
                self.text.push(c.encode_utf8(&mut [0; 4]));
            }
            Key::Paste(text) => {
                self.run = RUN;
                self.text.paste(text, self.options.chip);
            }
            Key::Enter => self.enter(since),
            Key::Named(name) => self.named(name),
        }
    }

    fn enter(&mut self, since_last_key: Duration) {
        let window = Duration::from_millis(self.options.paste_window_ms);
        if self.run >= RUN && since_last_key < window {
            self.log.write(Event::LineBreak);
            self.text.push("\n");
            return;
        }
        self.run = 0;
        let text = self.text.content().trim_end_matches('\n').to_owned();
        if text.is_empty() {
            self.log.write(Event::Key { key: "Enter".to_owned() });
            return;
        }
        self.text.clear();
        self.log.write(Event::Submitted { lines: text.split('\n').count(), text: text.clone() });
        self.submitted(&text, Instant::now());
    }

    /// Handles a submitted text; a busy program draws all of it later.
    fn submitted(&mut self, text: &str, now: Instant) {
        let mut next = now;
        if self.options.busy.at_enter {
            self.be_busy(now);
            next += Duration::from_millis(self.options.busy.for_ms);
        }
        if let Some(Question { when: When::Enter(ms), .. }) = self.to_ask {
            self.due = Some(next + Duration::from_millis(ms));
        }
        if self.options.work_ms > 0 {
            self.working = Some(next + Duration::from_millis(self.options.work_ms));
        }
        self.said.push(accepted_line(self.options, text));
    }

    fn named(&mut self, name: &str) {
        match name {
            "BSpace" | "C-h" => self.text.delete(),
            "C-u" => self.text.delete_line(),
            "C-c" => self.text.clear(),
            "C-j" if self.options.kind == Kind::Bracketed => self.text.push("\n"),
            _ => {}
        }
        self.log.write(Event::Key { key: name.to_owned() });
    }
}

fn next_busy(options: &Options, chance: &mut Chance, now: Instant) -> Option<Instant> {
    let every = usize::try_from(options.busy.every_ms).unwrap_or(usize::MAX);
    (every > 0).then(|| now + Duration::from_millis(options.busy.for_ms + chance.below(2 * every) as u64))
}

/// The printed form of a submitted text: enough to show that it was accepted. Agents print it behind the same
/// sign as their box.
fn accepted_line(options: &Options, text: &str) -> String {
    if options.kind == Kind::List {
        return format!("picked: {}", picture::matches(text).first().unwrap_or(&"nothing"));
    }
    let sign = options.sign.filter(|_| options.kind == Kind::Bracketed).unwrap_or('«');
    let first: String = text.lines().next().unwrap_or_default().chars().take(30).collect();
    format!("{sign} {first}")
}
