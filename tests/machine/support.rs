//! What tests in a machine have in common: run forge and other programs, wait,
//! read the journal, look into cgroups.

#![allow(dead_code, reason = "a set of tools; not every one is in use at every time")]

use crate::ran::{self, Background, Ran};
use libsystemd::logging::{Priority, journal_send};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long one program may take where a test says nothing.
const USUAL: Duration = Duration::from_secs(60);

fn command(argv: &[&str]) -> (Command, String) {
    let mut command = Command::new(argv[0]);
    command.args(&argv[1..]);
    (command, argv.join(" "))
}

/// Runs a program to its end, without a shell.
#[track_caller]
pub(crate) fn run(argv: &[&str]) -> Ran {
    run_within(USUAL, argv)
}

#[track_caller]
pub(crate) fn run_within(limit: Duration, argv: &[&str]) -> Ran {
    let (command, line) = command(argv);
    ran::run(command, &line, limit)
}

/// Starts a program and leaves it running.
#[track_caller]
pub(crate) fn start(argv: &[&str]) -> Background {
    let (command, line) = command(argv);
    ran::start(command, &line)
}

/// Runs a line of shell.
#[track_caller]
pub(crate) fn shell(line: &str) -> Ran {
    run(&["sh", "-c", line])
}

/// Runs `forge`.
#[track_caller]
pub(crate) fn forge(args: &[&str]) -> Ran {
    run(&[&["forge"], args].concat())
}

/// Runs `forge --json`, wants success, and gives its one JSON object.
#[track_caller]
pub(crate) fn forge_json(args: &[&str]) -> Value {
    forge(&[&["--json"], args].concat()).ok().json()
}

/// Runs tmux on the socket `label`.
#[track_caller]
pub(crate) fn tmux(label: &str, args: &[&str]) -> Ran {
    run(&[&["tmux", "-L", label], args].concat())
}

/// The path of the socket `label`.
pub(crate) fn socket(label: &str) -> PathBuf {
    PathBuf::from(format!("/tmp/tmux-{}/{label}", nix::unistd::getuid()))
}

/// The process of the tmux server on the socket `label`.
#[track_caller]
pub(crate) fn server_pid(label: &str) -> u32 {
    tmux(label, &["-N", "display", "-p", "#{pid}"]).ok().stdout.trim().parse().expect("a pid")
}

/// Ends the tmux server on the socket `label` and waits until it is gone: it answers, and it listens,
/// for a moment longer.
#[track_caller]
pub(crate) fn kill_server(label: &str) {
    let pid = server_pid(label);
    tmux(label, &["kill-server"]).ok();
    wait_until(USUAL, "the end of a tmux server", || !alive(pid));
}

/// Leaves a socket without a server, as a crashed server does.
#[track_caller]
pub(crate) fn dead_socket(label: &str) -> PathBuf {
    tmux(label, &["new", "-d", "sleep 1000"]).ok();
    let pids = tmux(label, &["display", "-p", "#{pid} #{pane_pid}"]).ok().stdout;
    for pid in pids.split_whitespace() {
        shell(&format!("kill -9 {pid}"));
        wait_until(USUAL, "the end of a killed tmux server", || !alive(pid.parse().unwrap()));
    }
    assert!(socket(label).exists());
    socket(label)
}

/// Whether the process is there and no zombie.
pub(crate) fn alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().starts_with(" Z"))
}

/// Waits until `probe` is true; after `limit` the test fails and says what it
/// waited for.
#[track_caller]
pub(crate) fn wait_until(limit: Duration, what: &str, mut probe: impl FnMut() -> bool) {
    wait_for(limit, what, || probe().then_some(()));
}

/// Waits until `probe` gives something, and gives that.
#[track_caller]
pub(crate) fn wait_for<T>(limit: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < end, "waited {} s in vain for {what}", limit.as_secs());
        // From outside there is no one event for all that tests wait for.
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until journald has stored all that was sent to it so far: it takes records in their order,
/// and nothing else tells how far it is.
#[track_caller]
pub(crate) fn journal_catches_up() {
    let mark = journal_cursor().to_string();
    let fields = [("FORGE_TEST_MARK", mark.as_str())];
    journal_send(Priority::Debug, "a mark of the tests", fields.into_iter()).expect("journald");
    wait_until(Duration::from_secs(20), "journald", || {
        !run(&["journalctl", "-o", "cat", "--no-pager", &format!("FORGE_TEST_MARK={mark}")]).stdout.is_empty()
    });
}

/// Entries of the user's journal, oldest first; `args` narrow them down.
#[track_caller]
pub(crate) fn journal(args: &[&str]) -> Vec<Value> {
    journal_catches_up();
    let argv = [&["journalctl", "--user", "-o", "json", "--all", "--no-pager"], args].concat();
    // journalctl ends with 1 when there is nothing to show.
    run(&argv).stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// This moment, for `events_since`.
pub(crate) fn journal_cursor() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_micros()
}

