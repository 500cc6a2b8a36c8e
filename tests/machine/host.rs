//! The host's side of a run: become root, enter separate namespaces, and leave nothing behind.
//!
//! All machines of a run live in one mount and one PID namespace. When the run ends, even by a kill, the
//! kernel kills all processes in them and removes the mounts. Only empty cgroup directories can stay; the
//! next run removes those.

use crate::ran;
use crate::suite::List;
use std::fs::{self, File};
use std::io::IsTerminal as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

/// The first argument of this program's copy in the namespaces.
pub(crate) const IN_NAMESPACE: &str = "--in-namespace";

const RUNS: &str = "/run/forge-machines";

/// One run of the harness, seen from within its namespaces.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// The prefix of its cgroups' names.
    pub(crate) id: String,
    /// A tmpfs for the run's files.
    pub(crate) dir: PathBuf,
}

/// The hierarchies in which cgroups are created: version 2 wherever it is mounted, and systemd's own version
/// 1 hierarchy, which systemd-nspawn would use.
pub(crate) fn cgroup_roots() -> Vec<PathBuf> {
    ["/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup"]
        .map(PathBuf::from)
        .into_iter()
        .filter(|root| root.join("cgroup.procs").exists())
        .collect()
}

/// Removes a cgroup and those below it, as far as they are empty.
pub(crate) fn remove_cgroup(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&entry.path());
        }
    }
    let _ = fs::remove_dir(folder);
}

/// Runs this program to its end in separate namespaces, with `args`. An error is the reason why machines
/// cannot run here.
pub(crate) fn enter(args: &[String]) -> Result<i32, String> {
    let me = std::env::current_exe().map_err(|error| format!("this program's path: {error}"))?;
    if !nix::unistd::geteuid().is_root() {
        let asks = std::io::stdin().is_terminal();
        let may = Command::new("sudo").args(["-n", "true"]).output().is_ok_and(|out| out.status.success());
        if !(asks || may) {
            return Err("machines need root, and sudo cannot give it without a terminal".to_owned());
        }
        // exec does not return on success.
        let kept = "--preserve-env=FORGE_MACHINE_CACHE,FORGE_PROGRAM,FORGE_SOAK_SEED,FORGE_SOAK_SECONDS,FORGE_TYPING_CASES,FORGE_TYPING_SEED,PATH,RUST_BACKTRACE,TERM";
        let error = Command::new("sudo").arg(kept).arg(me).args(args).exec();
        return Err(format!("machines need root, and sudo cannot be run: {error}"));
    }
    let mut tools = vec![
        ("systemd-nspawn", "systemd-container"),
        ("mmdebstrap", "mmdebstrap"),
        ("unshare", "util-linux"),
        ("setpriv", "util-linux"),
        ("nsenter", "util-linux"),
        ("mount", "mount"),
    ];
    let list = args.first().and_then(|arg| List::named(arg));
    if list == Some(List::Agents) {
        tools.push(("npm", "npm"));
    }
    if list == Some(List::Virtual) {
        tools.extend([
            ("qemu-system-x86_64", "qemu-system-x86"),
            ("/sbin/mke2fs", "e2fsprogs"),
            ("tar", "tar"),
        ]);
    }
    for (tool, package) in tools {
        if Command::new(tool).arg("--version").output().is_err() {
            return Err(format!("{tool} is missing: apt-get install {package} (make setup does it)"));
        }
    }
    remove_leftovers();
    // The name includes the time: containers that share a cgroup tree repeat their pids.
    let since = UNIX_EPOCH.elapsed().unwrap_or_default().as_millis();
    let id = format!("forge-machines-{}-{since:x}", std::process::id());
    let dir = Path::new(RUNS).join(&id);
    fs::create_dir_all(&dir).map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
    // The lock is held while this process lives; it distinguishes a run from leftovers.
    let lock = File::create(dir.join("lock")).map_err(|error| format!("the run's lock: {error}"))?;
    lock.try_lock().map_err(|error| format!("the run's lock: {error}"))?;
    // setpriv: when this process dies, the kernel ends the PID namespace with it.
    let status = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private"])
        .args(["--pid", "--fork", "--kill-child", "--mount-proc", "--"])
        // nohup(1) and background jobs of a shell ignore these, and a shell cannot trap what it inherits as
        // ignored.
        .args(["env", "--default-signal=HUP,INT,QUIT"])
        .arg(me)
        .args([IN_NAMESPACE, &id])
        .args(args)
        .status()
        .map_err(|error| format!("setpriv cannot be run: {error}"))?;
    remove_run(&dir);
    Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)))
}

