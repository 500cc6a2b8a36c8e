//! Processes: pidfds, and whether a process is alive.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::kill;
use nix::sys::time::{TimeVal, TimeValLike};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

use super::clock::Deadline;
use super::poll::readable;
use super::proc::read_stat;
use super::signals::Signal;
use crate::model::error::{Result, Trying};
use crate::model::process::ProcessId;
use crate::model::session::condition::ProcessLife;

/// Whether the process is alive. A zombie is gone. If its state cannot be read (forge has no file
/// descriptor left), the process counts as alive.
pub fn life(process: ProcessId) -> ProcessLife {
    match read_stat(process.pid) {
        Ok(Some(found)) if found.start == process.start => match found.state {
            _ if found.has_ended() => ProcessLife::Gone,
            'T' => ProcessLife::Stopped,
            't' => ProcessLife::Traced,
            _ => ProcessLife::Alive,
        },
        Ok(_) => ProcessLife::Gone,
        Err(_) => ProcessLife::Alive,
    }
}

/// Whether the process is still there, stopped or not; see [`life`].
pub fn is_alive(process: ProcessId) -> bool {
    life(process).is_there()
}

/// A pidfd: it refers to one process for ever, even if the kernel reuses the pid.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    fd: OwnedFd,
}

impl Process {
    /// `None` if no process has this pid.
    ///
    /// # Errors
    /// `Failed` if the kernel refuses for another reason.
    pub fn open(pid: u32) -> Result<Option<Self>> {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let Some(raw) = raw else { return Ok(None) };
        match pidfd_open(raw, PidfdFlags::empty()) {
            Ok(fd) => Ok(Some(Self { pid, fd })),
            Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(error) => Err(error).trying(format!("cannot watch process {pid}")),
        }
    }

    /// `None` if the process is gone, also if another process has its pid now.
    ///
    /// # Errors
    /// `Failed` if the kernel refuses for another reason.
    pub fn open_that(process: ProcessId) -> Result<Option<Self>> {
        // Open the descriptor first: from then on the pid cannot become another process's.
        Ok(Self::open(process.pid)?.filter(|_| is_alive(process)))
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub fn ended(&self) -> bool {
        self.wait(Deadline::after(Duration::ZERO))
    }

    /// Waits for the process to end. Returns false if the deadline passes first.
    pub fn wait(&self, deadline: Deadline) -> bool {
        readable(&[self.fd.as_fd()], deadline)[0]
    }

    /// Sends a signal. A process that is gone is not an error.
    ///
    /// # Errors
    /// `Failed` if forge is not permitted to send the signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        // A signal of nix is a signal of rustix: both have the kernel's numbers.
        let Some(signal) = rustix::process::Signal::from_named_raw(signal as i32) else { return Ok(()) };
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

/// A change of a child's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildEvent {
    /// The child ended, by an exit status or by a signal's number. Both are `None` if its result has
    /// already been collected.
    Ended { status: Option<i32>, signal: Option<i32> },
    /// A signal stopped the child.
    Stopped(Signal),
}

/// The next change of a child's state (waitpid(2)), if there is one. Does not wait.
///
/// # Errors
/// `Failed` if the kernel refuses.
pub fn child_event(pid: u32) -> Result<Option<ChildEvent>> {
    let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED;
    loop {
        return match waitpid(nix::unistd::Pid::from_raw(pid.cast_signed()), Some(flags)) {
            Ok(WaitStatus::Exited(_, status)) => {
                Ok(Some(ChildEvent::Ended { status: Some(status), signal: None }))
            }
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                Ok(Some(ChildEvent::Ended { status: None, signal: Some(signal as i32) }))
            }
            Ok(WaitStatus::Stopped(_, signal)) => Ok(Some(ChildEvent::Stopped(signal))),
            Ok(_) => Ok(None),
            Err(Errno::EINTR) => continue,
            Err(Errno::ECHILD) => Ok(Some(ChildEvent::Ended { status: None, signal: None })),
            Err(error) => Err(error).trying("cannot wait for the command"),
        };
    }
}

/// Sends a signal to a child that has not been waited for. If the child has just ended, the next
/// [`child_event`] says so.
pub fn signal_child(pid: u32, signal: Signal) {
    let _ = kill(nix::unistd::Pid::from_raw(pid.cast_signed()), signal);
}

/// CPU time in microseconds of this process's children that have ended and been waited for, and of
/// their children.
pub fn children_cpu_usec() -> Option<u64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).ok()?;
    let micros = |time: TimeVal| u64::try_from(time.num_microseconds()).unwrap_or(0);
    Some(micros(usage.user_time()) + micros(usage.system_time()))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::sys::proc::{is_ending, process_id, process_name};

    #[test]
    fn a_process_with_a_name_outside_utf8_is_alive_and_then_gone() {
        let script = r"printf '\320) Z 1 (' >/proc/$$/comm; echo; read -r line";
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let pid = child.id();
        let process = process_id(pid).unwrap();
        assert_eq!((life(process), is_ending(pid)), (ProcessLife::Alive, false));
        assert_eq!(process_name(pid), "\u{fffd}) Z 1 (");
        child.kill().unwrap();
        assert!(Process::open(pid).unwrap().unwrap().wait(Deadline::after(Duration::from_secs(20))));
        assert_eq!(life(process), ProcessLife::Gone, "a zombie is gone");
        child.wait().unwrap();
    }

    #[test]
    fn a_pid_with_another_start_time_is_another_process() {
        let own = process_id(std::process::id()).unwrap();
        assert!(is_alive(own));
        assert!(!is_alive(ProcessId { start: 1, ..own }));
        assert!(!Process::open(own.pid).unwrap().unwrap().ended());
    }
}
