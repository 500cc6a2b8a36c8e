//! One booted machine, as the host controls it.

use crate::enter;
use crate::host::{self, Run};
use crate::image;
use crate::ran::{self, Background, Ran};
use crate::suite::Debian;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The user whose machine it is.
pub(crate) const USER: &str = "ada";

/// How long a boot may take; it takes one second.
const BOOT: Duration = Duration::from_secs(60);
/// How long one program may take, unless the test's deadline is earlier.
const USUAL: Duration = Duration::from_secs(60);
/// systemd-nspawn's status when the machine asked for a reboot.
const REBOOT_STATUS: i32 = 133;

pub(crate) struct Machine {
    debian: Debian,
    run: Run,
    name: String,
    dir: PathBuf,
    boots: u32,
    booted: Option<Booted>,
    /// The machine's last console output during boot.
    said: String,
    /// The end of the running test; no wait goes beyond it.
    pub(crate) deadline: Instant,
}

/// State that exists only while the machine runs.
struct Booted {
    nspawn: Child,
    /// The machine's PID 1, as the host numbers it.
    leader: u32,
    cgroup: String,
}

impl Machine {
    /// Creates and boots a new machine with these additional packages.
    pub(crate) fn new(debian: Debian, packages: &str, run: &Run) -> Self {
        Self::over(debian, &[image::tree(debian, packages)], run)
    }

    /// Creates and boots a new machine with the agents in `/opt/agents`.
    pub(crate) fn with_agents(debian: Debian, packages: &str, run: &Run) -> Self {
        Self::over(debian, &[image::agents(), image::tree(debian, packages)], run)
    }

    /// Creates and boots a new machine from these trees, the upper ones first.
    fn over(debian: Debian, trees: &[PathBuf], run: &Run) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let name = format!("{}-{}", debian.name(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = run.dir.join(&name);
        for folder in ["upper/etc", "work", "root"] {
            fs::create_dir_all(dir.join(folder)).expect("the machine's folders");
        }
        fs::write(dir.join("upper/etc/hostname"), format!("{name}\n")).expect("the machine's name");
        let lower: Vec<String> =
            [&[run.layer()], trees].concat().iter().map(|tree| tree.display().to_string()).collect();
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            lower.join(":"),
            dir.join("upper").display(),
            dir.join("work").display()
        );
        host::mount("overlay", &options, &dir.join("root"));
        let mut machine = Self {
            debian,
            run: run.clone(),
            name,
            dir,
            boots: 0,
            booted: None,
            said: String::new(),
            deadline: Instant::now() + BOOT,
        };
        machine.boot();
        machine
    }

    #[allow(dead_code, reason = "for the tests that need it")]
    pub(crate) fn debian(&self) -> Debian {
        self.debian
    }

    /// Runs `argv` to its end as the user, in a fresh login session.
    #[track_caller]
    pub(crate) fn user(&self, argv: &[&str]) -> Ran {
        self.as_user(USER, argv)
    }

    /// Runs `argv` to its end as that user, in a fresh login session.
    #[track_caller]
    pub(crate) fn as_user(&self, user: &str, argv: &[&str]) -> Ran {
        ran::run(self.command(user, argv), &argv.join(" "), self.left(USUAL))
    }

    /// Runs `argv` to its end as root.
    #[track_caller]
    pub(crate) fn root(&self, argv: &[&str]) -> Ran {
        self.as_user("root", argv)
    }

    /// Starts `argv` as the user and leaves it running.
    #[track_caller]
    pub(crate) fn spawn_user(&self, argv: &[&str]) -> Background {
        ran::start(self.command(USER, argv), &argv.join(" "))
    }

