//! The programs that leave line editing to the kernel: a password prompt, and the shell's `read`.

use super::log::{Event, Log};
use super::options::{Kind, Options, Question, When};
use super::terminal::{Received, Terminal};
use super::{End, Signals};
use crate::chance::Chance;
use std::time::{Duration, Instant};

pub(super) struct Lines<'a> {
    pub(super) options: &'a Options,
    pub(super) terminal: &'a Terminal,
    pub(super) log: &'a mut Log,
    /// Bytes of lines that were read together with the previous one.
    pub(super) rest: Vec<u8>,
    pub(super) received: u64,
    pub(super) chance: Chance,
}

impl Lines<'_> {
    pub(super) fn play(&mut self, signals: &Signals) -> End {
        let Err(end) = self.rounds(signals);
        end
    }

    fn rounds(&mut self, signals: &Signals) -> Result<std::convert::Infallible, End> {
        let mut to_ask = self.options.question;
        if to_ask.take_if(|question| question.when == When::Start).is_some() {
            self.ask(signals)?;
        }
        loop {
            let text = self.line(signals)?;
            self.log.write(Event::Submitted { lines: 1, text });
            let now = Instant::now();
            let is_busy = self.options.busy.at_enter || self.chance.one_in(3);
            let busy = if is_busy { self.options.busy.for_ms } else { 0 };
            if let Some(Question { when: When::Enter(ms), .. }) = to_ask {
                to_ask = None;
                self.pause(signals, now + Duration::from_millis(busy + ms))?;
                self.ask(signals)?;
            } else if busy > 0 {
                self.log.write(Event::Busy { ms: busy });
                self.pause(signals, now + Duration::from_millis(busy))?;
            }
        }
    }

    /// Prompts for a line and reads it.
    fn line(&mut self, signals: &Signals) -> Result<String, End> {
        let is_secret = self.options.kind == Kind::Password;
        self.terminal.canonical(!is_secret);
        self.terminal.write(if is_secret { "Password: " } else { "> " });
        self.log.write(Event::Drawn);
        let line = self.read(signals)?;
        if is_secret {
            self.terminal.write("\r\n");
        }
        Ok(line)
    }

    /// Prints a question and accepts any line as its answer.
    fn ask(&mut self, signals: &Signals) -> Result<(), End> {
        self.terminal.canonical(true);
        let pending = self.rest.len() as u64 + self.terminal.pending();
        self.log.write(Event::Question { pending });
        let since = Instant::now();
        self.terminal.write("Keep the data? [Y/n] ");
        let answer = self.read(signals)?;
        let since_us = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
        let pending = pending > 0;
        let key = "Enter".to_owned();
        self.log.write(Event::QuestionKey { key: key.clone(), since_us, pending });
        self.log.write(Event::Answered { answer, key, since_us, pending });
        Ok(())
    }

    fn read(&mut self, signals: &Signals) -> Result<String, End> {
        loop {
            if let Some(at) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=at).collect();
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            self.report_standing(signals)?;
            match self.terminal.read(Duration::from_millis(20)) {
                Received::Bytes(bytes) => {
                    self.received += bytes.len() as u64;
                    self.rest.extend(bytes);
                }
                Received::Nothing => {}
                Received::Hangup => return Err(End::Hangup),
            }
        }
    }

    /// Lets time pass without reading.
    fn pause(&mut self, signals: &Signals, until: Instant) -> Result<(), End> {
        while Instant::now() < until {
            self.report_standing(signals)?;
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn report_standing(&mut self, signals: &Signals) -> Result<(), End> {
        // The contents of the kernel's line editor can be neither read nor counted.
        if self.terminal.pending() == 0 && signals.take_standing() {
            let text = String::from_utf8_lossy(&self.rest).into_owned();
            self.log.write(Event::Standing { text, question: false, received: self.received });
        }
        signals.end().map_or(Ok(()), Err)
    }
}
