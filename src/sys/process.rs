//! Processes: pidfds, `/proc`, and running a program with a deadline.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::execv;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::clock::Deadline;
use super::files;
use crate::model::error::{Error, Kind, Result, Trying};
use crate::model::session::condition::ProcessLife;

/// What `/proc/PID/stat` says, `proc_pid_stat(5)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// `R`, `S`, `Z` …
    pub state: char,
    /// The parent.
    pub parent: u32,
    /// The controlling terminal's device number.
    pub tty: u32,
    /// The kernel's flags (`PF_*` of its `sched.h`).
    pub flags: u64,
    /// Clock ticks since boot at the start.
    pub start: u64,
}

/// Reads the line. The name in it may hold anything, so what follows its last `)` counts.
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
    /// Whether it has ended: a zombie has, too.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// The process's [`Stat`]; `None` where there is no such process.
pub fn stat(pid: u32) -> Option<Stat> {
    read_stat(pid).ok()?
}

/// The same; an error where it cannot be told.
fn read_stat(pid: u32) -> std::io::Result<Option<Stat>> {
    match read_proc(&format!("{pid}/stat")) {
        Ok(line) => Ok(parse_stat(&line)),
        // The second when the process ends while its file is open.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a file below `/proc`. There may be a process's name in it, which need not be UTF-8: the kernel cuts
/// the name of a program after 15 bytes, wherever that is.
pub(super) fn read_proc(file: &str) -> std::io::Result<String> {
    files::read_kernel(&Path::new("/proc").join(file))
}

/// How the very process that started then is; a zombie is gone. Where it cannot be told (no
/// descriptor is left to read it with) it is alive.
pub fn life(pid: u32, start: u64) -> ProcessLife {
    match read_stat(pid) {
        Ok(Some(found)) if found.start == start => match found.state {
            _ if found.has_ended() => ProcessLife::Gone,
            'T' => ProcessLife::Stopped,
            't' => ProcessLife::Traced,
            _ => ProcessLife::Alive,
        },
        Ok(_) => ProcessLife::Gone,
        Err(_) => ProcessLife::Alive,
    }
}

/// Whether the very process that started then is still there.
pub fn is_alive(pid: u32, start: u64) -> bool {
    life(pid, start).is_there()
}

/// A process's name, as the kernel keeps it: 15 bytes at most.
pub fn process_name(pid: u32) -> String {
    let name = read_proc(&format!("{pid}/comm")).unwrap_or_default();
    name.trim_end().escape_debug().to_string()
}

/// A process's arguments, as it shows them; none where it is gone.
pub fn arguments(pid: u32) -> Vec<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    bytes.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}

/// Whether a process ends, or is as good as ended: it is gone, or the kernel is taking it apart, or
/// has a SIGKILL for it.
pub fn is_ending(pid: u32) -> bool {
    /// `PF_EXITING`
    const EXITING: u64 = 0x4;
    const KILL: u64 = 1 << (nix::libc::SIGKILL - 1);
    let Some(found) = stat(pid) else {
        // Where others' processes are hidden (hidepid, proc(5)) nothing can be told by that.
        return std::fs::read("/proc/1/stat").is_ok();
    };
    if found.has_ended() || found.flags & EXITING != 0 {
        return true;
    }
    let status = read_proc(&format!("{pid}/status")).unwrap_or_default();
    let pending = ["SigPnd:", "ShdPnd:"].into_iter().filter_map(|key| {
        let mask = status.lines().find_map(|line| line.strip_prefix(key))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    });
    pending.fold(0, |all, mask| all | mask) & KILL != 0
}

/// How many bytes a process has written so far, by write(2) and writev(2) and not by sendmsg(2)
/// (`wchar` of `proc_pid_io(5)`); `None` where the kernel does not tell.
pub fn written(pid: u32) -> Option<u64> {
    counted(pid, "wchar: ")
}

/// The same for what it has read, by read(2) and readv(2) (`rchar`).
pub fn read_so_far(pid: u32) -> Option<u64> {
    counted(pid, "rchar: ")
}

fn counted(pid: u32, key: &str) -> Option<u64> {
    read_proc(&format!("{pid}/io")).ok()?.lines().find_map(|line| line.strip_prefix(key)?.parse().ok())
}

/// The terminal that a process runs on, where it is a pseudo-terminal.
pub fn terminal(stat: &Stat) -> Option<PathBuf> {
    // Major device number 136, as the kernel packs it.
    let (major, minor) = ((stat.tty >> 8) & 0xfff, (stat.tty & 0xff) | ((stat.tty >> 12) & 0xfff00));
    (major == 136).then(|| format!("/dev/pts/{minor}").into())
}

/// When a process last wrote to its terminal, to 8 seconds.
pub fn last_output(stat: &Stat) -> Option<SystemTime> {
    std::fs::metadata(terminal(stat)?).ok()?.modified().ok()
}

/// When something last came or went through a process's terminal, as seconds ago. The kernel
/// updates the times of a terminal in steps of 8 seconds.
pub fn terminal_idle_s(stat: &Stat) -> Option<u64> {
    let metadata = std::fs::metadata(terminal(stat)?).ok()?;
    let last = metadata.modified().ok()?.max(metadata.accessed().ok()?);
    Some(SystemTime::now().duration_since(last).unwrap_or_default().as_secs())
}

/// A process that cannot be mistaken for another, however pids are reused.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    fd: OwnedFd,
}

