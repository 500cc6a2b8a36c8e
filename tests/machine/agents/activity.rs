//! The activity that forge shows while an agent works, asks and waits for its user.

use super::agent::{Agent, Session};
use crate::support::forge_json;
use std::time::{Duration, Instant};

/// The text that makes the agent ask whether it may run a command.
const ASK: &str = "TOOL rm -rf /home/ada/work/nothing";

/// An agent ignores keys right after it has drawn its question.
const TAKES_KEYS: Duration = Duration::from_secs(2);

/// A session, and the longest time that forge took to show a change.
struct Watched<'a> {
    session: &'a Session,
    slowest: Duration,
}

impl Watched<'_> {
    fn activity(&self) -> String {
        forge_json(&["status", self.session.name])["activity"].as_str().expect("a word").to_owned()
    }

    /// Waits until forge shows this activity, and asserts that it goes on showing it.
    #[track_caller]
    fn becomes(&mut self, wanted: &str) {
        let begin = Instant::now();
        while self.activity() != wanted {
            let screen = || format!("not {wanted}, but {}:\n{}", self.activity(), self.session.screen());
            assert!(begin.elapsed() < Duration::from_secs(30), "{}", screen());
            std::thread::sleep(Duration::from_millis(50));
        }
        self.slowest = self.slowest.max(begin.elapsed());
        for _ in 0..8 {
            std::thread::sleep(Duration::from_millis(100));
            let now = self.activity();
            assert_eq!(now, wanted, "{}", self.session.screen());
        }
    }
}

pub(crate) fn turns(agent: &Agent) {
    let model = agent.settled();
    let session = agent.session();
    session.rests();
    let mut watched = Watched { session: &session, slowest: Duration::ZERO };
    watched.becomes("idle");
    for round in 0..agent.rounds {
        model.hold();
        let text = format!("turn-{round}: hello");
        session.send(&[&text]).ok();
        model.hears(&text);
        watched.becomes("working");
        model.go_on();
        watched.becomes("idle");
        if round % 4 == 0 {
            session.send(&[ASK]).ok();
            watched.becomes("asking");
            std::thread::sleep(TAKES_KEYS);
            session.send(&["--key", "Escape"]).ok();
            // Some agents tell the model that their user has declined.
            model.answers();
            session.rests();
            watched.becomes("idle");
        }
    }
    println!(
        "{}: {} turns; a change was shown after {:.1?} at most",
        agent.name, agent.rounds, watched.slowest
    );
}
