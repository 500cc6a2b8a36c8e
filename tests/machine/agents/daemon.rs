//! Without `--no-daemon`, which forge adds, Codex works in one daemon for each user: the commands of a session then run in the session
//! that started the daemon.

use super::agent::{Agent, Session, WORK};
use crate::support::{alive, cgroup_of, forge, forge_json, run, wait_for};
use std::time::Duration;

/// The options with which it neither asks nor builds a sandbox.
const FREELY: [&str; 4] = ["-a", "never", "-s", "danger-full-access"];

/// Its input box, with the model and the folder below it.
const READY: &str = r"(?m)^› [\s\S]*^  \S.* · [~/]";

/// Starts two sessions with these options of forge, and has each run a command. Returns the pids of the commands.
#[track_caller]
fn two_sessions(agent: &Agent, options: &[&str]) -> [u32; 2] {
    ["one", "two"].map(|name| {
        let ready = ["--ready", READY, "--ready-timeout", "60"];
        let command = [&["codex"][..], &FREELY[..]].concat();
        let spawn =
            [&["spawn", name][..], options, &agent.spawned_in(WORK), &ready, &["--"], &command].concat();
        forge_json(&spawn);
        let session = Session { name };
        session.rests();
        let seconds = if name == "one" { "4101" } else { "4102" };
        session.send(&[&format!("TOOL sleep {seconds}")]).ok();
        wait_for(Duration::from_secs(40), "the command", || {
            run(&["pgrep", "-x", "-f", &format!("sleep {seconds}")]).stdout.trim().parse().ok()
        })
    })
}

pub(crate) fn shared(agent: &Agent) {
    let _model = agent.settled();
    let [first, second] = two_sessions(agent, &["--agent", "generic"]);
    println!("with a daemon: {} and {}", cgroup_of(first), cgroup_of(second));
    assert!(cgroup_of(second).contains("/forge-one.slice/"), "the command of two runs in one");
    let stopped = forge_json(&["stop", "two"]);
    println!("stop two: {stopped}");
    let outside = &stopped["stopped"][0]["outside"][0];
    assert_eq!((&outside["session"], &outside["same_program"]), (&"one".into(), &true.into()), "{stopped}");
    assert!(alive(second));
    forge(&["stop", "one"]).ok();
    let [first, second] = two_sessions(agent, &[]);
    println!("without: {} and {}", cgroup_of(first), cgroup_of(second));
    assert!(
        cgroup_of(first).contains("/forge-one.slice/") && cgroup_of(second).contains("/forge-two.slice/")
    );
    let stopped = forge_json(&["stop", "two"]);
    assert_eq!(stopped["stopped"][0]["outside"], serde_json::json!([]));
    assert!(!alive(second) && alive(first));
    forge(&["stop", "one"]).ok();
}
