//! Sweeping: forge removes dead sockets and touches nothing else.

use crate::suite::{Test, inside};
use crate::support::{
    Homebase, TestFile, alive, dead_socket, event_since, events_since, forge, forge_json, journal_cursor,
    kill_server, run, shell, socket, spawn, start, tmux,
};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(dead_sockets_are_removed_and_live_ones_kept),
        inside!(a_dry_run_changes_nothing),
        inside!(unresponsive_servers_share_one_deadline),
        inside!(files_that_are_not_tmux_sockets_are_left),
        inside!(a_held_or_hostile_lock_does_not_hang_a_sweep),
        inside!(a_lock_of_forges_own_goes_without_its_socket),
        inside!(a_missing_socket_is_healed),
        inside!(a_broken_configuration_does_not_stop_a_sweep),
        inside!(a_sweep_works_without_a_bus),
        inside!(a_thousand_dead_sockets),
        inside!(repeated_sweeps_lose_no_starting_server).limit_s(240),
    ]
}

fn names(report: &Value, key: &str) -> Vec<String> {
    let paths = report[key].as_array().unwrap_or_else(|| panic!("{key} in {report}"));
    let name = |path: &Value| {
        let path = path.as_str().or_else(|| path["path"].as_str()).expect("a path");
        Path::new(path).file_name().expect("a name").to_str().expect("text").to_owned()
    };
    paths.iter().map(name).collect()
}

fn dead_sockets_are_removed_and_live_ones_kept() {
    let homebase = Homebase::start();
    dead_socket("dead-1");
    dead_socket("dead-2");
    let cursor = journal_cursor();
    let report = forge_json(&["sweep"]);
    let keys: Vec<&str> = report.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        ["elapsed_ms", "healed", "live", "protected", "removed", "scanned", "skipped", "unresponsive"]
    );
    assert_eq!(
        (names(&report, "removed"), names(&report, "live")),
        (vec!["dead-1".into(), "dead-2".into()], vec!["homebase".into()])
    );
    assert_eq!(report["scanned"], 3);
    homebase.untouched();
    let done = event_since(&cursor, "sweep_done");
    assert_eq!((&done["FORGE_REMOVED"], &done["FORGE_LIVE"]), (&"2".into(), &"1".into()));
    assert_eq!(events_since(&cursor).iter().filter(|event| event["FORGE_EVENT"] == "swept").count(), 2);
    // Lock files of others stay: a tmux that waits at one must not meet a second one.
    assert!(socket("dead-1.lock").exists());
    assert_eq!(names(&forge_json(&["sweep"]), "removed"), Vec::<String>::new());
}

fn a_dry_run_changes_nothing() {
    let dead = dead_socket("dry");
    let listing = || shell("ls -la --full-time /tmp/tmux-1000").ok().stdout;
    let before = listing();
    assert_eq!(names(&forge_json(&["sweep", "--dry-run"]), "removed"), ["dry"]);
    assert_eq!(listing(), before);
    assert!(dead.exists());
    forge(&["sweep"]).ok();
    assert!(!dead.exists());
}

fn unresponsive_servers_share_one_deadline() {
    let labels: Vec<String> = (0..5).map(|n| format!("stopped-{n}")).collect();
    let mut pids = Vec::new();
    for label in &labels {
        tmux(label, &["new", "-d", "sleep 1000"]).ok();
        pids.push(tmux(label, &["display", "-p", "#{pid}"]).ok().stdout.trim().to_owned());
    }
    for pid in &pids {
        run(&["kill", "-STOP", pid]).ok();
    }
    let begin = Instant::now();
    let report = forge_json(&["sweep"]);
    assert!(begin.elapsed() < Duration::from_secs(4), "side by side, not one after another");
    assert!(report["elapsed_ms"].as_u64().expect("a time") >= 1900, "each has its two seconds");
    assert_eq!(names(&report, "unresponsive"), labels);
    assert!(report["removed"].as_array().expect("a list").is_empty());
    let _config = TestFile::new(".config/forge/forge.toml", "[sweep]\ntimeout_ms = 100\n");
    assert!(forge_json(&["sweep"])["elapsed_ms"].as_u64().expect("a time") < 1500);
    for (label, pid) in labels.iter().zip(pids) {
        run(&["kill", "-CONT", &pid]).ok();
        assert_eq!(tmux(label, &["-N", "display", "-p", "#{pid}"]).ok().stdout.trim(), pid);
        kill_server(label);
    }
}

