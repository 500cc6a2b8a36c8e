//! A program that reads typed input and keeps an exact log of it. It imitates the input box of an agent, a
//! prompt, a list or a password prompt, with their questions, pauses and pastes.
//!
//! It runs in a session's pane as `machine --input-box LOG OPTIONS`, OPTIONS being the JSON of [`Options`].
//! On SIGUSR1 it logs the contents of the box. On SIGUSR2 it starts again, with a new log and the options in
//! `LOG.next`.

mod keys;
mod lines;
pub(crate) mod log;
pub(crate) mod options;
mod picture;
pub(crate) mod played;
mod player;
mod question;
mod region;
mod terminal;
mod text;

use crate::chance::Chance;
use lines::Lines;
use log::{Event, Log};
use options::Options;
use player::Player;
use signal_hook::consts::{SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::flag;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use terminal::Terminal;

/// The argument that selects this program.
pub(crate) const INPUT_BOX: &str = "--input-box";

/// The reason why a run ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Again,
    Terminated,
    Hangup,
}

/// The requests that signals made.
struct Signals {
    standing: Arc<AtomicBool>,
    again: Arc<AtomicBool>,
    terminated: Arc<AtomicBool>,
}

impl Signals {
    fn handle() -> std::io::Result<Self> {
        let it = Self { standing: Arc::default(), again: Arc::default(), terminated: Arc::default() };
        flag::register(SIGUSR1, Arc::clone(&it.standing))?;
        flag::register(SIGUSR2, Arc::clone(&it.again))?;
        flag::register(SIGTERM, Arc::clone(&it.terminated))?;
        Ok(it)
    }

    fn take_standing(&self) -> bool {
        self.standing.swap(false, Ordering::SeqCst)
    }

    fn end(&self) -> Option<End> {
        if self.terminated.load(Ordering::SeqCst) {
            Some(End::Terminated)
        } else {
            self.again.swap(false, Ordering::SeqCst).then_some(End::Again)
        }
    }
}

pub(crate) fn main(args: &[String]) -> i32 {
    let [_, log, options] = args else {
        eprintln!("usage: {INPUT_BOX} LOG OPTIONS");
        return 2;
    };
    match play(log, options) {
        Ok(()) => 0,
        Err(reason) => {
            eprintln!("{reason}");
            1
        }
    }
}

fn play(path: &str, options: &str) -> Result<(), String> {
    let mut options = Options::parse(options)?;
    let signals = Signals::handle().map_err(|error| format!("signals: {error}"))?;
    let terminal = Terminal::open().map_err(|error| format!("no terminal: {error}"))?;
    loop {
        terminal.discard_input();
        // The history, and the contents that the alternate screen hid, are cleared too.
        terminal.write("\x1b[2J\x1b[3J\x1b[H");
        let mut log = Log::create(Path::new(path)).map_err(|error| format!("{path}: {error}"))?;
        log.write(Event::Started { pid: std::process::id() });
        let end = run(&options, &terminal, &mut log, &signals);
        if end == End::Hangup {
            log.write(Event::Hangup);
        }
        if end != End::Again {
            return Ok(());
        }
        let next = format!("{path}.next");
        let text = std::fs::read_to_string(&next).map_err(|error| format!("{next}: {error}"))?;
        options = Options::parse(&text)?;
    }
}

fn run(options: &Options, terminal: &Terminal, log: &mut Log, signals: &Signals) -> End {
    if options.kind.is_canonical() {
        let chance = Chance(options.seed);
        Lines { options, terminal, log, rest: Vec::new(), received: 0, chance }.play(signals)
    } else {
        Player::new(options, terminal, log).play(signals)
    }
}
