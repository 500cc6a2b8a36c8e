//! Sweeping beyond the ordinary: odd names, odd listeners, odd locks, and starts beside it.

use crate::ran::Ran;
use crate::suite::{Test, inside};
use crate::support::{
    TestFile, alive, event_since, events_since, forge, forge_json, journal_cursor, run, run_within, socket,
    spawn, start, tmux, wait_until,
};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(a_live_socket_keeps_its_inode_and_its_server),
        inside!(each_removal_is_an_event_of_its_own),
        inside!(only_the_directories_that_are_meant_are_swept),
        inside!(a_protected_socket_is_not_even_asked),
        inside!(listeners_that_are_not_tmux_are_left),
        inside!(a_lock_that_is_no_file_saves_its_socket),
        inside!(a_name_at_the_limit_is_swept_or_told),
        inside!(a_name_that_is_no_text_is_reported),
        inside!(a_directory_that_is_not_there_is_fine),
        inside!(a_configuration_that_cannot_be_read_is_a_warning),
        inside!(a_wedged_server_without_a_socket_is_no_hang),
        inside!(a_removed_directory_comes_back_with_its_sockets),
        inside!(starts_over_dead_sockets_are_not_lost_to_sweepers).limit_s(240),
    ]
}

/// A socket directory that no other test uses; gone at the end.
struct Sockets(PathBuf);

impl Sockets {
    #[track_caller]
    fn new(name: &str) -> Self {
        let root = PathBuf::from(format!("/tmp/sweep-{name}"));
        let sockets = Self(root);
        std::fs::create_dir_all(sockets.dir()).expect("the directory");
        let mode = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(sockets.dir(), mode).expect("its mode");
        sockets
    }

    fn dir(&self) -> PathBuf {
        self.0.join("tmux-1000")
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir().join(name)
    }

    #[track_caller]
    fn dead(&self, name: &str) -> PathBuf {
        drop(UnixListener::bind(self.path(name)).expect("a socket"));
        self.path(name)
    }

    /// A sweep of this directory, as the user's own.
    #[track_caller]
    fn sweep(&self, arguments: &[&str]) -> Ran {
        let tmpdir = format!("TMUX_TMPDIR={}", self.0.display());
        run(&[&["env", &tmpdir, "forge", "--json", "sweep"], arguments].concat())
    }

    #[track_caller]
    fn report(&self) -> Value {
        self.sweep(&[]).ok().json()
    }