fn files_that_are_not_tmux_sockets_are_left() {
    let (_session, _) = spawn("target", &[], &["sleep", "1000"]);
    let dir = "/tmp/zoo/tmux-1000";
    let make = "mkdir -p $0 && cd $0 && chmod 700 . && ln -s /tmp/tmux-1000/spawn-target link && ln -s nowhere dangling \
                && : >file && mkfifo fifo && mkdir folder && : >x.lock";
    run(&["sh", "-c", make, dir]).ok();
    let bind = "import socket,os,time,sys\nos.chdir(sys.argv[1])\n\
                x=socket.socket(socket.AF_UNIX); x.bind(b'no-text-\\xff'); x.close()\n\
                a=socket.socket(socket.AF_UNIX); a.bind('silent'); a.listen(5)\n\
                b=socket.socket(socket.AF_UNIX); b.bind('n'*60); b.close()\n\
                c=socket.socket(socket.AF_UNIX); c.bind('l'*100); c.close()\n\
                d=socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); d.bind('datagram')\n\
                print('bound', flush=True)\ntime.sleep(1000)\n";
    let mut listener = start(&["python3", "-c", bind, dir]);
    crate::support::wait_until(Duration::from_secs(10), "the listeners", || {
        Path::new(dir).join("datagram").exists()
    });
    let report = forge_json(&["sweep", "--dir", dir]);
    // forge also removes dead sockets whose path is too long for connect(2).
    assert_eq!(names(&report, "removed"), ["l".repeat(100), "n".repeat(60), "no-text-\u{fffd}".to_owned()]);
    assert_eq!(names(&report, "unresponsive"), ["silent"]);
    let mut skipped = names(&report, "skipped");
    skipped.sort();
    assert_eq!(skipped, ["dangling", "datagram", "fifo", "file", "folder", "link"]);
    for name in ["link", "file", "fifo", "folder", "silent", "datagram", "x.lock"] {
        assert!(Path::new(dir).join(name).symlink_metadata().is_ok(), "{name} is gone");
    }
    listener.kill();
    run(&["rm", "-r", "/tmp/zoo"]).ok();
}

fn a_held_or_hostile_lock_does_not_hang_a_sweep() {
    for label in ["held", "fifo-lock", "link-lock"] {
        dead_socket(label);
        let _ = std::fs::remove_file(socket(&format!("{label}.lock")));
    }
    shell("cd /tmp/tmux-1000 && mkfifo fifo-lock.lock && ln -s /tmp/elsewhere link-lock.lock").ok();
    let mut holder = start(&["flock", "/tmp/tmux-1000/held.lock", "sleep", "1000"]);
    crate::support::wait_until(Duration::from_secs(5), "the lock", || {
        run(&["flock", "-n", "/tmp/tmux-1000/held.lock", "true"]).code != 0
    });
    let begin = Instant::now();
    let report = forge_json(&["sweep"]);
    assert!(begin.elapsed() < Duration::from_secs(3));
    assert!(report["removed"].as_array().expect("a list").is_empty(), "{report}");
    for label in ["held", "fifo-lock", "link-lock"] {
        assert!(socket(label).exists(), "{label}");
    }
    assert!(!Path::new("/tmp/elsewhere").exists());
    holder.kill();
    shell("cd /tmp/tmux-1000 && rm -f fifo-lock.lock link-lock.lock").ok();
    assert_eq!(names(&forge_json(&["sweep"]), "removed").len(), 3);
}

fn a_lock_of_forges_own_goes_without_its_socket() {
    let lock = |label: &str| socket(&format!("{label}.lock"));
    let (_session, _) = spawn("there", &[], &["sleep", "1000"]);
    let files = ["spawn-gone", "spawn-held", "spawn-there", "others"];
    let _files = files.map(|label| TestFile::new(lock(label).to_str().expect("text"), ""));
    let mut holder = start(&["flock", lock("spawn-held").to_str().expect("text"), "sleep", "1000"]);
    crate::support::wait_until(Duration::from_secs(5), "the lock", || {
        run(&["flock", "-n", lock("spawn-held").to_str().expect("text"), "true"]).code != 0
    });
    forge(&["sweep", "--dry-run"]).ok();
    assert!(lock("spawn-gone").exists(), "a dry run changes nothing");
    forge(&["sweep"]).ok();
    assert_eq!(files.map(|label| lock(label).exists()), [false, true, true, true]);
    holder.kill();
}

