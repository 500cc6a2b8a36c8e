//! Signals, taken as events among others: signalfd(2).

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::model::error::{Result, Trying};

/// Where a signal came from (sigaction(2), `si_code`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The kernel: of a terminal's keys all its foreground processes get one each.
    Kernel,
    /// A process.
    Process,
}

/// Signals that no longer do what they usually do, and are waited for instead.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
    set: SigSet,
}

impl Signals {
    /// Takes these, from this thread and those that it starts later: before any other is started.
    /// What one of them then executes has them too, unless it unblocks them.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn take_over(signals: &[Signal]) -> Result<Self> {
        let set: SigSet = signals.iter().copied().collect();
        set.thread_block().trying("cannot block signals")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let fd = SignalFd::with_flags(&set, flags).trying("cannot wait for signals")?;
        Ok(Self { fd, set })
    }

    /// Gives them back what they usually do. Without it they stay blocked to the end of the process.
    pub fn give_back(self) {
        let _ = self.set.thread_unblock();
    }

    /// The next one that came, where one did.
    pub fn next(&self) -> Option<Signal> {
        self.next_with_origin().map(|(signal, _)| signal)
    }

    /// The same, and where it came from.
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
