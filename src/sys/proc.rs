//! Reading `/proc`: the state of a process, its name, its terminal and its I/O counters.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::errno::Errno;

use super::files;
use crate::model::process::ProcessId;

/// Fields of `/proc/PID/stat`, `proc_pid_stat(5)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// `R`, `S`, `Z` …
    pub state: char,
    /// The parent's pid.
    pub parent: u32,
    /// The controlling terminal's device number.
    pub tty: u32,
    /// The kernel's flags (`PF_*` of its `sched.h`).
    pub flags: u64,
    /// Start time, in clock ticks since boot.
    pub start: u64,
}

/// Parses the line. The process chooses its name, which may contain spaces and parentheses, so the
/// fields are those after the last `)`.
pub fn parse_stat(line: &str) -> Option<Stat> {
    let mut fields = line.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let tty = fields.nth(2)?.parse::<i64>().ok()?;
    let flags = fields.nth(1)?.parse().ok()?;
    let start = fields.nth(12)?.parse().ok()?;
    Some(Stat { state, parent, tty: u32::try_from(tty).unwrap_or(0), flags, start })
}

impl Stat {
    /// Whether the process has ended. A zombie has ended, too.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// `None` if there is no such process, or its state cannot be read.
pub fn stat(pid: u32) -> Option<Stat> {
    read_stat(pid).ok()?
}

/// `None` if there is no such process; an error if the kernel refuses for another reason.
pub(super) fn read_stat(pid: u32) -> std::io::Result<Option<Stat>> {
    match read(&format!("{pid}/stat")) {
        Ok(line) => Ok(parse_stat(&line)),
        // The kernel returns ESRCH if the process ends while the file is open.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The process that has this pid now, with its start time; `None` if there is none.
pub fn process_id(pid: u32) -> Option<ProcessId> {
    stat(pid).map(|stat| ProcessId { pid, start: stat.start })
}

/// Reads a file below `/proc`. The file may contain a process's name, which need not be UTF-8: the kernel
/// cuts the name of a program after 15 bytes, possibly inside a character.
pub(super) fn read(file: &str) -> std::io::Result<String> {
    files::read_kernel(&Path::new("/proc").join(file))
}

/// A process's name, as the kernel keeps it: 15 bytes at most.
pub fn process_name(pid: u32) -> String {
    let name = read(&format!("{pid}/comm")).unwrap_or_default();
    name.trim_end().escape_debug().to_string()
}

/// A process's arguments, as the process shows them; empty if the process is gone.
pub fn arguments(pid: u32) -> Vec<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    if bytes.is_empty() {
        return Vec::new();
    }
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(&bytes);
    bytes.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}

/// The pids of all processes.
pub fn pids() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|process| process.file_name().to_str()?.parse().ok()).collect()
}

/// The files that a process has open, as far as forge may read that.
pub fn open_files(pid: u32) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    // Read the links only: the metadata of the files themselves could hang, if a dead server serves them.
    entries.filter_map(|fd| std::fs::read_link(fd.path()).ok()).collect()
}

/// A random UUID from the kernel, version 4.
pub fn random_uuid() -> Option<String> {
    read("sys/kernel/random/uuid").ok().map(|uuid| uuid.trim().to_owned())
}

/// The inodes of the sockets that a process holds; empty if its descriptors cannot be read. The kernel numbers
/// sockets with 32 bits (`get_next_ino` in its source).
pub fn sockets(pid: u32) -> Vec<u32> {
    let inode = |file: &PathBuf| file.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
    open_files(pid).iter().filter_map(inode).collect()
}

/// The program that a process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The file name of the executable. Its path is not enough: Codex 0.171.0 runs its daemon from a copy of its
    /// executable, and an upgrade leaves the daemon of the old version running.
    executable: OsString,
    /// The script, by device and inode, if the executable was started with one.
    script: Option<(u64, u64)>,
}

/// `None` if the process is gone, or belongs to another user.
pub fn program(pid: u32) -> Option<Program> {
    let executable = executable(pid)?.file_name()?.to_owned();
    // The first argument that is not an option, if it is a file.
    let script = arguments(pid).into_iter().skip(1).find(|argument| !argument.starts_with('-'));
    let directory = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
    let file = script.and_then(|script| std::fs::metadata(directory.join(script)).ok());
    let script = file.filter(std::fs::Metadata::is_file).map(|file| (file.dev(), file.ino()));
    Some(Program { executable, script })
}

