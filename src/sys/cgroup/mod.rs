//! Control groups: their processes and their usage. [`attributes`] has what forge writes on a session's group.
//!
//! forge supports version 2 of the hierarchy only (cgroups(7)): systemd 252 and later run on it.

mod attributes;

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};

use super::clock::{Deadline, now_us};
use super::files;
use super::proc;
use super::process::Process;
use super::signals::Signal;
use crate::model::error::{Error, Result, Trying};
use crate::model::usage::Usage;

/// The mount point of the hierarchy.
const ROOT: &str = "/sys/fs/cgroup";

/// The path of a process's control group in the hierarchy, from `/proc/PID/cgroup`. `None` if the process is
/// gone, or the machine has no hierarchy of version 2.
pub fn of_process(pid: u32) -> Option<String> {
    path_in(&proc::read(&format!("{pid}/cgroup")).ok()?).map(ToOwned::to_owned)
}

/// The path in the line of the version 2 hierarchy. A hybrid machine has lines for other hierarchies, too.
pub fn path_in(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

/// Whether version 2 is the only hierarchy.
pub fn is_unified() -> bool {
    Path::new(ROOT).join("cgroup.controllers").exists()
}

/// A control group, by its path. The group need not exist.
#[derive(Debug, Clone)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// The group with this path in the hierarchy, in the form of systemd's `ControlGroup=`.
    pub fn new(control_group: &str) -> Self {
        Self { path: Path::new(ROOT).join(control_group.trim_start_matches('/')) }
    }

    /// The group's path in the hierarchy, in the form of [`Cgroup::new`].
    pub fn control_group(&self) -> String {
        self.path.strip_prefix(ROOT).unwrap_or(&self.path).to_string_lossy().into_owned()
    }

    /// A group below this one.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        Self { path: self.path.join(name) }
    }

    pub fn exists(&self) -> bool {
        self.path.is_dir()
    }

    /// The path of one of the group's files, such as `cgroup.events`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn read(&self, file: &str) -> Option<String> {
        files::read_kernel(&self.path.join(file)).ok()
    }

    /// The value of a key in a flat-keyed file such as `cgroup.events`.
    fn keyed(&self, file: &str, key: &str) -> Option<u64> {
        keyed(&self.read(file)?, key)
    }

    /// The pids of all processes in the group and in its subgroups.
    pub fn processes(&self) -> Vec<u32> {
        let mut pids: Vec<u32> = self
            .read("cgroup.procs")
            .iter()
            .flat_map(|text| text.lines())
            .filter_map(|line| line.parse().ok())
            .collect();
        pids.extend(self.children().iter().flat_map(|name| self.child(name).processes()));
        pids
    }

    /// Whether the group or one of its subgroups contains a process.
    ///
    /// # Errors
    /// `Failed` if the group exists and its file cannot be read. A group that forge cannot read is not an empty group.
    pub fn is_populated(&self) -> Result<bool> {
        match files::read_kernel(&self.path.join("cgroup.events")) {
            Ok(text) => keyed(&text, "populated").map(|populated| populated != 0).ok_or_else(|| {
                Error::failed(format!("{}/cgroup.events has no 'populated'", self.path.display()))
            }),
            Err(error) if gone(&error) => Ok(false),
            Err(error) => Err(error).trying(format!("cannot read {}/cgroup.events", self.path.display())),
        }
    }

    /// Whether all processes of the group are frozen.
    pub fn is_frozen(&self) -> bool {
        self.keyed("cgroup.events", "frozen") == Some(1)
    }

    /// The names of the direct subgroups.
    pub fn children(&self) -> Vec<String> {
        // A directory's link count is 2 plus the number of its subdirectories. Most groups have none, and
        // listing a directory costs five times as much as reading its metadata.
        if self.path.metadata().is_ok_and(|metadata| metadata.nlink() == 2) {
            return Vec::new();
        }
        let Ok(entries) = std::fs::read_dir(&self.path) else { return Vec::new() };
        entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }

    /// Whether all processes of the group are frozen, or the kernel is freezing them. The kernel freezes a process
    /// that waits for a disk only after the disk has answered.
    pub fn is_freezing(&self) -> bool {
        self.is_frozen() || self.read("cgroup.freeze").is_some_and(|text| text.trim() == "1")
    }

    /// The names of the direct subgroups that are frozen by themselves, or that the kernel is freezing.
    pub fn frozen_inside(&self) -> Vec<String> {
        let mut names = self.children();
        names.retain(|name| self.child(name).is_freezing());
        names
    }

    /// Waits until no process is left: the kernel reports it. Returns false if the deadline passes first.
    ///
    /// # Errors
    /// `Failed` if the group exists and its file cannot be read.
    pub fn wait_empty(&self, deadline: Deadline) -> Result<bool> {
        let doing = || format!("cannot watch {}/cgroup.events", self.path.display());
        let mut events = match File::open(self.path.join("cgroup.events")) {
            Ok(file) => file,
            Err(error) if gone(&error) => return Ok(true),
            Err(error) => return Err(error).trying(doing()),
        };
        loop {
            let mut text = String::new();
            match events.rewind().and_then(|()| events.read_to_string(&mut text)) {
                Err(error) if gone(&error) => return Ok(true),
                Err(error) => return Err(error).trying(doing()),
                Ok(_) if keyed(&text, "populated") == Some(0) => return Ok(true),
                Ok(_) if deadline.passed() => return Ok(false),
                Ok(_) => {}
            }
            // The kernel raises POLLPRI when the file changes after it was read.
            match poll(&mut [PollFd::new(events.as_fd(), PollFlags::POLLPRI)], deadline.poll_timeout()) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error).trying(doing()),
            }
        }
    }

    /// Sends SIGTERM to all processes in the group and below, including those that are forked meanwhile. forge
    /// may not signal processes of another user, as sudo(8) starts them; [`Self::kill`] ends them, too.
    ///
    /// # Errors
    /// `Failed` if forge cannot open a pidfd for a process.
    pub fn terminate(&self) -> Result<()> {
        let mut asked = BTreeSet::new();
        loop {
            let pids: Vec<u32> = self.processes().into_iter().filter(|pid| asked.insert(*pid)).collect();
            if pids.is_empty() {
                return Ok(());
            }
            for process in pids.into_iter().filter_map(|pid| Process::open(pid).transpose()) {
                let process = process?;
                // Check the group again: the pid may have become another process's before forge opened it.
                if of_process(process.pid()).is_some_and(|path| self.holds(&path)) {
                    let _ = process.signal(Signal::SIGTERM);
                    // A stopped process would not handle SIGTERM.
                    let _ = process.signal(Signal::SIGCONT);
                }
            }
        }
    }

    /// Thaws the group without the manager, for a manager that does not answer.
    ///
    /// # Errors
    /// `Failed` if the kernel refuses.
    pub fn thaw(&self) -> Result<()> {
        self.write("cgroup.freeze", b"0")
    }

    fn write(&self, file: &str, bytes: &[u8]) -> Result<()> {
        let path = self.file(file);
        match OpenOptions::new().write(true).open(&path).and_then(|mut file| file.write_all(bytes)) {
            Err(error) if !gone(&error) => Err(error).trying(format!("cannot write {}", path.display())),
            _ => Ok(()),
        }
    }

    /// Whether the kernel supports [`Self::kill`].
    pub fn can_kill(&self) -> bool {
        self.path.join("cgroup.kill").exists()
    }

    /// Kills all processes in the group and its subgroups in one step, including those that are forked meanwhile
    /// (`cgroup.kill`, Linux 5.14).
    ///
    /// # Errors
    /// `Failed` if the kernel refuses.
    pub fn kill(&self) -> Result<()> {
        self.write("cgroup.kill", b"1")
    }

    /// The memory in use now, in bytes; `None` if the kernel does not count it for this group.
    pub fn memory(&self) -> Option<u64> {
        self.read("memory.current")?.trim().parse().ok()
    }

    /// The group's memory limit in bytes; `None` if the group has no limit of its own.
    pub fn memory_max(&self) -> Option<u64> {
        self.read("memory.max")?.trim().parse().ok()
    }

    /// The number of out-of-memory kills in the group and its subgroups since the group was made; 0 if the kernel
    /// does not count them for this group.
    pub fn oom_kills(&self) -> u64 {
        self.counted_oom_kills().unwrap_or(0)
    }

    /// As [`Self::oom_kills`]; `None` if the kernel does not count them for this group.
    pub fn counted_oom_kills(&self) -> Option<u64> {
        self.keyed("memory.events", "oom_kill")
    }

    /// Whether the group with this path in the hierarchy is this group or one of its subgroups.
    pub fn holds(&self, control_group: &str) -> bool {
        Self::new(control_group).path.starts_with(&self.path)
    }

    /// The controllers that the group can enable for its subgroups (`cgroup.controllers`).
    pub fn controllers(&self) -> Vec<String> {
        let text = self.read("cgroup.controllers").unwrap_or_default();
        text.split_whitespace().map(ToOwned::to_owned).collect()
    }

    /// The CPU time used by the group, in microseconds.
    pub fn cpu_usec(&self) -> Option<u64> {
        self.keyed("cpu.stat", "usage_usec")
    }

    /// The group's usage. `since_us` is when the session started, in microseconds since 1970.
    pub fn usage(&self, since_us: Option<u64>) -> Usage {
        Usage {
            cpu_usec: self.cpu_usec(),
            memory_peak: self.read("memory.peak").and_then(|text| text.trim().parse().ok()),
            duration_usec: since_us.map(|since| now_us().saturating_sub(since)),
        }
    }

    /// Watches the group's out-of-memory kills; `None` if the kernel does not count them for this group.
    pub fn watch_oom_kills(&self) -> Option<OomKills> {
        let mut kills = OomKills { file: File::open(self.path.join("memory.events")).ok()?, seen: 0 };
        kills.new_kills();
        Some(kills)
    }
}

