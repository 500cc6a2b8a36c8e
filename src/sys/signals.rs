//! Signals as events among others (signalfd(2)), and how this process reacts to them.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

pub use nix::sys::signal::Signal;
use nix::sys::signal::{SigSet, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::model::error::{Result, Trying};

/// Where a signal came from (sigaction(2), `si_code`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The kernel. When a user presses a key such as Ctrl-C, each foreground process of the terminal
    /// gets its own signal.
    Kernel,
    Process,
}

/// Signals that are blocked and read from a file descriptor instead.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
    set: SigSet,
}

impl Signals {
    /// Blocks these signals for this thread and the threads that it starts later. Call it before any
    /// other thread starts. A program that this process executes inherits the blocked signals, unless
    /// it unblocks them.
    ///
    /// # Errors
    /// `Failed` if the kernel refuses.
    pub fn block(signals: &[Signal]) -> Result<Self> {
        let set: SigSet = signals.iter().copied().collect();
        set.thread_block().trying("cannot block signals")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let fd = SignalFd::with_flags(&set, flags).trying("cannot wait for signals")?;
        Ok(Self { fd, set })
    }

    /// Unblocks the signals. If this is not called, they stay blocked until the process ends.
    pub fn unblock(self) {
        let _ = self.set.thread_unblock();
    }

    /// The next pending signal, if there is one. Does not wait.
    pub fn next(&self) -> Option<Signal> {
        self.next_with_origin().map(|(signal, _)| signal)
    }

    /// As [`Self::next`], with the signal's origin.
    pub fn next_with_origin(&self) -> Option<(Signal, Origin)> {
        let signal = self.fd.read_signal().ok().flatten()?;
        let origin = if signal.ssi_code == nix::libc::SI_KERNEL { Origin::Kernel } else { Origin::Process };
        Some((Signal::try_from(i32::try_from(signal.ssi_signo).ok()?).ok()?, origin))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Lets this process outlive the session that it runs in: it no longer ends on SIGHUP, which the kernel
/// sends when the terminal closes, nor on SIGTERM, which a tmux server sends to its children when it
/// ends. forge installs handlers because they apply to all threads; blocking a signal would apply to
/// this thread only.
///
/// # Errors
/// `Failed` if the kernel refuses.
pub fn outlive_session() -> Result<()> {
    for signal in [nix::libc::SIGHUP, nix::libc::SIGTERM] {
        signal_hook::flag::register(signal, Arc::default()).trying("cannot handle signals")?;
    }
    Ok(())
}

/// Makes the kernel report the ends of this process's children, even if its caller ignores SIGCHLD: the
/// kernel would then reap the children by itself (wait(2)).
///
/// # Errors
/// `Failed` if the kernel refuses.
pub fn keep_exit_statuses() -> Result<()> {
    signal_hook::flag::register(nix::libc::SIGCHLD, Arc::default()).map(drop).trying("cannot handle SIGCHLD")
}

/// Stops this process, as a terminal's stop key would. Returns when SIGCONT continues it.
pub fn stop_self() {
    let _ = raise(Signal::SIGSTOP);
}