    /// A file of the running machine, its /tmp and /run included. Absolute
    /// symbolic links on the way would lead to the host's files.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.booted().leader));
        root.join(path.trim_start_matches('/'))
    }

    pub(crate) fn boot_id(&self) -> String {
        // The format of journalctl.
        let id = self.root(&["cat", "/proc/sys/kernel/random/boot_id"]).ok().stdout;
        id.trim().replace('-', "")
    }

    /// An orderly reboot, until the user manager is up again.
    #[track_caller]
    pub(crate) fn reboot(&mut self) {
        // The machine goes down during the command, so its status means nothing.
        let _ = self.root(&["systemctl", "reboot"]);
        let limit = self.left(BOOT);
        let mut booted = self.booted.take().expect("a booted machine");
        if !ran::ended_within(&mut booted.nspawn, limit) {
            self.booted = Some(booted);
            panic!("the machine did not go down in {} s\n{}", limit.as_secs(), self.console());
        }
        let status = booted.nspawn.wait().expect("systemd-nspawn's status");
        remove_cgroups(&booted.cgroup);
        assert!(
            status.code() == Some(REBOOT_STATUS),
            "systemd-nspawn ended with {status} and not for a reboot\n{}",
            self.console()
        );
        self.boot();
    }

    /// Kills everything at once, then boots until the user manager is up again.
    #[track_caller]
    pub(crate) fn power_cut(&mut self) {
        self.kill();
        self.boot();
    }

    /// A command that runs `argv` in the machine.
    pub(crate) fn command(&self, user: &str, argv: &[&str]) -> Command {
        enter::command(self.booted().leader, user, argv)
    }

    /// The last lines that the machine wrote to its console.
    pub(crate) fn console(&self) -> String {
        console(&self.name, &self.dir)
    }

    fn booted(&self) -> &Booted {
        self.booted.as_ref().expect("a booted machine")
    }

    fn left(&self, at_most: Duration) -> Duration {
        self.deadline.saturating_duration_since(Instant::now()).min(at_most)
    }

    #[track_caller]
    fn boot(&mut self) {
        self.boots += 1;
        // Every boot gets its own cgroup: machines that shared one could not see it empty, and a reboot would
        // wait for two minutes.
        let cgroup = format!("{}.{}.{}", self.run.id, self.name, self.boots);
        let folders = host::cgroup_roots().into_iter().map(|root| root.join(&cgroup));
        let procs: Vec<PathBuf> = folders
            .map(|folder| {
                fs::create_dir(&folder)
                    .unwrap_or_else(|error| panic!("cannot make {}: {error}", folder.display()));
                folder.join("cgroup.procs")
            })
            .collect();
        let console =
            File::options().append(true).create(true).open(self.dir.join("console")).expect("a console");
        let mut command = Command::new("sh");
        command.args(["-c", enter::JOIN, "join"]).args(procs).args([
            "--",
            "systemd-nspawn",
            "--quiet",
            "-M",
            &self.name,
        ]);
        command.arg("-D").arg(self.dir.join("root"));
        command.args(["--boot", "--register=no", "--keep-unit", "--console=pipe", "--private-network"]);
        command.args(["--link-journal=no", "--settings=no", "--resolv-conf=off", "--timezone=off"]);
        let nspawn = command
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .stdin(Stdio::null())
            .stdout(console.try_clone().expect("a console"))
            .stderr(console)
            .spawn()
            .expect("systemd-nspawn");
        let leader = 0;
        self.booted = Some(Booted { nspawn, leader, cgroup });
        self.wait_for("PID 1", |machine| {
            machine.booted.as_mut()?.leader = enter::leader_of(machine.booted().nspawn.id())?;
            Some(())
        });
        self.wait_for("the user's bus", |machine| machine.path("/run/user/1000/bus").exists().then_some(()));
        self.wait_for("the end of the boot", |machine| {
            let system = machine.root(&["systemctl", "is-system-running"]);
            let user = machine.root(&["systemctl", "is-active", "user@1000.service"]);
            let up = ["running\n", "degraded\n"].contains(&system.stdout.as_str());
            machine.said = format!("{system}{user}");
            (up && user.code == 0).then_some(())
        });
        self.user(&["busctl", "--user", "status"]).ok();
    }

    fn wait_for<T>(&mut self, what: &str, mut probe: impl FnMut(&mut Self) -> Option<T>) -> T {
        let end = Instant::now() + self.left(BOOT);
        loop {
            if let Some(found) = probe(self) {
                return found;
            }
            let ended = self.booted.as_mut().and_then(|booted| booted.nspawn.try_wait().ok().flatten());
            if let Some(status) = ended {
                panic!("systemd-nspawn ended with {status}, before {what}\n{}", self.console());
            }
            assert!(Instant::now() < end, "waited in vain for {what}\n{}{}", self.said, self.console());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills the machine at once.
    fn kill(&mut self) {
        let Some(mut booted) = self.booted.take() else {
            return;
        };
        if booted.leader != 0 {
            ran::kill(booted.leader);
        }
        if !ran::ended_within(&mut booted.nspawn, Duration::from_secs(10)) {
            ran::kill_tree(booted.nspawn.id());
            let _ = booted.nspawn.wait();
        }
        remove_cgroups(&booted.cgroup);
    }
}

/// The kernel empties the cgroups a moment after the last process.
fn remove_cgroups(cgroup: &str) {
    let end = Instant::now() + Duration::from_secs(5);
    for folder in host::cgroup_roots().into_iter().map(|root| root.join(cgroup)) {
        while folder.exists() && Instant::now() < end {
            host::remove_cgroup(&folder);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kill();
        // Lazily, because a process on the host may still use it.
        let _ = Command::new("umount").arg("-l").arg(self.dir.join("root")).status();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The last console lines of a machine with this directory.
pub(crate) fn console(name: &str, dir: &Path) -> String {
    let bytes = fs::read(dir.join("console")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(40)..].join("\n");
    format!("--- {name}'s console:\n{tail}")
}

/// Describes a machine after a failure.
pub(crate) fn last_words(machine: &Machine) -> String {
    let end = machine
        .booted
        .as_ref()
        .is_none_or(|booted| !Path::new("/proc").join(booted.leader.to_string()).exists());
    if end {
        return machine.console();
    }
    let journal = ["journalctl", "-n", "40", "--no-pager", "-o", "short-precise"];
    let command = machine.command("root", &journal);
    let ran = ran::run(command, "journalctl", Duration::from_secs(20));
    format!("--- the end of {}'s journal:\n{}", machine.name, ran.stdout)
}

/// The status of a child, as a shell reports it.
pub(crate) fn exit_code(status: std::process::ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}
