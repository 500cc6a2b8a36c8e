//! Questions of agents: whether a command may run, whether a folder is to be trusted. Neither a text nor
//! a nudge answers one.

use super::agent::{Agent, FOREIGN, Session, WORK};
use crate::support::{
    DropIn, Supervised, configured, events_since, forge, forge_json, journal_cursor, run, start,
};
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// The folder that the agent wants to remove.
const VICTIM: &str = "/home/ada/work/victim";

/// The text that makes the agent remove the folder.
const REMOVE: &str = "TOOL rm -rf /home/ada/work/victim";

/// An agent ignores keys right after it has drawn its question, to prevent accidental answers.
const TAKES_KEYS: Duration = Duration::from_secs(2);

#[track_caller]
fn victim() -> &'static Path {
    std::fs::create_dir_all(VICTIM).expect("the folder that is to stay");
    Path::new(VICTIM)
}

/// Whether the session asks a question.
#[track_caller]
fn is_asking(session: &Session, agent: &Agent) -> bool {
    let pattern = regex_lite::RegexBuilder::new(&agent.asking()).multi_line(true).build().expect("a pattern");
    pattern.is_match(&session.screen())
}

/// Waits until the session asks its question.
#[track_caller]
fn asks(session: &Session, agent: &Agent) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is_asking(session, agent) {
        assert!(Instant::now() < end, "no question:\n{}", session.screen());
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub(crate) fn texts(agent: &Agent) {
    let model = agent.settled();
    let session = agent.session();
    let folder = victim();
    session.send(&[REMOVE]).ok();
    asks(&session, agent);
    for text in ["wait, what is this?", "1", "y", "two\nlines"] {
        session.refuses("asking", &[text]);
    }
    session.refuses("asking", &["--key", "Enter"]);
    assert!(folder.exists(), "{}", session.screen());
    declined(&session, agent);
    assert!(folder.exists(), "{}", session.screen());
    session.send(&[REMOVE]).ok();
    asks(&session, agent);
    approved(&session, folder);
    model.answers();
    session.rests();
}

/// Approves what the agent asks about, and waits until the folder is gone.
#[track_caller]
fn approved(session: &Session, folder: &Path) {
    std::thread::sleep(TAKES_KEYS);
    let sent = session.send(&["--answer", "--key", "Enter"]).ok();
    let end = Instant::now() + Duration::from_secs(20);
    while folder.exists() {
        assert!(Instant::now() < end, "the folder is still there: {sent}\n{}", session.screen());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Declines the question: Escape needs no permission.
#[track_caller]
fn declined(session: &Session, agent: &Agent) {
    std::thread::sleep(TAKES_KEYS);
    session.send(&["--key", "Escape"]).ok();
    session.rests();
    assert!(!is_asking(session, agent), "{}", session.screen());
}

/// A text is being typed when the question appears.
pub(crate) fn race(agent: &Agent) {
    let model = agent.settled();
    let session = agent.session();
    let folder = victim();
    let (mut fates, mut asked) = (String::new(), 0);
    let rounds = agent.rounds as u64;
    for round in 0..rounds {
        let name = format!("race-{round}");
        model.hold();
        let options: &[&str] = if agent.replaces { &["--replace-input", REMOVE] } else { &[REMOVE] };
        session.send(options).ok();
        let text = format!("{name}: wait, what is this?");
        let early = start(&["forge", "--json", "send", agent.name, &text]);
        // Typing takes some time; the question appears at any moment of it.
        std::thread::sleep(Duration::from_millis(round * 1_200 / rounds));
        model.go_on();
        let ran = early.wait(Duration::from_secs(60));
        let said: serde_json::Value = ran.json();
        let fate = said["result"].as_str().or(said["error"]["kind"].as_str()).unwrap_or("?");
        let _ = write!(fates, " {fate}");
        // If the text reached the model first, there may be no question. The agent sends text queued behind a
        // question once the question is answered, and returns it when the question is declined.
        let submitted = fate == "submitted";
        // Some agents turn a spinner while they ask, so that their screens seldom rest.
        let end = Instant::now() + Duration::from_secs(90);
        while is_asking(&session, agent) || (submitted && model.times(&text) == 0) {
            assert!(Instant::now() < end, "round {round}: not submitted: {ran}\n{}", session.screen());
            session.rests();
            assert!(folder.exists(), "round {round}: {ran}\n{}", session.screen());
            if is_asking(&session, agent) {
                asked += 1;
                approved(&session, folder);
                victim();
            }
        }
        model.answers();
        session.rests();
        assert_eq!(model.times(&text), usize::from(submitted), "round {round}: {ran}");
    }
    println!("{}: {asked} questions in {rounds} rounds; the texts:{fates}", agent.name);
    assert!(asked > 0, "there was no question");
}

pub(crate) fn nudges(agent: &Agent) {
    agent.settled();
    let folder = victim();
    let _settings = DropIn::new("nudged", "[Service]\nWatchdogSec=3s\n");
    let _configuration = configured(&agent.section(
        "nudged",
        "stuck_after = 16\nstuck_by = ['output']\nnudge_text = 'go on'\nstuck_restart_after = 600\n",
    ));
    let it = Supervised::start("nudged");
    it.up();
    let session = Session { name: "nudged" };
    session.rests();
    let cursor = journal_cursor();
    session.send(&[REMOVE]).ok();
    asks(&session, agent);
    std::thread::sleep(Duration::from_secs(40));
    let kinds: Vec<String> =
        events_since(&cursor).iter().map(|event| event["FORGE_EVENT"].to_string()).collect();
    println!("{}: events while it asks: {kinds:?}", agent.name);
    assert!(folder.exists(), "{kinds:?}\n{}", session.screen());
    assert!(!kinds.iter().any(|kind| kind.contains("nudged")), "{kinds:?}");
    asks(&session, agent);
}

pub(crate) fn trust(agent: &Agent) {
    agent.settled();
    let trust = agent.trust.expect("an agent that asks whether a folder is trusted");
    let options = agent.spawned_in(FOREIGN);
    // The session is never ready: a text would go to the question.
    let args =
        [&["--json", "spawn", "trust"][..], &options, &["--ready-timeout", "3600", "--"], agent.command];
    let begin = Instant::now();
    let failed = forge(&args.concat()).code(1);
    println!("{}: the question failed the start after {:.1?}", agent.name, begin.elapsed());
    let error = &failed.json()["error"];
    assert_eq!(error["kind"], "asking", "{failed}");
    assert!(error["message"].as_str().expect("a message").contains(trust), "{failed}");
    forge(&["stop", "trust"]);
    // A session without a ready pattern shows the question, and no text answers it.
    let asking = agent.asking();
    let only = ["--agent", "generic", "--asking", &asking, "--"];
    forge_json(&[&["spawn", "trust"][..], &options, &only, agent.command].concat());
    let session = Session { name: "trust" };
    session.shows(trust);
    for text in ["yes", "1", "y"] {
        session.refuses("asking", &[text]);
    }
    session.shows(trust);
    let settings = [
        ".claude.json",
        ".codex/config.toml",
        ".gemini/trustedFolders.json",
        ".qwen/trustedFolders.json",
        ".copilot",
    ];
    let trusted = run(&[&["grep", "-rlsF", FOREIGN], &settings[..]].concat()).stdout;
    println!("{}: settings that name the folder: {trusted:?}", agent.name);
    forge(&["stop", "--timeout", "2", "trust"]);
}

impl Agent {
    /// The configuration section of a session of this agent.
    fn section(&self, name: &str, more: &str) -> String {
        // TOML and JSON write a list of strings the same way.
        let command = serde_json::to_string(self.command).expect("a command");
        let variables: Vec<String> = self
            .variables()
            .map(|variable| variable.split_once('=').expect("NAME=VALUE"))
            .map(|(name, value)| format!("{name} = '{value}'"))
            .collect();
        format!(
            "[sessions.{name}]\ncommand = {command}\ncwd = '{WORK}'\nenv = {{ {} }}\nready_timeout = 60\n{more}",
            variables.join(", "),
        )
    }
}
