//! Programs that do their work outside their session: in a daemon of another session, or of their user.

use crate::shared_daemon;
use crate::suite::{Test, inside};
use crate::support::{
    Session, TestFile, alive, cgroup_of, forge, forge_json, nothing_left_of, run, shell, spawn, start,
    wait_for, wait_until,
};
use serde_json::Value;
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(work_in_the_daemon_of_another_session_is_reported),
        inside!(work_in_the_users_own_daemon_is_reported),
        inside!(a_service_in_another_session_is_no_problem),
        inside!(ordinary_services_are_not_reported),
        inside!(a_kernel_that_does_not_answer_proves_nothing),
    ]
}

const SOCKET: &str = "/home/ada/daemon";

/// Spawns a session whose program has the daemon run `sleep SECONDS`; returns the pid of that sleep, too.
#[track_caller]
fn worker(name: &str, seconds: &str) -> (Session, Value, u32) {
    let command = shared_daemon::command(SOCKET, &format!("exec sleep {seconds}"));
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let (session, spawned) = spawn(name, &["--ready", "ready"], &command);
    (session, spawned, sleeper(seconds))
}

/// The process that runs `sleep SECONDS`.
#[track_caller]
fn sleeper(seconds: &str) -> u32 {
    wait_for(Duration::from_secs(10), "the work", || {
        run(&["pgrep", "-x", "-f", &format!("sleep {seconds}")]).stdout.trim().parse().ok()
    })
}

/// The problems of `forge doctor` about work outside a session.
#[track_caller]
fn problems() -> Vec<String> {
    let doctor = forge(&["--json", "doctor"]).json();
    let all = doctor["problems"].as_array().expect("problems").iter();
    all.map(|one| one["what"].as_str().expect("a text").to_owned())
        .filter(|what| what.contains("works"))
        .collect()
}

fn work_in_the_daemon_of_another_session_is_reported() {
    let (_first, spawned, own) = worker("first", "4001");
    assert_eq!(spawned["outside"], serde_json::json!([]), "the daemon is inside");
    let (_second, spawned, work) = worker("second", "4002");
    assert!(cgroup_of(own).contains("/forge-first.slice/"));
    assert!(cgroup_of(work).contains("/forge-first.slice/"), "{}", cgroup_of(work));
    let daemon = run(&["pgrep", "-f", "^[^ ]*machine --shared-daemon-itself"]).ok().stdout;
    let daemon: u32 = daemon.trim().parse().expect("one daemon");
    let outside = &spawned["outside"];
    let first = &outside[0];
    assert_eq!((outside.as_array().expect("a list").len(), &first["pid"]), (1, &daemon.into()), "{outside}");
    assert_eq!(
        (&first["session"], &first["unit"], &first["same_program"]),
        (&"first".into(), &"forge-first.slice".into(), &true.into())
    );
    assert_eq!(first["command"][1], shared_daemon::DAEMON);
    assert_eq!(&forge_json(&["status", "second"])["outside"], outside);
    assert_eq!(forge_json(&["status", "first"])["outside"], serde_json::json!([]));
    assert_eq!(forge_json(&["list"])["sessions"][1]["outside"], Value::Null, "a list does not look");
    let status = forge(&["status", "second"]).ok().stdout;
    let named = format!("process {daemon} (machine) of session first");
    assert!(status.contains(&format!("outside    {named}\n")), "{status}");
    let problems = problems();
    assert!(
        problems.len() == 1 && problems[0].starts_with(&format!("second works in {named}")),
        "{problems:?}"
    );
    let again = shared_daemon::command(SOCKET, "exec sleep 4005");
    let again: Vec<&str> = again.iter().map(String::as_str).collect();
    let warned = forge(&[&["spawn", "third", "--ready", "ready", "--"][..], &again].concat()).ok().stdout;
    assert!(warned.starts_with(&format!("warning: third works in {named}")), "{warned}");
    // Its user is warned before forge claims that nothing is left.
    let stopped = forge(&["stop", "third"]).ok().stdout;
    let lines: Vec<&str> = stopped.lines().collect();
    assert_eq!(lines[0], format!("warning: third worked in {named}, which may go on with that work"));
    assert!(lines[1].contains("'forge stop first' ends it") && lines[1].contains("--no-daemon"), "{stopped}");
    assert!(lines[2].contains("nothing is left in its slice ("), "{stopped}");
    let stopped = forge_json(&["stop", "second"]);
    assert_eq!(&stopped["stopped"][0]["outside"], outside);
    nothing_left_of("second");
    assert!(alive(daemon) && alive(work), "forge ends only what is in the session");
    let stopped = forge(&["stop", "first"]).ok().stdout;
    assert!(stopped.contains(", nothing is left ("), "{stopped}");
    assert!(!alive(daemon) && !alive(work));
}

