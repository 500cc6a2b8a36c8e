//! Conversations that come back after crashes at any moment, with foreign and new conversations in between.

use super::agent::{Agent, Session, WORK};
use super::model::Model;
use crate::chance::Chance;
use crate::support::{DropIn, Supervised, events_since, forge, journal_cursor, run, wait_for};
use serde_json::Value;
use std::time::Duration;

/// These variables make a run longer, or repeat its random choices. They count when the tests are built: the test
/// itself runs in a login of its own.
const CRASHES: Option<&str> = option_env!("FORGE_AGENT_CRASHES");
const SEED: Option<&str> = option_env!("FORGE_AGENT_SEED");

/// forge counts failures, and pauses longer after each: here a crash is not a failure.
const UNLIMITED: &str = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestartSec=50ms\n";

/// The text that begins another conversation.
fn another(agent: &Agent) -> &'static str {
    match agent.name {
        "codex" => "/new",
        _ => "/clear",
    }
}

/// The arguments with which the agent answers one text and ends.
fn once(agent: &Agent) -> &'static [&'static str] {
    match agent.name {
        "codex" => &["codex", "exec", "--skip-git-repo-check"],
        _ => &["claude", "-p"],
    }
}

/// A session that is known by its program alone, without any pattern.
struct Talk<'a> {
    agent: &'a Agent,
    it: Supervised,
    session: Session,
    model: Model,
}

impl<'a> Talk<'a> {
    #[track_caller]
    fn start(agent: &'a Agent) -> Self {
        let model = agent.settled();
        let mut options = vec!["--cwd", WORK, "--ready-timeout", "60"];
        for variable in agent.variables() {
            options.extend(["--env", variable]);
        }
        // The profile adds the argument against the daemon.
        let command: Vec<&str> =
            agent.command.iter().copied().filter(|word| *word != "--no-daemon").collect();
        let it = Supervised::spawn("talk", &options, &command);
        Self { agent, it, session: Session { name: "talk" }, model }
    }

    fn program(&self) -> u64 {
        let status = self.it.status();
        let runs = status["state"] == "running" && status["supervised"] == true;
        status["pane_pid"].as_u64().filter(|_| runs).unwrap_or(0)
    }

    /// Sends a text; waits until the model has heard it.
    #[track_caller]
    fn says(&self, text: &str) {
        let ran = self.session.send(&[text]);
        assert_eq!(ran.json()["result"], "submitted", "{ran}\n{}", self.session.screen());
        self.model.hears(text);
    }

    /// Begins another conversation in the same process.
    #[track_caller]
    fn begins_another(&self) {
        self.session.rests();
        let ran = self.session.send(&[another(self.agent)]);
        assert_eq!(ran.code, 0, "{ran}");
        self.session.rests();
    }

    /// Has another process of the agent, which belongs to no session, hold a conversation in the same directory.
    #[track_caller]
    fn is_disturbed(&self, text: &str) {
        let variables: Vec<&str> = self.agent.variables().collect();
        let once = [&["env", "-C", WORK][..], &variables, once(self.agent), &[text]].concat();
        let ran = run(&once);
        assert_eq!(ran.code, 0, "{ran}");
    }

    /// Kills the agent, and waits until it is back. Returns the event of the restart.
    #[track_caller]
    fn crashes(&self) -> Value {
        let (before, cursor) = (self.program(), journal_cursor());
        run(&["kill", "-KILL", &before.to_string()]).ok();
        wait_for(Duration::from_secs(90), "the agent to be back", || {
            // The pauses before restarts grow; a poke ends each.
            forge(&["poke", "talk"]);
            (![0, before].contains(&self.program())).then_some(())
        });
        self.session.rests();
        let events = events_since(&cursor);
        let restarted = events.iter().find(|event| event["FORGE_EVENT"] == "restarted");
        restarted.cloned().unwrap_or_else(|| panic!("no restart: {events:#?}"))
    }
}

pub(crate) fn crashes(agent: &Agent) {
    let number =
        |text: Option<&str>, otherwise| text.map_or(otherwise, |text| text.parse().expect("a number"));
    let (seed, crashes) = (number(SEED, 1), number(CRASHES, 8));
    println!("FORGE_AGENT_SEED={seed} FORGE_AGENT_CRASHES={crashes}");
    let mut chance = Chance(seed);
    let _settings = DropIn::new("talk", UNLIMITED);
    let talk = Talk::start(agent);
    // The last text of the present conversation, if it has one.
    let mut last: Option<String> = None;
    let (mut resumed, mut fresh) = (0, 0);
    for round in 0..crashes {
        if chance.one_in(3) {
            talk.begins_another();
            last = None;
        }
        if chance.one_in(3) {
            talk.is_disturbed(&format!("foreign-{round}: hello"));
        }
        if !chance.one_in(4) {
            let text = format!("talk-{round}: hello");
            talk.says(&text);
            last = Some(text);
        }
        std::thread::sleep(Duration::from_millis(chance.below(1_500) as u64));
        let restarted = talk.crashes();
        let check = format!("check-{round}: what did I say last?");
        talk.says(&check);
        let said = talk.model.said_with(&check);
        let story = format!("round {round}: {last:?} before, {restarted:#}\nthe model heard: {said:?}");
        assert!(!said.iter().any(|text| text.contains("foreign-")), "{story}");
        match (&last, restarted["FORGE_FRESH"].as_str()) {
            (_, Some(_)) if last.is_none() => fresh += 1,
            (Some(text), None) => {
                assert!(said.iter().any(|said| said.contains(text)), "{story}");
                resumed += 1;
            }
            // A conversation without a text: either way is right.
            (None, None) => resumed += 1,
            (Some(_), Some(why)) => panic!("begun afresh although there was a conversation: {why}\n{story}"),
            (None, Some(_)) => unreachable!(),
        }
        last = Some(check);
    }
    println!("{}: {crashes} crashes, {resumed} resumed, {fresh} begun afresh", agent.name);
    drop(talk.it);
    forge(&["stop", "talk"]);
}
