//! The terminal of the input box: its modes, and raw bytes in both directions.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{self, FlushArg, LocalFlags, SetArg, Termios};
use std::io::{Stdin, Stdout, Write as _};
use std::os::fd::AsFd as _;
use std::time::Duration;

pub(super) struct Terminal {
    input: Stdin,
    output: Stdout,
    /// The terminal's modes before the run.
    found: Termios,
}

/// The result of waiting for bytes.
pub(super) enum Received {
    Bytes(Vec<u8>),
    Nothing,
    /// The other end is closed.
    Hangup,
}

impl Terminal {
    pub(super) fn open() -> nix::Result<Self> {
        let (input, output) = (std::io::stdin(), std::io::stdout());
        Ok(Self { found: termios::tcgetattr(&input)?, input, output })
    }

    /// Raw mode: every byte at once, and no echo.
    pub(super) fn raw(&self) {
        let mut mode = self.found.clone();
        termios::cfmakeraw(&mut mode);
        self.set(&mode);
    }

    /// Canonical mode: the kernel's line editor.
    pub(super) fn canonical(&self, echo: bool) {
        let mut mode = self.found.clone();
        mode.local_flags.set(LocalFlags::ICANON | LocalFlags::ISIG, true);
        mode.local_flags.set(LocalFlags::ECHO, echo);
        self.set(&mode);
    }

    /// Discards input, so that the next run does not read it.
    pub(super) fn discard_input(&self) {
        let _ = termios::tcflush(&self.input, FlushArg::TCIFLUSH);
    }

    /// As stty does, without loss of earlier input.
    fn set(&self, mode: &Termios) {
        let _ = termios::tcsetattr(&self.input, SetArg::TCSADRAIN, mode);
    }

    /// Waits at most `limit`. A signal ends the wait too.
    pub(super) fn read(&self, limit: Duration) -> Received {
        let mut fds = [PollFd::new(self.input.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, timeout) {
            Ok(0) | Err(_) => return Received::Nothing,
            Ok(_) => {}
        }
        let mut buffer = [0; 4096];
        match nix::unistd::read(self.input.as_fd(), &mut buffer) {
            Ok(0) | Err(nix::errno::Errno::EIO) => Received::Hangup,
            Ok(count) => Received::Bytes(buffer[..count].to_vec()),
            Err(_) => Received::Nothing,
        }
    }

    /// How many bytes were received and are not read yet.
    pub(super) fn pending(&self) -> u64 {
        rustix::io::ioctl_fionread(&self.input).unwrap_or(0)
    }

    pub(super) fn write(&self, text: &str) {
        let mut out = self.output.lock();
        // The next read notices a closed terminal.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> (usize, usize) {
        rustix::termios::tcgetwinsize(&self.output)
            .ok()
            .filter(|size| size.ws_col > 0 && size.ws_row > 0)
            .map_or((80, 24), |size| (size.ws_col.into(), size.ws_row.into()))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.set(&self.found);
    }
}