impl Process {
    /// Opens it; `None` where it is gone.
    ///
    /// # Errors
    /// When the kernel refuses for another reason.
    pub fn open(pid: u32) -> Result<Option<Self>> {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let Some(raw) = raw else { return Ok(None) };
        match pidfd_open(raw, PidfdFlags::empty()) {
            Ok(fd) => Ok(Some(Self { pid, fd })),
            Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(error) => Err(error).trying(format!("cannot watch process {pid}")),
        }
    }

    /// Opens the very process that started then; `None` where it is gone, or the number is another's.
    ///
    /// # Errors
    /// When the kernel refuses for another reason.
    pub fn open_that(pid: u32, start: u64) -> Result<Option<Self>> {
        // First the descriptor: from then on the number cannot become another's.
        Ok(Self::open(pid)?.filter(|_| is_alive(pid, start)))
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it ended.
    pub fn ended(&self) -> bool {
        self.wait(Deadline::after(Duration::ZERO))
    }

    /// Waits until it ends; `false` when the deadline came first.
    pub fn wait(&self, deadline: Deadline) -> bool {
        readable(&[self.fd.as_fd()], deadline)[0]
    }

    /// Sends a signal; that it is gone is fine.
    ///
    /// # Errors
    /// When the signal may not be sent.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        match pidfd_send_signal(&self.fd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error).trying(format!("cannot signal process {}", self.pid)),
        }
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Waits until one of the descriptors has something to read or is at its end; says which.
/// All are false when the deadline came first.
pub fn readable(fds: &[BorrowedFd<'_>], deadline: Deadline) -> Vec<bool> {
    let fds: Vec<_> = fds.iter().map(|fd| (*fd, PollFlags::POLLIN)).collect();
    ready(&fds, deadline)
}

/// The same with what each descriptor is waited for.
pub fn ready(fds: &[(BorrowedFd<'_>, PollFlags)], deadline: Deadline) -> Vec<bool> {
    loop {
        let mut polled: Vec<PollFd<'_>> = fds.iter().map(|(fd, flags)| PollFd::new(*fd, *flags)).collect();
        match poll(&mut polled, deadline.poll_timeout()) {
            Err(Errno::EINTR) => {}
            Ok(0) | Err(_) if !deadline.passed() => {}
            _ => return polled.iter().map(|fd| fd.any().unwrap_or(false)).collect(),
        }
    }
}

/// The score of a session's program, `proc_pid_oom_score_adj(5)`: above the 200 of a user's services
/// (a supervisor) and what a login shell has (a tmux server), so that it is killed before them.
const OOM_SCORE: i32 = 500;

/// When memory is short the kernel chooses this process, and what it starts, before those that look
/// after it. One that cannot be made a better choice runs all the same.
pub fn raise_oom_score() {
    const FILE: &str = "/proc/self/oom_score_adj";
    let current = std::fs::read_to_string(FILE).ok().and_then(|text| text.trim().parse::<i32>().ok());
    let score = OOM_SCORE.max(current.unwrap_or(0).saturating_add(100)).min(1000);
    let _ = File::options().write(true).open(FILE).and_then(|mut file| write!(file, "{score}"));
}

/// From now on this process outlives the session that it was called from: it does not end of
/// SIGHUP, which comes with the end of its terminal, nor of SIGTERM, which a tmux server sends to
/// what it runs when it ends. For all threads, and so by a handler: a blocked signal would only
/// be blocked for this one.
///
/// # Errors
/// When the kernel refuses.
pub fn outlive_session() -> Result<()> {
    for signal in [nix::libc::SIGHUP, nix::libc::SIGTERM] {
        signal_hook::flag::register(signal, Arc::default()).trying("cannot handle signals")?;
    }
    Ok(())
}

/// Has a process use a disk only when nobody else does (`ioprio_set(2)`, the idle class). There is no
/// such limit in a user manager: the io controller is not delegated to it. Says whether that worked.
pub fn idle_io(pid: u32) -> bool {
    let mut command = Command::new("ionice");
    command.args(["-c", "3", "-p", &pid.to_string()]);
    run(&mut command, Deadline::after(Duration::from_secs(5))).is_ok_and(|output| output.success)
}

/// Has the kernel tell this process of the ends of its children, also where its caller ignores SIGCHLD:
/// then it would wait for them by itself (wait(2)).
///
/// # Errors
/// When the kernel refuses.
pub fn hear_of_children() -> Result<()> {
    signal_hook::flag::register(nix::libc::SIGCHLD, Arc::default()).map(drop).trying("cannot handle SIGCHLD")
}

/// The CPU time of the children of this process that have ended and been waited for, and of theirs, in
/// microseconds.
pub fn children_cpu_usec() -> Option<u64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).ok()?;
    let micros = |time: TimeVal| u64::try_from(time.num_microseconds()).unwrap_or(0);
    Some(micros(usage.user_time()) + micros(usage.system_time()))
}

/// Becomes another program, with the signals blocked that are blocked now: what the standard
/// library executes has none blocked, and would end of one that comes at the wrong moment.
///
/// # Errors
/// When it cannot be executed.
pub fn become_program(path: &Path, arguments: &[&str]) -> Result<Infallible> {
    let doing = || format!("cannot run {}", path.display());
    let text = |text: &[u8]| CString::new(text).trying(doing());
    let program = text(path.as_os_str().as_encoded_bytes())?;
    let arguments = arguments.iter().map(|argument| text(argument.as_bytes())).collect::<Result<Vec<_>>>()?;
    execv(&program, &arguments).trying(doing())
}

/// What a program printed, and how it ended.
#[derive(Debug)]
pub struct CommandOutput {
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// Whether its exit status was 0.
    pub success: bool,
}

/// Runs a program to its end, without input.
///
/// # Errors
/// When it cannot be started, or does not end in time: then it is killed.
pub fn run(command: &mut Command, deadline: Deadline) -> Result<CommandOutput> {
    run_from(command, Stdio::null(), deadline)
}

/// Runs a program to its end, with that on its standard input. It may leave it unread: it comes
/// from memory, and not through a pipe that somebody would have to keep filling.
///
/// # Errors
/// As for [`run`].
pub fn run_with_input(command: &mut Command, input: &[u8], deadline: Deadline) -> Result<CommandOutput> {
    let doing = "cannot keep the input of a program";
    let memory = memfd_create("forge-input", MemfdFlags::CLOEXEC).trying(doing)?;
    let mut file = File::from(memory);
    file.write_all(input).and_then(|()| file.rewind()).trying(doing)?;
    run_from(command, file.into(), deadline)
}

fn run_from(command: &mut Command, input: Stdio, deadline: Deadline) -> Result<CommandOutput> {
    let name = command.get_program().to_string_lossy().into_owned();
    let child = command
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .trying(format!("cannot run {name}"))?;
    finish(child, &name, deadline)
}

/// Collects what a child prints until it ends.
///
/// # Errors
/// When it does not end in time: then it is killed.
pub fn finish(mut child: Child, name: &str, deadline: Deadline) -> Result<CommandOutput> {
    let mut collected = [Vec::new(), Vec::new()];
    let process = Process::open(child.id());
    let known = process.as_ref().ok().and_then(Option::as_ref);
    let finished = collect(&mut child, known, &mut collected, deadline);
    if !finished {
        let _ = child.kill();
        let _ = child.wait();
        return Err(Error::new(Kind::Deadline, format!("{name} did not answer in time and was ended")));
    }
    // A program that closes its output and lives on is given up on.
    if process?.is_some_and(|process| !process.wait(deadline)) {
        let _ = child.kill();
    }
    let status = child.wait().trying(format!("cannot wait for {name}"))?;
    let [stdout, stderr] = collected.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok(CommandOutput { stdout, stderr, success: status.success() })
}

/// Reads both outputs to their ends, or to what is there when the program ends: what it leaves in the
/// background may keep them open. `false` when the deadline came first.
fn collect(
    child: &mut Child,
    process: Option<&Process>,
    into: &mut [Vec<u8>; 2],
    deadline: Deadline,
) -> bool {
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let mut ended = false;
    loop {
        let mut fds = Vec::new();
        fds.extend(stdout.as_ref().map(AsFd::as_fd));
        fds.extend(stderr.as_ref().map(AsFd::as_fd));
        if fds.is_empty() {
            return true;
        }
        let end = process.filter(|_| !ended);
        fds.extend(end.map(AsFd::as_fd));
        let ready = readable(&fds, if ended { Deadline::after(Duration::ZERO) } else { deadline });
        if !ready.contains(&true) || (ended && deadline.passed()) {
            return ended;
        }
        ended |= end.is_some() && ready.last() == Some(&true);
        let mut ready = ready.into_iter();
        if stdout.is_some() && ready.next() == Some(true) && !read_some(stdout.as_mut(), &mut into[0]) {
            stdout = None;
        }
        if stderr.is_some() && ready.next() == Some(true) && !read_some(stderr.as_mut(), &mut into[1]) {
            stderr = None;
        }
    }
}

/// Reads once; `false` at the end.
fn read_some(from: Option<&mut impl Read>, into: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 16_384];
    match from.map(|from| from.read(&mut buffer)) {
        Some(Ok(count)) if count > 0 => {
            into.extend_from_slice(&buffer[..count]);
            true
        }
        Some(Err(error)) if error.kind() == std::io::ErrorKind::Interrupted => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_hostile_name_does_not_confuse_the_reader() {
        let line = "7 (a) R 1 (x)) S 42 7 7 34818 7 4194304 1 0 0 0 0 0 0 0 20 0 1 0 12345 1 1";
        let stat = parse_stat(line).unwrap();
        assert_eq!((stat.state, stat.parent, stat.tty, stat.start), ('S', 42, 34818, 12345));
        assert_eq!(stat.flags, 4_194_304);
        for bad in ["", "7", "7 (x", "7 (x) S", "7 (x) S a"] {
            assert_eq!(parse_stat(bad), None);
        }
    }

    #[test]
    fn a_process_whose_name_is_no_text_is_seen_to_live_and_to_end() {
        let script = r"printf '\320) Z 1 (' >/proc/$$/comm; echo; read -r line";
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let pid = child.id();
        let start = stat(pid).unwrap().start;
        assert_eq!((life(pid, start), is_ending(pid)), (ProcessLife::Alive, false));
        assert_eq!(process_name(pid), "\u{fffd}) Z 1 (");
        child.kill().unwrap();
        assert!(Process::open(pid).unwrap().unwrap().wait(Deadline::after(Duration::from_secs(20))));
        assert_eq!(life(pid, start), ProcessLife::Gone, "a zombie is gone");
        child.wait().unwrap();
    }

    #[test]
    fn one_is_oneself() {
        let own = std::process::id();
        assert!(is_alive(own, stat(own).unwrap().start));
        assert!(!is_alive(own, 1));
        assert!(!Process::open(own).unwrap().unwrap().ended());
    }

    #[test]
    fn a_program_that_hangs_is_ended_at_the_deadline() {
        let error =
            run(Command::new("sleep").arg("60"), Deadline::after(Duration::from_millis(50))).unwrap_err();
        assert_eq!(error.kind, Kind::Deadline);
    }

    #[test]
    fn what_a_program_leaves_in_the_background_is_not_waited_for() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & echo $!; exit 3"]);
        let output = run(&mut command, Deadline::after(Duration::from_secs(20))).unwrap();
        assert!(!output.success);
        let left = Process::open(output.stdout.trim().parse().unwrap()).unwrap().unwrap();
        assert!(!left.ended());
        left.signal(Signal::KILL).unwrap();
    }

    #[test]
    fn input_may_be_long_and_unread() {
        let input = vec![b'x'; 1 << 20];
        let soon = || Deadline::after(Duration::from_secs(20));
        assert!(run_with_input(&mut Command::new("true"), &input, soon()).unwrap().success);
        let counted = run_with_input(Command::new("wc").arg("-c"), &input, soon()).unwrap();
        assert_eq!(counted.stdout.trim(), (1 << 20).to_string());
    }

    #[test]
    fn both_outputs_are_collected_whole() {
        let script = "i=0; while [ $i -lt 9000 ]; do echo out$i; echo err$i >&2; i=$((i+1)); done; exit 3";
        let output =
            run(Command::new("sh").args(["-c", script]), Deadline::after(Duration::from_secs(20))).unwrap();
        assert_eq!((output.stdout.lines().count(), output.stderr.lines().count()), (9000, 9000));
        assert!(!output.success);
    }
}
