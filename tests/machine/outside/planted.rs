//! More of what another user, or root, may have put in the way: nothing of it is followed, waited
//! for or removed, and it is told whose it is.

use crate::machine::Machine;
use crate::ran::Ran;
use crate::suite::{Test, outside};
use serde_json::{Value, json};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        outside!(a_planted_directory_is_told_whatever_its_mode),
        outside!(planted_links_files_and_pipes_are_refused),
        outside!(what_root_left_in_the_directory_stays),
        outside!(swaps_under_running_sweeps_lead_nowhere),
        outside!(nobody_else_passes_the_gate_of_a_pane),
        outside!(records_that_another_user_forged_are_not_shown),
        outside!(another_user_sees_and_ends_nothing),
    ]
}

const PLACE: &str = "/tmp/tmux-1000";

fn shell(machine: &Machine, user: &str, line: &str) -> Ran {
    machine.as_user(user, &["sh", "-c", line])
}

/// A spawn is refused, a sweep skips the directory, and both say why.
#[track_caller]
fn refused_and_skipped(machine: &Machine, why: &str) {
    let refused = machine.user(&["forge", "--json", "spawn", "planted", "--", "sleep", "9"]);
    assert_eq!((refused.code, &refused.json()["error"]["kind"]), (1, &json!("unsafe")), "{refused}");
    assert!(refused.stderr.contains(why) && refused.stderr.contains("\nhint: "), "{refused}");
    let swept = machine.user(&["forge", "--json", "sweep"]).ok().json();
    assert_eq!((&swept["skipped"][0]["path"], &swept["scanned"]), (&json!(PLACE), &json!(0)), "{swept}");
    assert!(swept["skipped"][0]["reason"].as_str().is_some_and(|reason| reason.contains(why)), "{swept}");
    let units = machine.user(&["systemctl", "--user", "list-units", "--all", "--no-legend", "forge-*"]).ok();
    assert!(!units.stdout.contains("planted"), "{units}");
}

fn cleared(machine: &Machine) {
    machine.root(&["rm", "-rf", PLACE]).ok();
}

fn a_planted_directory_is_told_whatever_its_mode(machine: &mut Machine) {
    cleared(machine);
    for mode in ["700", "755", "777"] {
        let bait = "import socket,sys; socket.socket(socket.AF_UNIX).bind('/tmp/tmux-1000/spawn-bait')";
        machine.as_user("mallory", &["mkdir", "-m", mode, PLACE]).ok();
        machine.as_user("mallory", &["python3", "-c", bait]).ok();
        let listing = || machine.root(&["ls", "-lai", "--full-time", PLACE]).ok().stdout;
        let before = listing();
        refused_and_skipped(machine, "belongs to uid 1001");
        assert_eq!(listing(), before, "mode {mode}");
        cleared(machine);
    }
    machine.user(&["forge", "spawn", "planted", "--", "sleep", "9"]).ok();
    machine.user(&["forge", "stop", "planted"]).ok();
}

fn planted_links_files_and_pipes_are_refused(machine: &mut Machine) {
    cleared(machine);
    let own = "mkdir -m 700 /home/ada/x && cd /home/ada/x && python3 -c \
               'import socket; socket.socket(socket.AF_UNIX).bind(\"spawn-own\")'";
    shell(machine, "ada", own).ok();
    let listing = || machine.user(&["ls", "-lai", "--full-time", "/home/ada/x"]).ok().stdout;
    let before = listing();
    for (plant, why) in [
        ("ln -s /home/ada/x /tmp/tmux-1000", "symbolic link"),
        ("ln -s /nowhere /tmp/tmux-1000", "symbolic link"),
        ("touch /tmp/tmux-1000", "no directory"),
        ("mkfifo -m 666 /tmp/tmux-1000", "no directory"),
    ] {
        shell(machine, "mallory", plant).ok();
        refused_and_skipped(machine, why);
        cleared(machine);
    }
    assert_eq!(listing(), before);
}