fn work_in_the_users_own_daemon_is_reported() {
    let program = shared_daemon::command(SOCKET, "true").remove(0);
    let mut daemon = start(&[&program, shared_daemon::DAEMON, SOCKET]);
    wait_until(Duration::from_secs(10), "the daemon", || {
        shell("ss -xl | grep -q /home/ada/daemon").code == 0
    });
    let (_session, _, work) = worker("alone", "4003");
    let outside = forge_json(&["stop", "alone"])["stopped"][0]["outside"].clone();
    assert_eq!(
        (&outside[0]["session"], &outside[0]["same_program"]),
        (&Value::Null, &true.into()),
        "{outside}"
    );
    assert!(
        outside[0]["unit"].is_null() || outside[0]["unit"].as_str().is_some_and(|unit| unit.contains('.'))
    );
    assert!(daemon.running() && alive(work));
    shell("kill $(pgrep -x -f 'sleep 4003')").ok();
}

/// A server and its client, each a script.
const SERVER: &str = "import socket, sys, time\ns = socket.socket(socket.AF_UNIX)\ns.bind(sys.argv[1])\ns.listen(9)\n\
                      print('listening', flush=True)\nheld = [s.accept() for _ in range(9)]\n";
const CLIENT: &str = "import socket, sys, time\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n\
                      print('connected', flush=True)\ntime.sleep(1000)\n";

fn a_service_in_another_session_is_no_problem() {
    let _server = TestFile::new("server.py", SERVER);
    let _client = TestFile::new("client.py", CLIENT);
    let (_db, _) = spawn("db", &["--ready", "listening"], &["python3", "server.py", "/home/ada/db"]);
    let (_web, spawned) = spawn("web", &["--ready", "connected"], &["python3", "client.py", "/home/ada/db"]);
    assert_eq!(
        (&spawned["outside"][0]["session"], &spawned["outside"][0]["same_program"]),
        (&"db".into(), &false.into()),
        "{spawned}"
    );
    assert_eq!(problems(), Vec::<String>::new());
    let stopped = forge(&["stop", "web"]).ok().stdout;
    assert!(
        stopped.starts_with("web was connected to process ") && !stopped.contains("warning"),
        "{stopped}"
    );
    assert!(stopped.contains("of session db, which runs on; 'forge stop db' ends it\n"), "{stopped}");
    std::fs::remove_file("db").expect("the socket");
}

fn ordinary_services_are_not_reported() {
    let _server = TestFile::new("server.py", SERVER);
    let _client = TestFile::new("client.py", CLIENT);
    let mut server = start(&["python3", "server.py", "/home/ada/agent"]);
    wait_until(Duration::from_secs(10), "the server", || shell("ss -xl | grep -q /home/ada/agent").code == 0);
    let bus = "s.connect('/run/user/1000/bus')";
    let both = CLIENT.replace(
        "s.connect(sys.argv[1])",
        &format!("{bus}\nt = socket.socket(socket.AF_UNIX)\nt.connect(sys.argv[1])"),
    );
    let _both = TestFile::new("both.py", &both);
    let (_client, spawned) =
        spawn("client", &["--ready", "connected"], &["python3", "both.py", "/home/ada/agent"]);
    assert_eq!(spawned["outside"], serde_json::json!([]));
    // Somebody is attached to a session, from another one and from nowhere.
    let attach = ["env", "-u", "TMUX", "TERM=screen", "tmux", "-L", "spawn-client", "attach"];
    let (_viewer, _) = spawn("viewer", &[], &attach);
    wait_until(Duration::from_secs(10), "the viewer", || {
        forge_json(&["status", "client"])["attached"] == true
    });
    for name in ["client", "viewer"] {
        assert_eq!(forge_json(&["status", name])["outside"], serde_json::json!([]), "{name}");
    }
    assert_eq!(problems(), Vec::<String>::new());
    let stopped = forge(&["stop", "viewer", "client"]).ok().stdout;
    assert_eq!(stopped.matches(", nothing is left (").count(), 2, "{stopped}");
    assert!(server.running());
    std::fs::remove_file("agent").expect("the socket");
}

fn a_kernel_that_does_not_answer_proves_nothing() {
    let filtered = |args: &[&str]| {
        let unit =
            ["systemd-run", "--user", "--wait", "--pipe", "-q", "-p", "RestrictAddressFamilies=AF_UNIX"];
        run(&[&unit[..], &["forge"], args].concat())
    };
    let (_worker, _, _) = worker("worker", "4004");
    // It holds no socket, so no question is open.
    let (_plain, _) = spawn("plain", &[], &["sleep", "1000"]);
    let status = filtered(&["status", "worker"]).ok().stdout;
    assert!(status.contains("outside    unknown: "), "{status}");
    assert_eq!(filtered(&["--json", "status", "plain"]).json()["outside"], serde_json::json!([]));
    let stopped = filtered(&["stop", "plain", "worker"]).ok().stdout;
    assert!(
        stopped.contains("nothing is left (") && stopped.contains("the kernel does not say"),
        "{stopped}"
    );
}