/// The out-of-memory kills of a group; the kernel raises `POLLPRI` at each.
#[derive(Debug)]
pub struct OomKills {
    file: File,
    seen: u64,
}

impl OomKills {
    /// The number of kills since the last call; 0 if the group is gone.
    pub fn new_kills(&mut self) -> u64 {
        let mut text = String::new();
        let read = self.file.rewind().and_then(|()| self.file.read_to_string(&mut text));
        let Some(count) = read.ok().and_then(|_| keyed(&text, "oom_kill")) else { return 0 };
        count.saturating_sub(std::mem::replace(&mut self.seen, count))
    }
}

impl AsFd for OomKills {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Whether the error means that the group is gone. A read of an open file of a removed group fails with it.
fn gone(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ENODEV as i32)
}

/// The value of a key in a flat-keyed file.
pub fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_comes_from_the_line_of_version_2() {
        let text = "9:name=systemd:/et/payload\n8:pids:/\n0::/user.slice/x\n";
        assert_eq!(path_in(text), Some("/user.slice/x"));
        assert_eq!(path_in("8:pids:/\n"), None);
    }

    #[test]
    fn a_key_matches_completely_or_not_at_all() {
        let text = "populated 1\nfrozen 0\nusage_usec_x 3\nusage_usec 7\n";
        assert_eq!(keyed(text, "populated"), Some(1));
        assert_eq!(keyed(text, "usage_usec"), Some(7));
        assert_eq!(keyed(text, "froze"), None);
    }

    #[test]
    fn a_removed_group_is_empty() {
        let group = Cgroup::new("/no/such/group");
        assert!(!group.is_populated().unwrap());
        assert!(group.wait_empty(Deadline::after(std::time::Duration::ZERO)).unwrap());
        assert!(group.mark().is_none() && group.processes().is_empty());
        group.kill().unwrap();
    }
}