    /// All names with their inodes.
    fn listing(&self) -> Vec<(PathBuf, u64)> {
        let entries = std::fs::read_dir(self.dir()).expect("the directory");
        let mut all: Vec<_> = entries
            .map(|entry| entry.expect("an entry"))
            .map(|entry| (entry.path(), entry.metadata().expect("its metadata").ino()))
            .collect();
        all.sort();
        all
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A plain tmux server on a socket.
struct Server {
    pid: u32,
    path: String,
}

impl Server {
    #[track_caller]
    fn start(path: &Path) -> Self {
        let path = path.to_str().expect("text").to_owned();
        let pid = run(&["tmux", "-S", &path, "new", "-d", "-P", "-F", "#{pid}", "sleep 1000"]).ok().stdout;
        Self { pid: pid.trim().parse().expect("a pid"), path }
    }

    #[track_caller]
    fn reached(&self) {
        let ran = run(&["tmux", "-S", &self.path, "-N", "display", "-p", "#{pid}"]).ok();
        assert_eq!(ran.stdout.trim(), self.pid.to_string(), "{}", self.path);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        crate::ran::kill(self.pid);
    }
}

fn names(report: &Value, key: &str) -> Vec<String> {
    let paths = report[key].as_array().unwrap_or_else(|| panic!("{key} in {report}"));
    let name = |path: &Value| {
        let path = path.as_str().or_else(|| path["path"].as_str()).expect("a path");
        Path::new(path).file_name().expect("a name").to_string_lossy().into_owned()
    };
    paths.iter().map(name).collect()
}

const NONE: [String; 0] = [];

fn a_live_socket_keeps_its_inode_and_its_server() {
    let sockets = Sockets::new("live");
    let server = Server::start(&sockets.path("alive"));
    let inode = std::fs::symlink_metadata(sockets.path("alive")).expect("its socket").ino();
    for round in 0..3 {
        sockets.dead("dead");
        let report = sockets.report();
        assert_eq!(names(&report, "live"), ["alive"], "round {round}");
        assert_eq!(names(&report, "removed"), ["dead"], "round {round}");
        let now = std::fs::symlink_metadata(sockets.path("alive")).expect("its socket").ino();
        assert_eq!(now, inode);
        server.reached();
    }
    let report = sockets.report();
    assert_eq!((&report["scanned"], names(&report, "removed")), (&json!(1), NONE.to_vec()));
}

fn each_removal_is_an_event_of_its_own() {
    let sockets = Sockets::new("events");
    let dead = [sockets.dead("one"), sockets.dead("spawn-two")];
    let cursor = journal_cursor();
    sockets.sweep(&["--dry-run"]).ok();
    sockets.report();
    let done = event_since(&cursor, "sweep_done");
    assert_eq!((&done["FORGE_SCANNED"], &done["FORGE_REMOVED"]), (&json!("2"), &json!("2")));
    let events = events_since(&cursor);
    let of = |kind: &str| events.iter().filter(|event| event["FORGE_EVENT"] == kind).collect::<Vec<_>>();
    assert_eq!(of("sweep_done").len(), 1, "the dry run removed nothing, and says nothing");
    let swept = of("swept");
    let paths: Vec<&str> = swept.iter().filter_map(|event| event["FORGE_SOCKET"].as_str()).collect();
    assert_eq!(paths, dead.iter().map(|path| path.to_str().expect("text")).collect::<Vec<_>>());
    assert_eq!((&swept[0]["FORGE_SESSION"], &swept[1]["FORGE_SESSION"]), (&Value::Null, &json!("two")));
    let left: Vec<PathBuf> = sockets.listing().into_iter().map(|(path, _)| path).collect();
    assert_eq!(left, [sockets.path("one.lock")], "forge's own lock goes with its socket, no other does");
}

fn only_the_directories_that_are_meant_are_swept() {
    let [own, first, second] = ["own", "first", "second"].map(Sockets::new);
    for sockets in [&own, &first, &second] {
        sockets.dead("dead");
    }
    let given = [first.dir(), second.dir()].map(|dir| format!("--dir={}", dir.display()));
    let report = own.sweep(&[&given[0], &given[1]]).ok().json();
    assert_eq!(report["removed"], json!([first.path("dead"), second.path("dead")]));
    assert!(own.path("dead").exists(), "those given are swept instead of it");
    first.dead("dead");
    let text = format!("[sweep]\ndirs = ['{}', '/no/such/directory']\n", first.dir().display());
    let _config = TestFile::new(".config/forge/forge.toml", &text);
    let report = own.report();
    assert_eq!(
        report["removed"],
        json!([own.path("dead"), first.path("dead")]),
        "those configured beside it"
    );
    assert_eq!(report["skipped"], json!([]));
}

fn a_protected_socket_is_not_even_asked() {
    let sockets = Sockets::new("protected");
    let listener = UnixListener::bind(sockets.path("keep-live")).expect("a socket");
    listener.set_nonblocking(true).expect("its mode");
    let dead = [sockets.dead("keep-dead"), sockets.dead("spawn-keep"), sockets.dead("akeep-1")];
    let config = "[sweep]\nprotect = ['keep-*', 'spawn-keep']\n";
    let _config = TestFile::new(".config/forge/forge.toml", config);
    let report = sockets.report();
    assert_eq!(names(&report, "protected"), ["keep-dead", "keep-live", "spawn-keep"]);
    assert_eq!(names(&report, "removed"), ["akeep-1"]);
    assert!(dead[0].exists() && dead[1].exists());
    assert!(listener.accept().is_err(), "nobody knocked");
}

fn listeners_that_are_not_tmux_are_left() {
    let sockets = Sockets::new("listeners");
    let silent = UnixListener::bind(sockets.path("silent")).expect("a socket");
    let closing = UnixListener::bind(sockets.path("closing")).expect("a socket");
    std::thread::spawn(move || closing.incoming().for_each(drop));
    // Its queue is full: the next connection would have to wait.
    let full = nix::sys::socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None);
    let full = full.expect("a socket");
    bind(full.as_raw_fd(), &UnixAddr::new(&sockets.path("full")).expect("its path")).expect("its name");
    listen(&full, Backlog::new(0).expect("a size")).expect("its queue");
    let _waiting = UnixStream::connect(sockets.path("full")).expect("the one place in it");
    let before = sockets.listing();
    let _config = TestFile::new(".config/forge/forge.toml", "[sweep]\ntimeout_ms = 300\n");
    let begin = Instant::now();
    let report = sockets.report();
    assert!(begin.elapsed() < Duration::from_secs(2), "as configured");
    assert_eq!(names(&report, "unresponsive"), ["full", "silent"]);
    assert_eq!(names(&report, "live"), ["closing"], "who hangs up lives");
    assert_eq!(sockets.listing(), before);
    drop((silent, full));
    assert_eq!(names(&sockets.report(), "removed"), ["full", "silent"]);
}

fn a_lock_that_is_no_file_saves_its_socket() {
    let sockets = Sockets::new("locks");
    for name in ["folder", "fifo", "link", "plain"] {
        sockets.dead(name);
    }
    std::fs::create_dir(sockets.path("folder.lock")).expect("a directory");
    run(&["mkfifo", sockets.path("fifo.lock").to_str().expect("text")]).ok();
    // With a reader even a FIFO can be opened for writing.
    let mut options = std::fs::OpenOptions::new();
    let reader = options.read(true).custom_flags(nix::libc::O_NONBLOCK).open(sockets.path("fifo.lock"));
    let target = TestFile::new("/tmp/sweep-locks/target", "kept");
    symlink("/tmp/sweep-locks/target", sockets.path("link.lock")).expect("a link");
    let _plain = TestFile::new(sockets.path("plain.lock").to_str().expect("text"), "");
    let before = sockets.listing();
    let report = sockets.report();
    assert_eq!(names(&report, "removed"), ["plain"]);
    let skipped = names(&report, "skipped");
    assert!(["folder", "fifo", "link"].iter().all(|name| skipped.contains(&(*name).to_owned())), "{report}");
    let after = sockets.listing();
    let kept: Vec<_> = before.into_iter().filter(|(path, _)| *path != sockets.path("plain")).collect();
    assert_eq!(after, kept, "all else is as it was, the lock files too");
    drop((reader, target));
}

fn a_name_at_the_limit_is_swept_or_told() {
    let sockets = Sockets::new("long");
    let longest = "x".repeat(255);
    let [long, longest] = [&"y".repeat(80), &longest].map(|name| {
        std::fs::rename(sockets.dead("short"), sockets.path(name)).expect("its new name");
        sockets.path(name)
    });
    let report = sockets.report();
    assert_eq!(report["removed"], json!([long]));
    assert_eq!(report["skipped"][0]["path"], json!(longest));
    assert!(
        report["skipped"][0]["reason"].as_str().is_some_and(|reason| reason.contains("too long")),
        "{report}"
    );
    assert!(longest.exists() && !long.exists());
}

fn a_name_that_is_no_text_is_reported() {
    let sockets = Sockets::new("bytes");
    let [file, dead] = [&b"file-\xff"[..], b"dead-\xfe"].map(|name| sockets.path(OsStr::from_bytes(name)));
    std::fs::File::create(&file).expect("a file");
    drop(UnixListener::bind(&dead).expect("a socket"));
    sockets.dead("plain");
    let report = sockets.report();
    assert_eq!((&report["scanned"], names(&report, "removed").len()), (&json!(2), 2), "{report}");
    assert_eq!(names(&report, "skipped").len(), 1, "{report}");
    assert!(file.exists() && !dead.exists());
}

fn a_directory_that_is_not_there_is_fine() {
    let sockets = Sockets::new("none");
    std::fs::remove_dir(sockets.dir()).expect("it is empty");
    let report = sockets.report();
    assert_eq!((&report["scanned"], &report["skipped"]), (&json!(0), &json!([])));
    assert!(!sockets.dir().exists(), "a sweep makes nothing");
    // Where the variable names no directory tmux uses /tmp, and so does a sweep.
    let dead = crate::support::dead_socket("fallback");
    let report = run(&["env", "TMUX_TMPDIR=/no/such/place", "forge", "--json", "sweep"]).ok().json();
    assert_eq!(report["removed"], json!([dead]));
}

fn a_configuration_that_cannot_be_read_is_a_warning() {
    let sockets = Sockets::new("config");
    let tmpdir = format!("TMUX_TMPDIR={}", sockets.0.display());
    for (config, option) in [("[sweep\n", None), ("", Some("--config=/no/such.toml"))] {
        let [own, other] = [sockets.dead("spawn-own"), sockets.dead("other")];
        let _config = TestFile::new(".config/forge/forge.toml", config);
        let argv = [&["env", &tmpdir, "forge", "--json"], option.as_slice(), &["sweep"]].concat();
        let ran = run(&argv).ok();
        assert!(ran.stderr.starts_with("forge: warning: "), "{ran}");
        assert_eq!(
            (names(&ran.json(), "removed"), names(&ran.json(), "protected")),
            (vec!["spawn-own".into()], vec!["other".into()])
        );
        assert!(!own.exists() && other.exists());
        std::fs::remove_file(other).expect("it is left");
    }
}

fn a_wedged_server_without_a_socket_is_no_hang() {
    let (_session, spawned) = spawn("wedged-bare", &[], &["sleep", "1000"]);
    let path = socket("spawn-wedged-bare");
    let server = spawned["server_pid"].to_string();
    run(&["kill", "-STOP", &server]).ok();
    std::fs::remove_file(&path).expect("it was there");
    let begin = Instant::now();
    assert_eq!(forge_json(&["sweep"])["healed"], json!([]), "it cannot");
    assert!(begin.elapsed() < Duration::from_secs(4));
    run(&["kill", "-CONT", &server]).ok();
    wait_until(Duration::from_secs(5), "the server to make its socket", || path.exists());
    let asked = tmux("spawn-wedged-bare", &["-N", "display", "-p", "#{pid}"]).ok().stdout;
    assert_eq!(asked.trim(), server);
}

fn a_removed_directory_comes_back_with_its_sockets() {
    let (_session, spawned) = spawn("roofless", &[], &["sleep", "1000"]);
    std::fs::remove_dir_all("/tmp/tmux-1000").expect("it was there");
    assert_eq!(forge_json(&["list", "roofless"])["sessions"][0]["state"], "running");
    forge(&["sweep"]).ok();
    let (_other, _) = spawn("roofed", &[], &["sleep", "1000"]);
    forge(&["sweep"]).ok();
    let asked = tmux("spawn-roofless", &["-N", "display", "-p", "#{pid}"]).ok().stdout;
    assert_eq!(asked.trim(), spawned["server_pid"].to_string());
}

fn starts_over_dead_sockets_are_not_lost_to_sweepers() {
    let sockets = Sockets::new("race");
    let tmpdir = format!("TMUX_TMPDIR={}", sockets.0.display());
    let enough = sockets.0.join("enough");
    let sweeping = "while [ ! -e $0 ]; do forge sweep -q || exit 1; echo; done";
    let argv = ["env", &tmpdir, "sh", "-c", sweeping, enough.to_str().expect("text")];
    let sweepers = [start(&argv), start(&argv)];
    let starting = "for i in $(seq $0 $1); do python3 -c 'import socket,sys; \
                    socket.socket(socket.AF_UNIX).bind(sys.argv[1])' $TMUX_TMPDIR/tmux-1000/x$i || true; \
                    tmux -L x$i new -d -P -F \"x$i #{pid}\" 'sleep 1000' || echo x$i failed; done";
    let halves = [["1", "50"], ["51", "100"]]
        .map(|[from, to]| start(&["env", &tmpdir, "sh", "-c", starting, from, to]));
    let started: Vec<String> = halves
        .into_iter()
        .flat_map(|half| {
            let ran = half.wait(Duration::from_secs(120)).ok();
            ran.stdout.lines().map(ToOwned::to_owned).collect::<Vec<_>>()
        })
        .collect();
    std::fs::File::create(&enough).expect("the sign to end");
    let sweeps: usize = sweepers
        .into_iter()
        .map(|sweeper| sweeper.wait(Duration::from_secs(30)).ok().stdout.lines().count())
        .sum();
    assert!(sweeps > 50, "{sweeps} sweeps: they were to be many");
    assert_eq!(started.len(), 100);
    let servers: Vec<Server> = started
        .iter()
        .map(|line| {
            let (name, pid) = line.split_once(' ').expect("a name and a pid");
            let path = sockets.path(name).to_str().expect("text").to_owned();
            Server { pid: pid.parse().unwrap_or_else(|_| panic!("{line}")), path }
        })
        .collect();
    for server in &servers {
        assert!(alive(server.pid), "{}", server.path);
        server.reached();
    }
    drop(servers);
    run_within(Duration::from_secs(30), &["env", &tmpdir, "forge", "sweep"]).ok();
}