/// The path of a process's executable, also if the file was deleted since.
pub fn executable(pid: u32) -> Option<PathBuf> {
    let path = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?.into_os_string();
    let bytes = path.as_bytes();
    Some(OsStr::from_bytes(bytes.strip_suffix(b" (deleted)").unwrap_or(bytes)).into())
}

/// Whether a process has ended or is certain to end: the process is gone, the kernel is taking it
/// apart, or a SIGKILL is pending for it.
pub fn is_ending(pid: u32) -> bool {
    /// `PF_EXITING`
    const EXITING: u64 = 0x4;
    const KILL: u64 = 1 << (nix::libc::SIGKILL - 1);
    let Some(found) = stat(pid) else {
        // If other users' processes are hidden (hidepid, proc(5)), a missing file proves nothing.
        return std::fs::read("/proc/1/stat").is_ok();
    };
    if found.has_ended() || found.flags & EXITING != 0 {
        return true;
    }
    let status = read(&format!("{pid}/status")).unwrap_or_default();
    let pending = ["SigPnd:", "ShdPnd:"].into_iter().filter_map(|key| {
        let mask = status.lines().find_map(|line| line.strip_prefix(key))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    });
    pending.fold(0, |all, mask| all | mask) & KILL != 0
}

/// How many bytes a process has written so far with write(2) and writev(2), but not with sendmsg(2)
/// (`wchar` of `proc_pid_io(5)`); `None` if the kernel does not say.
pub fn bytes_written(pid: u32) -> Option<u64> {
    io_counter(pid, "wchar: ")
}

/// How many bytes a process has read so far with read(2) and readv(2) (`rchar` of `proc_pid_io(5)`);
/// `None` if the kernel does not say.
pub fn bytes_read(pid: u32) -> Option<u64> {
    io_counter(pid, "rchar: ")
}

fn io_counter(pid: u32, key: &str) -> Option<u64> {
    read(&format!("{pid}/io")).ok()?.lines().find_map(|line| line.strip_prefix(key)?.parse().ok())
}

/// The process's controlling terminal, if that is a pseudo-terminal.
pub fn terminal(stat: &Stat) -> Option<PathBuf> {
    // Major device number 136, as the kernel packs it.
    let (major, minor) = ((stat.tty >> 8) & 0xfff, (stat.tty & 0xff) | ((stat.tty >> 12) & 0xfff00));
    (major == 136).then(|| format!("/dev/pts/{minor}").into())
}

/// When a process last wrote to its terminal. The kernel keeps this time in steps of 8 seconds.
pub fn last_output(stat: &Stat) -> Option<SystemTime> {
    std::fs::metadata(terminal(stat)?).ok()?.modified().ok()
}

/// Seconds since a process's terminal last had input or output. The kernel updates the times of a
/// terminal in steps of 8 seconds.
pub fn terminal_idle_s(stat: &Stat) -> Option<u64> {
    let metadata = std::fs::metadata(terminal(stat)?).ok()?;
    let last = metadata.modified().ok()?.max(metadata.accessed().ok()?);
    Some(SystemTime::now().duration_since(last).unwrap_or_default().as_secs())
}

/// The score of a session's program, `proc_pid_oom_score_adj(5)`. It is above the 200 of a user's services
/// (a supervisor) and above the score of a login shell (a tmux server), so the kernel kills the program
/// before them.
const OOM_SCORE: i32 = 500;

/// Makes the kernel choose this process, and its children, before the processes that look after them
/// when memory is short. If the score cannot be raised, the program runs with the score it has.
pub fn raise_oom_score() {
    const FILE: &str = "/proc/self/oom_score_adj";
    let current = std::fs::read_to_string(FILE).ok().and_then(|text| text.trim().parse::<i32>().ok());
    let score = OOM_SCORE.max(current.unwrap_or(0).saturating_add(100)).min(1000);
    let _ = File::options().write(true).open(FILE).and_then(|mut file| write!(file, "{score}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_parentheses_does_not_shift_the_fields() {
        let line = "7 (a) R 1 (x)) S 42 7 7 34818 7 4194304 1 0 0 0 0 0 0 0 20 0 1 0 12345 1 1";
        let stat = parse_stat(line).unwrap();
        assert_eq!((stat.state, stat.parent, stat.tty, stat.start), ('S', 42, 34818, 12345));
        assert_eq!(stat.flags, 4_194_304);
        for bad in ["", "7", "7 (x", "7 (x) S", "7 (x) S a"] {
            assert_eq!(parse_stat(bad), None);
        }
    }
}
