//! Conversations that come back after crashes at any moment, with foreign and new conversations in between.

use super::agent::{Agent, Session, WORK};
use super::model::Model;
use crate::chance::Chance;
use crate::support::{DropIn, Supervised, events_since, forge, journal_cursor, run, wait_for};
use std::time::Duration;

/// These variables make a run longer, or repeat its random choices. They count when the tests are built: the test
/// itself runs in a login of its own.
const CRASHES: Option<&str> = option_env!("FORGE_AGENT_CRASHES");
const SEED: Option<&str> = option_env!("FORGE_AGENT_SEED");

/// forge counts failures, and pauses longer after each: here a crash is not a failure.
const UNLIMITED: &str = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestartSec=50ms\n";

/// The text that begins another conversation.
fn another(agent: &Agent) -> &'static str {
    if agent.name == "codex" { "/new" } else { "/clear" }
}

/// The arguments with which the agent answers one text and ends.
fn once(agent: &Agent) -> &'static [&'static str] {
    match agent.name {
        "codex" => &["codex", "exec", "--skip-git-repo-check"],
        "gemini" => &["gemini", "--model", "gemini-2.5-pro", "-p"],
        "qwen" => &["qwen", "-p"],
        "copilot" => &["copilot", "-p"],
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

    /// Kills the agent, and waits until it is back. Returns why it has begun afresh, if it has.
    #[track_caller]
    fn crashes(&self) -> Option<String> {
        let (before, cursor) = (self.program(), journal_cursor());
        run(&["kill", "-KILL", &before.to_string()]).ok();
        wait_for(Duration::from_secs(90), "the agent to be back", || {
            // The pauses before restarts grow; a poke ends each.
            forge(&["poke", "talk"]);
            (![0, before].contains(&self.program())).then_some(())
        });
        self.session.rests();
        let events = events_since(&cursor);
        let spawned = events.iter().rfind(|event| event["FORGE_EVENT"] == "spawned");
        let spawned = spawned.unwrap_or_else(|| panic!("not spawned: {events:#?}"));
        spawned["FORGE_FRESH"].as_str().map(ToOwned::to_owned)
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
    // The texts of the present conversation.
    let mut present: Vec<String> = Vec::new();
    let (mut resumed, mut fresh) = (0, Vec::new());
    for round in 0..crashes {
        if chance.one_in(3) {
            talk.begins_another();
            present.clear();
        }
        if chance.one_in(3) {
            talk.is_disturbed(&format!("foreign-{round}: hello"));
        }
        if !chance.one_in(4) {
            let text = format!("talk-{round}: hello");
            talk.says(&text);
            present.push(text);
        }
        std::thread::sleep(Duration::from_millis(chance.below(1_500) as u64));
        let why = talk.crashes();
        let check = format!("check-{round}: what did I say?");
        talk.says(&check);
        let said = talk.model.said_with(&check);
        let story = format!("round {round}: {present:?} before, fresh: {why:?}\nthe model heard: {said:?}");
        let is_present = |said: &String| present.iter().any(|text| said.contains(text));
        let is_other = |said: &&String| {
            ["talk-", "check-", "foreign-"].iter().any(|name| said.starts_with(name))
                && !is_present(said)
                && !said.contains(&check)
        };
        assert_eq!(said.iter().find(is_other), None, "of another conversation; {story}");
        if let Some(why) = why {
            assert!(present.len() <= 1, "begun afresh; {story}");
            fresh.push(why);
            present.clear();
        } else {
            // The agents save a text some time after they have sent it: the last one may be lost.
            assert!(present.len() <= 1 || said.iter().any(is_present), "not resumed; {story}");
            resumed += 1;
        }
        present.push(check);
    }
    println!("{}: {crashes} crashes, {resumed} resumed, begun afresh: {fresh:#?}", agent.name);
    drop(talk.it);
    forge(&["stop", "talk"]);
}
