//! The Debian trees and disks of the machines, built once and kept outside the repository.

use crate::ran;
use crate::suite::Debian;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The packages of a machine beside Debian's minimal set.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,tmux,procps,\
    iproute2,login,passwd,util-linux,strace,python3-minimal,ncurses-base,ncurses-term";

/// The disk of a virtual machine; unwritten blocks take no space.
const DISK_SIZE: &str = "3G";

/// Packages of one release only: with polkit, logind lets users delay a shutdown and enable lingering;
/// without it, logind refuses. Both kinds of machine are in use.
fn more_packages(debian: Debian) -> &'static str {
    match debian {
        Debian::Bookworm => "",
        Debian::Trixie => ",polkitd",
    }
}

/// Commands to run in the new tree. `ada` is the tests' user and lingers; `mallory` is another user, hostile
/// in some tests.
const FINISH: &str = r"set -e
useradd --create-home --shell /bin/bash --uid 1000 ada
useradd --create-home --shell /bin/bash --uid 1001 mallory
mkdir -p /var/lib/systemd/linger /var/log/journal
touch /var/lib/systemd/linger/ada
echo 'LANG=C.UTF-8' >/etc/default/locale
# Without a network they could only fail, and in the middle of a test.
systemctl mask apt-daily.timer apt-daily-upgrade.timer fstrim.timer e2scrub_all.timer
# Empty: every machine gets its own id, and its first boot is no set-up.
: >/etc/machine-id
rm -rf /var/cache/apt/archives/*.deb /var/lib/apt/lists/*
";

/// The tree of a container with these additional packages, built now if it does not exist.
pub(crate) fn tree(debian: Debian, packages: &str) -> PathBuf {
    let packages = [PACKAGES, more_packages(debian), packages];
    let recipe = [&packages[..], &[FINISH]].concat();
    cached(debian.name(), &recipe, |tree| build(debian, &packages, FINISH, tree))
}

/// The files that define the agents' directory.
const AGENTS: [&str; 3] = [
    include_str!("../agents/package.json"),
    include_str!("../agents/package-lock.json"),
    include_str!("../setup/agents"),
];

/// A tree with only the agents, in `/opt/agents`: a layer over a container's tree. Built now if it does not
/// exist.
pub(crate) fn agents() -> PathBuf {
    cached("agents", &AGENTS, |tree| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/setup/agents");
        let mut command = Command::new(script);
        command.arg(tree);
        ran::run(command, "tests/setup/agents", Duration::from_secs(900)).ok();
    })
}

/// Additional packages of a virtual machine. `udev` names the ports and loads their modules.
const KERNEL: &str = ",linux-image-cloud-amd64,initramfs-tools,udev,kmod";

/// The harness's programs come as an archive on the second disk, so that the first is the same for all runs;
/// orders come through a port.
const AGENT: &str = r"
cat >/etc/systemd/system/forge-tests.service <<EOF
[Unit]
Requires=dev-vdb.device
After=dev-vdb.device user@1000.service
[Service]
ExecStartPre=tar --extract --file=/dev/vdb --directory=/
ExecStart=/usr/lib/forge-tests/machine --agent
[Install]
WantedBy=multi-user.target
EOF
systemctl enable forge-tests.service
# Slow here, and of no use.
systemctl mask e2scrub_reap.service
# What a user manager has by default, and io.
mkdir /etc/systemd/system/user@.service.d
echo '[Service]
Delegate=cpu io memory pids' >/etc/systemd/system/user@.service.d/delegate.conf
";

/// A folder with the `disk` of a virtual machine, its `vmlinuz` and its `initrd.img`, built now if it does
/// not exist.
pub(crate) fn disk(debian: Debian) -> PathBuf {
    let name = format!("virtual-{}", debian.name());
    let packages = [PACKAGES, more_packages(debian), KERNEL];
    let finish = format!("{FINISH}{AGENT}");
    cached(&name, &[&packages[..], &[&finish, DISK_SIZE]].concat(), |folder| {
        let tree = folder.join("tree");
        fs::create_dir(folder).expect("a folder for the disk");
        build(debian, &packages, &finish, &tree);
        for file in ["vmlinuz", "initrd.img"] {
            fs::copy(tree.join(file), folder.join(file))
                .unwrap_or_else(|error| panic!("no {file} in the tree: {error}"));
        }
        let mut command = Command::new("/sbin/mke2fs");
        command.args(["-q", "-t", "ext4", "-d"]).arg(&tree).arg(folder.join("disk")).arg(DISK_SIZE);
        ran::run(command, "mke2fs", Duration::from_secs(300)).ok();
        remove(&tree);
    })
}

/// The result of this recipe, built now if it does not exist.
fn cached(name: &str, recipe: &[&str], build: impl FnOnce(&Path)) -> PathBuf {
    let cache = std::env::var_os("FORGE_MACHINE_CACHE")
        .map_or_else(|| PathBuf::from("/var/cache/forge-machines"), PathBuf::from);
    fs::create_dir_all(&cache).unwrap_or_else(|error| panic!("cannot make {}: {error}", cache.display()));
    let mut hasher = DefaultHasher::new();
    for part in recipe {
        part.hash(&mut hasher);
    }
    let key = format!("{name}-{:016x}", hasher.finish());
    let built = cache.join(&key);
    // Two runs must not build one image at once; the kernel releases the lock with the file, also for a
    // killed run.
    let lock = File::create(cache.join(format!("{key}.lock"))).expect("the image's lock file");
    lock.lock().expect("the image's lock");
    if !built.exists() {
        let unfinished = cache.join(format!("{key}.new"));
        remove(&unfinished);
        eprintln!("building the image {name} (about a minute, once)");
        build(&unfinished);
        fs::rename(&unfinished, &built).expect("the new image under its name");
        eprintln!("the image {name} is built");
    }
    built
}

fn build(debian: Debian, packages: &[&str], finish: &str, into: &Path) {
    let name = debian.name();
    let output = Command::new("mmdebstrap")
        .args(["--quiet", "--variant=minbase", &format!("--include={}", packages.concat())])
        .arg(format!("--customize-hook=chroot \"$1\" sh -c '{}'", finish.replace('\'', r"'\''")))
        .args([name.as_ref(), into.as_os_str()])
        .output()
        .unwrap_or_else(|error| panic!("mmdebstrap cannot be run (apt-get install mmdebstrap): {error}"));
    if !output.status.success() {
        remove(into);
        panic!(
            "mmdebstrap could not build {name} ({}):\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    // The tree's own mode becomes that of the machine's root directory: other users of the machine must be
    // able to enter it, as on any Debian.
    fs::set_permissions(into, fs::Permissions::from_mode(0o755)).expect("the mode of the tree");
}

fn remove(tree: &Path) {
    if tree.exists() {
        // `rm`, because `remove_dir_all` gives up on the first error.
        let _ = Command::new("rm").args(["-rf", "--one-file-system", "--"]).arg(tree).status();
    }
}