/// forge's own records since then, wherever journald keeps them.
#[track_caller]
pub(crate) fn events_since(cursor: &u128) -> Vec<Value> {
    journal_catches_up();
    let since = format!("--since=@{}", cursor / 1_000_000);
    let argv = ["journalctl", "-o", "json", "--all", "--no-pager", "-t", "forge", &since, "_UID=1000"];
    run(&argv)
        .stdout
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|entry| sent_at(entry) >= *cursor)
        .collect()
}

/// When a record was sent, in microseconds: on a busy machine journald takes it a good while later.
#[track_caller]
pub(crate) fn sent_at(entry: &Value) -> u128 {
    let time = ["_SOURCE_REALTIME_TIMESTAMP", "__REALTIME_TIMESTAMP"];
    let time = time.iter().find_map(|field| entry[field].as_str()?.parse().ok());
    time.unwrap_or_else(|| panic!("no time in: {entry}"))
}

/// Waits for a record of forge since `cursor` with this `FORGE_EVENT`.
#[track_caller]
pub(crate) fn event_since(cursor: &u128, event: &str) -> Value {
    wait_for(Duration::from_secs(20), &format!("the record of {event}"), || {
        events_since(cursor).into_iter().find(|entry| entry["FORGE_EVENT"] == event)
    })
}

/// A property of a user unit, as systemctl shows it.
#[track_caller]
pub(crate) fn user_unit_property(unit: &str, property: &str) -> String {
    let ran = run(&["systemctl", "--user", "show", "--value", "-p", property, unit]).ok();
    ran.stdout.trim_end().to_owned()
}

/// The path of a process's cgroup below `/sys/fs/cgroup`.
#[track_caller]
pub(crate) fn cgroup_of(pid: u32) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("the process's cgroup");
    let path = text.lines().find_map(|line| line.strip_prefix("0::"));
    path.expect("a cgroup of version 2").to_owned()
}

/// The path of the cgroup of a session's slice below `/sys/fs/cgroup`.
pub(crate) fn slice_of(name: &str) -> String {
    let slice = format!("forge-{}.slice", name.replace('-', "\\x2d"));
    format!("/user.slice/user-1000.slice/user@1000.service/forge.slice/{slice}")
}

/// What a file of a cgroup says.
#[track_caller]
pub(crate) fn cgroup_file(cgroup: &str, file: &str) -> String {
    let path = Path::new("/sys/fs/cgroup").join(cgroup.trim_start_matches('/')).join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The value of a key in such a file.
#[track_caller]
pub(crate) fn keyed(text: &str, key: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("no {key} in: {text}"))
}

/// The processes in a cgroup and all below it; none when it is gone.
pub(crate) fn processes_in(cgroup: &str) -> Vec<u32> {
    fn collect(folder: &Path, into: &mut Vec<u32>) {
        let procs = std::fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        into.extend(procs.lines().filter_map(|line| line.parse::<u32>().ok()));
        let Ok(entries) = std::fs::read_dir(folder) else {
            return;
        };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                collect(&entry.path(), into);
            }
        }
    }
    let mut found = Vec::new();
    collect(&Path::new("/sys/fs/cgroup").join(cgroup.trim_start_matches('/')), &mut found);
    found
}

/// A session that is ended when the test is over, however it ends.
pub(crate) struct Session(pub(crate) String);

impl Drop for Session {
    fn drop(&mut self) {
        forge(&["stop", "--timeout", "1", &self.0]);
    }
}

/// Spawns a session and gives what forge says of it.
#[track_caller]
pub(crate) fn spawn(name: &str, options: &[&str], command: &[&str]) -> (Session, Value) {
    let session = Session(name.to_owned());
    let spawned = forge_json(&[&["spawn", name], options, &["--"], command].concat());
    (session, spawned)
}

/// A live tmux server that is nobody's business: its pid must never change.
pub(crate) struct Homebase(u32);

impl Homebase {
    #[track_caller]
    pub(crate) fn start() -> Self {
        tmux("homebase", &["new", "-d", "sleep 10000"]).ok();
        Self(server_pid("homebase"))
    }

    /// The server is the same, and is reached.
    #[track_caller]
    pub(crate) fn untouched(&self) {
        assert_eq!(server_pid("homebase"), self.0, "homebase is another server now");
    }
}

impl Drop for Homebase {
    fn drop(&mut self) {
        tmux("homebase", &["kill-server"]);
        let _ = std::fs::remove_file(socket("homebase"));
    }
}

/// Nothing of the session is left: no unit, no process, no socket, no file.
#[track_caller]
pub(crate) fn nothing_left_of(name: &str) {
    let slice = format!("forge-{}.slice", name.replace('-', "\\x2d"));
    let units = [format!("forge-spawn-{name}.scope"), slice.clone()];
    wait_until(Duration::from_secs(5), &format!("the units of {name} to go"), || {
        units.iter().all(|unit| user_unit_property(unit, "ActiveState") == "inactive")
    });
    assert_eq!(processes_in(&slice_of(name)), Vec::<u32>::new(), "processes of {name}");
    assert!(!socket(&format!("spawn-{name}")).exists(), "the socket of {name}");
    assert!(!socket(&format!("spawn-{name}.lock")).exists(), "the lock of {name}");
    assert!(
        !PathBuf::from(format!(".local/state/forge/sessions/{name}.json")).exists(),
        "the file of {name}"
    );
}