/// PID 1 of the namespaces: runs this program once more and reaps. A machine
/// cannot end while an orphan of a command that entered it is a zombie.
pub(crate) fn init(args: &[String]) -> i32 {
    use nix::sys::wait::{WaitStatus, wait};
    let me = std::env::current_exe().expect("this program's path");
    let child = Command::new(me).args(args).spawn();
    let child = child.expect("this program again").id().cast_signed();
    loop {
        match wait().expect("a child to wait for") {
            WaitStatus::Exited(pid, code) if pid.as_raw() == child => return code,
            WaitStatus::Signaled(pid, signal, _) if pid.as_raw() == child => {
                return 128 + signal as i32;
            }
            _ => {}
        }
    }
}

/// Removes leftovers of killed runs; a live run holds its lock.
fn remove_leftovers() {
    for entry in fs::read_dir(RUNS).into_iter().flatten().flatten() {
        let Ok(lock) = File::open(entry.path().join("lock")) else {
            continue;
        };
        if lock.try_lock().is_ok() {
            remove_run(&entry.path());
        }
    }
}

fn remove_run(dir: &Path) {
    let Some(id) = dir.file_name().and_then(|name| name.to_str()) else {
        return;
    };
    let prefix = format!("{id}.");
    for root in cgroup_roots() {
        for entry in fs::read_dir(&root).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(&prefix)) {
                remove_cgroup(&entry.path());
            }
        }
    }
    // Its mounts belonged to the namespace and are gone with their files.
    let _ = fs::remove_file(dir.join("lock"));
    let _ = fs::remove_dir(dir);
}

impl Run {
    /// Sets up the run's directories; the first step in the namespaces.
    pub(crate) fn here(id: &str) -> Self {
        let dir = Path::new(RUNS).join(id);
        mount_tmpfs(&dir);
        // systemd-nspawn needs a tmpfs here; if /run is not a tmpfs, it fails with `Attempted to remove disk
        // file system`.
        fs::create_dir_all("/run/systemd/nspawn").expect("/run/systemd/nspawn");
        mount_tmpfs(Path::new("/run/systemd/nspawn"));
        let run = Self { id: id.to_owned(), dir };
        // A layer over the image with the programs under test; one copy serves all machines. The demo shows a
        // release build, although the harness itself is a debug build.
        let forge = std::env::var_os("FORGE_PROGRAM")
            .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_forge")), PathBuf::from);
        let me = std::env::current_exe().expect("this program's path");
        install(&forge, &run.layer().join("usr/bin/forge"));
        install(&me, &run.layer().join("usr/lib/forge-tests/machine"));
        run
    }

    pub(crate) fn layer(&self) -> PathBuf {
        self.dir.join("layer")
    }
}

fn install(program: &Path, to: &Path) {
    fs::create_dir_all(to.parent().expect("a folder")).expect("the layer's folders");
    fs::copy(program, to).unwrap_or_else(|error| panic!("cannot copy {}: {error}", program.display()));
    for path in to.ancestors().take_while(|path| !path.ends_with("layer")) {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("the mode in the layer");
    }
}

fn mount_tmpfs(on: &Path) {
    mount("tmpfs", "mode=755", on);
}

/// Mounts a file system without a device.
pub(crate) fn mount(kind: &str, options: &str, on: &Path) {
    let mut command = Command::new("mount");
    command.args(["-t", kind, "-o", options, kind]).arg(on);
    ran::run(command, &format!("mount a {kind} on {}", on.display()), std::time::Duration::from_secs(20))
        .ok();
}