fn what_root_left_in_the_directory_stays(machine: &mut Machine) {
    cleared(machine);
    machine.user(&["mkdir", "-m", "700", PLACE]).ok();
    let bind = "import socket\nfor name in ('spawn-roots', 'ours'): \
                socket.socket(socket.AF_UNIX).bind('/tmp/tmux-1000/' + name)";
    machine.root(&["python3", "-c", bind]).ok();
    // A lock file of root's, so that the socket beside it cannot be locked.
    shell(machine, "root", "cd /tmp/tmux-1000 && chown ada ours && install -m 600 /dev/null ours.lock").ok();
    let swept = machine.user(&["forge", "--json", "sweep"]).ok().json();
    assert_eq!((&swept["scanned"], &swept["removed"]), (&json!(1), &json!([])), "{swept}");
    let skipped = swept["skipped"].as_array().expect("a list");
    let reason = |name: &str| -> &str {
        let one = skipped.iter().find(|one| one["path"] == format!("{PLACE}/{name}"));
        one.and_then(|one| one["reason"].as_str()).unwrap_or_else(|| panic!("{name} in {swept}"))
    };
    assert!(reason("spawn-roots").contains("uid 0"), "{swept}");
    assert!(reason("ours").contains("ours.lock"), "{swept}");
    assert_eq!(machine.root(&["ls", PLACE]).ok().stdout, "ours\nours.lock\nspawn-roots\n");
    cleared(machine);
}

/// Faster than a shell, and it counts.
const SWAPPING: &str = "\
import os, time
os.chdir('/tmp/open')
end, rounds = time.time() + 6, 0
while time.time() < end:
    os.rename('tmux-1000', 'aside')
    os.symlink('/home/ada/precious', 'tmux-1000')
    time.sleep(0.002)
    os.unlink('tmux-1000')
    os.rename('aside', 'tmux-1000')
    time.sleep(0.002)
    rounds += 1
print(rounds)
";

const BINDING: &str = "\
import os, socket, sys
for name in sys.argv[1:]:
    socket.socket(socket.AF_UNIX).bind(name)
";

fn swaps_under_running_sweeps_lead_nowhere(machine: &mut Machine) {
    shell(
        machine,
        "root",
        "mkdir -m 777 /tmp/open && install -d -o ada -m 700 /tmp/open/tmux-1000 /home/ada/precious",
    )
    .ok();
    let line = "cd /home/ada/precious && python3 -c \"$0\" spawn-a spawn-b other && touch file";
    machine.user(&["sh", "-c", line, BINDING]).ok();
    let listing = || machine.user(&["ls", "-lai", "--full-time", "/home/ada/precious"]).ok().stdout;
    let before = listing();
    let attacker = machine.command("mallory", &["python3", "-c", SWAPPING]);
    let attacker = crate::ran::start(attacker, "the swaps");
    // A dead socket is always there to be swept; told are the sweeps that met it and the link.
    let sweeps = "end=$(($(date +%s) + 6)); swept=0; met=0; all=0; while [ $(date +%s) -lt $end ]; do \
                  python3 -c \"$0\" /tmp/open/tmux-1000/bait 2>/dev/null; \
                  said=$(TMUX_TMPDIR=/tmp/open forge sweep) || exit 1; all=$((all+1)); \
                  case $said in *removed\\ /tmp*) swept=$((swept+1));; esac; \
                  case $said in *symbolic\\ link*) met=$((met+1));; esac; done; echo $all $swept $met";
    let told = machine.user(&["sh", "-c", sweeps, BINDING]).ok().stdout;
    let rounds = attacker.wait(std::time::Duration::from_secs(20)).ok().stdout;
    let counts: Vec<u32> = told.split_whitespace().map(|count| count.parse().expect("a count")).collect();
    assert!(rounds.trim().parse::<u32>().expect("a count") > 100, "{rounds} swaps");
    assert!(counts[1] > 0 && counts[2] > 0, "both were met: {told}");
    // The bait is sometimes made through the link, by its own path: that is not the sweep's doing.
    shell(machine, "ada", "rm -f /home/ada/precious/bait").ok();
    let names = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.ends_with(|c: char| c.is_alphanumeric()));
        lines.filter(|line| !line.contains("total")).map(ToOwned::to_owned).collect()
    };
    assert_eq!(names(&listing()), names(&before), "nothing is removed through the link, and no lock made");
}