/// A file that is removed when the test is over.
pub(crate) struct TestFile(PathBuf);

impl TestFile {
    #[track_caller]
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let path = PathBuf::from(path);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("its directory");
        std::io::Write::write_all(&mut std::fs::File::create(&path).expect("a file"), text.as_bytes())
            .expect("its text");
        Self(path)
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Asks the user manager for something.
#[track_caller]
pub(crate) fn systemctl(args: &[&str]) -> Ran {
    run(&[&["systemctl", "--user"], args].concat())
}

/// A session under its supervisor; both end with the test.
pub(crate) struct Supervised {
    pub(crate) name: String,
    pub(crate) unit: String,
}

impl Supervised {
    /// Names one; nothing is started.
    #[track_caller]
    pub(crate) fn named(name: &str) -> Self {
        forge(&["units", "install"]).ok();
        Self { name: name.to_owned(), unit: format!("forge-spawn@{name}.service") }
    }

    /// Starts one by `systemctl --user start`.
    #[track_caller]
    pub(crate) fn start(name: &str) -> Self {
        let it = Self::named(name);
        systemctl(&["start", &it.unit]).ok();
        it
    }

    /// Starts one by `forge spawn --supervise`.
    #[track_caller]
    pub(crate) fn spawn(name: &str, options: &[&str], command: &[&str]) -> Self {
        let it = Self::named(name);
        forge(&[&["spawn", name, "--supervise"], options, &["--"], command].concat()).ok();
        it
    }

    /// A property of its service.
    #[track_caller]
    pub(crate) fn service(&self, property: &str) -> String {
        user_unit_property(&self.unit, property)
    }

    /// The supervisor's pid; 0 where there is none.
    #[track_caller]
    pub(crate) fn pid(&self) -> u32 {
        self.service("MainPID").parse().expect("a pid")
    }

    /// What forge says of the session; null where it says nothing.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        let ran = forge(&["--json", "status", &self.name]);
        if ran.code == 0 { ran.json() } else { Value::Null }
    }

    /// Its program's pid; 0 where it has none.
    #[track_caller]
    pub(crate) fn program(&self) -> u32 {
        u32::try_from(self.status()["pane_pid"].as_u64().unwrap_or(0)).expect("a pid")
    }

    /// Its server's pid; 0 where it has none.
    #[track_caller]
    pub(crate) fn server(&self) -> u32 {
        u32::try_from(self.status()["server_pid"].as_u64().unwrap_or(0)).expect("a pid")
    }

    /// Waits until the session runs under a supervisor, and gives what forge says of it.
    #[track_caller]
    pub(crate) fn up(&self) -> Value {
        wait_for(Duration::from_secs(60), &format!("{} to run under its supervisor", self.name), || {
            let status = self.status();
            (status["state"] == "running"
                && status["supervised"] == true
                && self.service("ActiveState") == "active")
                .then_some(status)
        })
    }

    /// Waits until it runs again as another program than that, and gives what forge says of it.
    #[track_caller]
    pub(crate) fn up_after(&self, program: u32) -> Value {
        wait_until(
            Duration::from_secs(60),
            &format!("another program of {} than {program}", self.name),
            || ![0, program].contains(&self.program()),
        );
        self.up()
    }

    /// Waits until its service is in that state.
    #[track_caller]
    pub(crate) fn becomes(&self, state: &str) {
        wait_until(Duration::from_secs(60), &format!("{} to be {state}", self.unit), || {
            self.service("ActiveState") == state
        });
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        forge(&["stop", "--timeout", "1", &self.name]);
        systemctl(&["stop", &self.unit]);
        systemctl(&["reset-failed", &self.unit]);
    }
}

/// Sends a signal by its name.
#[track_caller]
pub(crate) fn signal(signal: &str, pid: u32) {
    assert!(pid > 1, "no process");
    run(&["kill", "-s", signal, &pid.to_string()]);
}

/// forge's configuration, for the time of a test.
#[track_caller]
pub(crate) fn configured(text: &str) -> TestFile {
    TestFile::new(".config/forge/forge.toml", text)
}

/// Settings of one supervisor's service, for the time of a test.
pub(crate) struct DropIn(#[allow(dead_code, reason = "it is removed with it")] TestFile);

impl DropIn {
    #[track_caller]
    pub(crate) fn new(name: &str, text: &str) -> Self {
        let file =
            TestFile::new(&format!(".config/systemd/user/forge-spawn@{name}.service.d/test.conf"), text);
        systemctl(&["daemon-reload"]).ok();
        Self(file)
    }
}
