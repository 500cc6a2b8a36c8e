//! A session whose program is the input box, as tests use it.

use super::log::{self, Entry, Event};
use super::options::Options;
use crate::support::{Session, forge, signal, spawn, wait_for};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

pub(crate) struct Played {
    pub(crate) name: String,
    log: String,
    _session: Session,
}

impl Played {
    /// Spawns the session with these options of `forge spawn`, and waits until something is drawn.
    #[track_caller]
    pub(crate) fn spawn(name: &str, options: &Options, spawn_options: &[&str]) -> Self {
        let log = format!("/tmp/{name}.log");
        let _ = std::fs::remove_file(&log);
        let argv = options.argv(&log);
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        let (session, _) = spawn(name, spawn_options, &argv);
        let it = Self { name: name.to_owned(), log, _session: session };
        it.drawn();
        it
    }

    /// Starts the same program again, with an empty log.
    #[track_caller]
    pub(crate) fn again(&self, options: &Options) {
        let pid = self.pid();
        std::fs::write(format!("{}.next", self.log), options.to_json()).expect("the next options");
        // The old log is removed first, so that no old entry is taken for a new one.
        std::fs::remove_file(&self.log).expect("the log");
        signal("USR2", pid);
        self.drawn();
    }

    #[track_caller]
    fn drawn(&self) {
        self.event("the first picture", |event| *event == Event::Drawn);
    }

    /// Waits for an event of this kind; returns the first one.
    #[track_caller]
    pub(crate) fn event(&self, what: &str, wanted: impl Fn(&Event) -> bool) -> Entry {
        wait_for(SOON, &format!("{what} of {}", self.name), || {
            self.log().into_iter().find(|entry| wanted(&entry.event))
        })
    }

    pub(crate) fn log(&self) -> Vec<Entry> {
        log::read(&self.log)
    }

    #[track_caller]
    pub(crate) fn pid(&self) -> u32 {
        let started = self.event("the start", |event| matches!(event, Event::Started { .. }));
        let Event::Started { pid } = started.event else { unreachable!() };
        pid
    }

    /// The texts that were submitted so far.
    pub(crate) fn submitted(&self) -> Vec<String> {
        submitted(&self.log())
    }

    /// The contents of the box once nothing more arrives.
    #[track_caller]
    pub(crate) fn standing(&self) -> String {
        let mut before = self.stands();
        loop {
            // tmux passes on as much as the program reads: buffered input arrives within this time.
            std::thread::sleep(Duration::from_millis(60));
            let now = self.stands();
            if now == before {
                return now.0;
            }
            before = now;
        }
    }

    /// The current contents of the box, and how many bytes the program has received.
    #[track_caller]
    fn stands(&self) -> (String, u64) {
        let of = |entry: &Entry| match &entry.event {
            Event::Standing { text, received, .. } => Some((text.clone(), *received)),
            _ => None,
        };
        let count = self.log().iter().filter_map(of).count();
        signal("USR1", self.pid());
        wait_for(SOON, &format!("what stands in {}", self.name), || {
            self.log().iter().filter_map(of).nth(count)
        })
    }

    pub(crate) fn screen(&self) -> String {
        forge(&["capture", &self.name]).stdout
    }

    /// Describes a failure: the log, with texts cut and only the first of many keys at a question.
    pub(crate) fn story(&self) -> String {
        let mut lines = Vec::new();
        let mut keys = 0;
        for entry in self.log() {
            keys = if matches!(entry.event, Event::QuestionKey { .. }) { keys + 1 } else { 0 };
            if keys == 5 {
                lines.push("          and more keys".to_owned());
            } else if keys < 5 {
                let (ms, us) = (entry.at_us / 1000, entry.at_us % 1000);
                let line = format!("{ms:6}.{us:03} ms {:?}", entry.event);
                lines.push(line.chars().take(300).collect());
            }
        }
        format!("--- the log of {}:\n{}\n--- its screen:\n{}", self.name, lines.join("\n"), self.screen())
    }
}

/// The texts that the log shows as submitted.
pub(crate) fn submitted(log: &[Entry]) -> Vec<String> {
    let text = |entry: &Entry| match &entry.event {
        Event::Submitted { text, .. } => Some(text.clone()),
        _ => None,
    };
    log.iter().filter_map(text).collect()
}