/// Connects to every gate that is there, as fast as it can.
const KNOCKING: &str = "\
import socket, time
end, met = time.time() + 8, 0
while time.time() < end:
    for line in open('/proc/net/unix'):
        at = line.find('@forge/')
        if at < 0: continue
        s = socket.socket(socket.AF_UNIX)
        try:
            s.connect('\\0' + line[at + 1:].strip())
            s.send(b'{\"command\":[\"touch\",\"/tmp/pwned\"],\"cwd\":\"/\"}\\n')
            met += 1
        except OSError: pass
print(met)
";

fn nobody_else_passes_the_gate_of_a_pane(machine: &mut Machine) {
    cleared(machine);
    let attacker = machine.command("mallory", &["python3", "-c", KNOCKING]);
    let attacker = crate::ran::start(attacker, "the knocks");
    for _ in 0..8 {
        let ran = machine.user(&["forge", "--json", "spawn", "gated", "--", "sleep", "1000"]).ok();
        let line = format!("readlink /proc/{}/exe", ran.json()["pane_pid"]);
        assert!(shell(machine, "ada", &line).ok().stdout.trim().ends_with("/sleep"));
        machine.user(&["forge", "stop", "gated"]).ok();
    }
    let met = attacker.wait(std::time::Duration::from_secs(30)).ok().stdout;
    assert!(met.trim().parse::<u32>().expect("a count") > 0, "no gate was met");
    assert!(!machine.path("/tmp/pwned").exists());
}

fn records_that_another_user_forged_are_not_shown(machine: &mut Machine) {
    cleared(machine);
    // Who may read the whole journal sees everybody's records.
    machine.root(&["usermod", "-aG", "systemd-journal", "ada"]).ok();
    let forged = "printf 'MESSAGE=forged\\nSYSLOG_IDENTIFIER=forge\\nFORGE_SESSION=truth\\nFORGE_EVENT=stopped\\n' \
                  | logger --journald";
    shell(machine, "mallory", forged).ok();
    machine.user(&["forge", "spawn", "truth", "--", "sleep", "1000"]).ok();
    machine.user(&["forge", "stop", "truth"]).ok();
    machine.root(&["journalctl", "--sync"]).ok();
    let all = machine.user(&["journalctl", "-q", "--no-pager", "FORGE_SESSION=truth"]).ok();
    assert!(all.stdout.contains("forged"), "it is there to be seen: {all}");
    let logs = machine.user(&["forge", "logs", "truth"]).ok();
    assert!(logs.stdout.contains("stopped truth") && !logs.stdout.contains("forged"), "{logs}");
}

fn another_user_sees_and_ends_nothing(machine: &mut Machine) {
    cleared(machine);
    let spawned = machine.user(&["forge", "--json", "spawn", "mine", "--", "sleep", "1000"]).ok().json();
    let list = machine.as_user("mallory", &["forge", "--json", "list"]).ok().json();
    assert_eq!(list["sessions"], json!([]));
    let stop = machine.as_user("mallory", &["forge", "--json", "stop", "mine"]).code(1);
    assert_eq!(stop.json()["error"]["kind"], "no_session", "{stop}");
    let swept = machine.as_user("mallory", &["forge", "--json", "sweep", "--dir", PLACE]).ok().json();
    assert_eq!(
        (&swept["scanned"], swept["skipped"].as_array().map(Vec::len)),
        (&json!(0), Some(1)),
        "{swept}"
    );
    // The same name is mallory's own session, beside ada's.
    machine.as_user("mallory", &["forge", "spawn", "mine", "--", "sleep", "1000"]).ok();
    machine.as_user("mallory", &["forge", "stop", "--all"]).ok();
    let now: Value = machine.user(&["forge", "--json", "status", "mine"]).ok().json();
    assert_eq!((&now["state"], &now["pane_pid"]), (&json!("running"), &spawned["pane_pid"]));
    machine.user(&["forge", "stop", "mine"]).ok();
}
