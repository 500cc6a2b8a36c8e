//! The Debian trees that machines are made of, built once and kept outside
//! the repository.

use crate::suite::Debian;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a machine has beside Debian's smallest set.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,tmux,procps,\
    iproute2,login,passwd,util-linux,strace,python3-minimal,ncurses-base,ncurses-term";

/// What one release has and the other does not: with polkit logind lets users delay a shutdown and
/// turn lingering on, without it refuses. Both kinds of machine are out there.
fn more_packages(debian: Debian) -> &'static str {
    match debian {
        Debian::Bookworm => "",
        Debian::Trixie => ",polkitd",
    }
}

/// Run in the new tree. `ada` is the user of the tests and lingers; `mallory`
/// is another user, hostile where a test wants one.
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

/// The finished tree of a release, built now if it is not there yet.
pub(crate) fn tree(debian: Debian) -> PathBuf {
    let cache = std::env::var_os("FORGE_MACHINE_CACHE")
        .map_or_else(|| PathBuf::from("/var/cache/forge-machines"), PathBuf::from);
    fs::create_dir_all(&cache).unwrap_or_else(|error| panic!("cannot make {}: {error}", cache.display()));
    let mut hasher = DefaultHasher::new();
    (PACKAGES, more_packages(debian), FINISH).hash(&mut hasher);
    let key = format!("{}-{:016x}", debian.name(), hasher.finish());
    let tree = cache.join(&key);
    // Two runs must not build one image at once; the kernel drops the lock
    // with the file, also of a run that was killed.
    let lock = File::create(cache.join(format!("{key}.lock"))).expect("the image's lock file");
    lock.lock().expect("the image's lock");
    if !tree.exists() {
        let unfinished = cache.join(format!("{key}.new"));
        remove(&unfinished);
        build(debian, &unfinished);
        fs::rename(&unfinished, &tree).expect("the new tree under its name");
    }
    tree
}

fn build(debian: Debian, into: &Path) {
    let name = debian.name();
    eprintln!("building the image of {name} (about a minute, once)");
    let output = Command::new("mmdebstrap")
        .args(["--quiet", "--variant=minbase", &format!("--include={PACKAGES}{}", more_packages(debian))])
        .arg(format!("--customize-hook=chroot \"$1\" sh -c '{}'", FINISH.replace('\'', r"'\''")))
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
    // The tree's own mode would be the root's: keep other users of the host's
    // way in as it is on any Debian.
    fs::set_permissions(into, fs::Permissions::from_mode(0o755)).expect("the mode of the tree");
    eprintln!("the image of {name} is built");
}

fn remove(tree: &Path) {
    if tree.exists() {
        // `rm` and not `remove_dir_all`, which gives up on the first oddity.
        let _ = Command::new("rm").args(["-rf", "--one-file-system", "--"]).arg(tree).status();
    }
}