fn a_missing_socket_is_healed() {
    let (_session, spawned) = spawn("headless", &[], &["sleep", "1000"]);
    let path = socket("spawn-headless");
    let cursor = journal_cursor();
    std::fs::remove_file(&path).expect("it was there");
    assert_eq!(forge_json(&["sweep"])["healed"], json!([path]));
    assert_eq!(event_since(&cursor, "socket_healed")["FORGE_SESSION"], "headless");
    // Only one session has the name, and the user can attach to it.
    std::fs::remove_file(&path).expect("it is back");
    assert_eq!(
        forge(&["--json", "spawn", "headless", "--", "sleep", "9"]).code(1).json()["error"]["kind"],
        "taken"
    );
    let asked = tmux("spawn-headless", &["-N", "display", "-p", "#{pid}"]).ok().stdout;
    assert_eq!(asked.trim(), spawned["server_pid"].to_string());
}

fn a_broken_configuration_does_not_stop_a_sweep() {
    let kept = dead_socket("kept-1");
    let gone = dead_socket("gone-1");
    {
        let _config =
            TestFile::new(".config/forge/forge.toml", "[sweep]\nprotect = ['kept-*']\n[nonsense]\n");
        let ran = forge(&["sweep"]).ok();
        assert!(ran.stderr.contains("unknown key 'nonsense'"), "{ran}");
        assert!(kept.exists() && !gone.exists());
    }
    let gone = dead_socket("spawn-gone");
    let _config = TestFile::new(".config/forge/forge.toml", "[sweep\n");
    let ran = forge(&["sweep"]).ok();
    assert!(ran.stderr.contains("sweeping only forge's own"), "{ran}");
    assert!(kept.exists() && !gone.exists(), "it is not known what is protected");
    assert!(!socket("spawn-gone.lock").exists(), "the lock of forge's own goes too");
    std::fs::remove_file(kept).expect("ours");
}

fn a_sweep_works_without_a_bus() {
    let dead = dead_socket("no-bus");
    run(&[
        "env",
        "DBUS_SESSION_BUS_ADDRESS=unix:path=/nowhere",
        "XDG_RUNTIME_DIR=/nowhere",
        "forge",
        "sweep",
    ])
    .ok();
    assert!(!dead.exists());
}

fn a_thousand_dead_sockets() {
    let homebase = Homebase::start();
    let make = "import socket\nfor i in range(1000):\n s=socket.socket(socket.AF_UNIX); s.bind('/tmp/tmux-1000/many-%d' % i); s.close()";
    run(&["python3", "-c", make]).ok();
    let both = [0, 1].map(|_| start(&["forge", "--json", "sweep"]));
    let removed: usize = both
        .into_iter()
        .map(|sweep| names(&sweep.wait(Duration::from_secs(60)).ok().json(), "removed").len())
        .sum();
    assert_eq!(removed, 1000, "two sweeps at once share the work");
    homebase.untouched();
    shell("rm -f /tmp/tmux-1000/many-*.lock").ok();
}

fn repeated_sweeps_lose_no_starting_server() {
    let loops = "while [ ! -e /tmp/enough ]; do forge sweep -q; done";
    let _ = std::fs::remove_file("/tmp/enough");
    let sweeper = start(&["sh", "-c", loops]);
    let mut pids = Vec::new();
    for n in 0..100 {
        let label = format!("loop-{n}");
        // tmux itself fails now and then; every server that it reports as created must exist.
        let made = tmux(&label, &["new", "-d", "-P", "-F", "#{pid}", "sleep 1000"]);
        pids.push((label, made.stdout.trim().to_owned()));
    }
    let _ = std::fs::File::create("/tmp/enough");
    sweeper.wait(Duration::from_secs(30)).ok();
    for (label, pid) in &pids {
        assert!(!pid.is_empty(), "{label} did not start");
        let reached = tmux(label, &["-N", "display", "-p", "#{pid}"]);
        assert_eq!(reached.stdout.trim(), pid, "{label} is lost: {reached}");
        assert!(alive(pid.parse().expect("a pid")));
        kill_server(label);
    }
}
