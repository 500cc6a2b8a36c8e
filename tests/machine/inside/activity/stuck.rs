//! Sessions that wait for their users are never stuck.

use super::{KINDS, recorded, report, servant, show};
use crate::suite::{Test, inside};
use crate::support::{Supervised, configured, event_since, forge_json, journal_cursor, sent_at, signal};
use std::time::Duration;

pub(super) fn tests() -> Vec<Test> {
    vec![
        inside!(an_idle_session_is_never_stuck).limit_s(180),
        inside!(a_screen_that_shows_the_activity_is_enough).limit_s(180),
    ]
}

fn stuck_since(cursor: &u128) -> usize {
    recorded(cursor, &["stuck"]).len()
}

fn wake_ups(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.expect("its wake-ups").trim().parse().expect("a number")
}

fn an_idle_session_is_never_stuck() {
    let script = servant("lazy");
    let _configuration =
        configured(&format!("[sessions.lazy]\ncommand = ['sh', '-c', '''{script}''']\nstuck_after = 3\n"));
    let it = Supervised::start("lazy");
    it.up();
    for activity in ["idle", "asking"] {
        report("lazy", activity);
        // Once more, the supervisor checks whether the session is silent. Then it rests.
        std::thread::sleep(Duration::from_secs(5));
        let (cursor, before) = (journal_cursor(), wake_ups(it.pid()));
        std::thread::sleep(Duration::from_secs(12));
        let woke = wake_ups(it.pid()) - before;
        assert!(woke <= 10, "it woke up {woke} times while the session was {activity}");
        assert_eq!(stuck_since(&cursor), 0, "{activity}");
        // A report is a sign of life, and silence counts from it on.
        let worked = journal_cursor();
        report("lazy", "working");
        let stuck = event_since(&worked, "stuck");
        assert!(sent_at(&stuck) - worked >= 2_900_000, "not before 3 s of silence");
        assert_eq!((&stuck["FORGE_MISSING"], &stuck["FORGE_RESTARTED"]), (&"beat".into(), &"false".into()));
    }
    let cursor = journal_cursor();
    for _ in 0..6 {
        report("lazy", "working");
        std::thread::sleep(Duration::from_secs(1));
    }
    assert_eq!(stuck_since(&cursor), 0, "each report is a sign of life");
    // The next supervisor knows, too.
    report("lazy", "idle");
    signal("KILL", it.pid());
    std::thread::sleep(Duration::from_secs(1));
    it.up();
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!(stuck_since(&cursor), 0);
}

fn a_screen_that_shows_the_activity_is_enough() {
    let script = servant("seen");
    let _configuration = configured(&format!(
        "[sessions.seen]\ncommand = ['sh', '-c', '''{script}''']\nstuck_after = 3\n\
         ready = '> ?'\nworking = 'esc to'\nasking = 'Sure'\n"
    ));
    let it = Supervised::start("seen");
    it.up();
    for text in ["> ", "Sure? "] {
        show("seen", text);
        std::thread::sleep(Duration::from_secs(5));
        let (cursor, before) = (journal_cursor(), wake_ups(it.pid()));
        std::thread::sleep(Duration::from_secs(12));
        let woke = wake_ups(it.pid()) - before;
        assert!(woke <= 10, "it woke up {woke} times beside '{text}'");
        assert_eq!(stuck_since(&cursor), 0, "{text}");
        let worked = journal_cursor();
        show("seen", "> (esc to interrupt)");
        event_since(&worked, "stuck");
        assert_eq!(recorded(&worked, &KINDS), ["activity working"]);
        let status = forge_json(&["status", "seen"]);
        assert!(status["activity_since"].is_string(), "its supervisor saw it begin: {status}");
    }
}
