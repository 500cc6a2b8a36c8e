//! Waiting for something to appear on a pane's screen.
//!
//! tmux reports output as it happens only to clients in control mode, and forge must not use those: a server
//! crashes, and its sessions with it, if a client leaves while another client in control mode is just attaching
//! (measured on 3.3a and 3.5a: up to 4 of 100 with four clients at a time, in whatever way they leave; with a
//! single client that is killed, 1 of 200). So forge asks the kernel, which reports a program's writes to its
//! terminal. tmux reads them a moment later, and no event reports that; so forge captures the screen a few more
//! times, at growing intervals.

use std::os::fd::AsFd;
use std::time::Duration;

use super::Server;
use crate::model::error::{Kind, Result};
use crate::model::session::Mark;
use crate::sys::clock::{Deadline, pause};
use crate::sys::inotify::FileWatch;
use crate::sys::poll::readable;
use crate::sys::proc::{stat, terminal};
use crate::sys::process::Process;

/// The shortest interval between two captures of a busy program's screen: each capture starts a process. By then
/// tmux has nearly always read the program's output.
const PACE: Duration = Duration::from_millis(20);

/// The interval from a change to the next capture, and the longest interval between two captures.
const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// The result of a wait.
#[derive(Debug, PartialEq, Eq)]
pub enum ScreenWait {
    /// The screen satisfies the test.
    Found,
    ProgramEnded,
    ServerGone,
    /// The deadline passed first.
    Late,
}

/// Waits until the screen of the session's program satisfies the test.
///
/// # Errors
/// `Failed` if tmux cannot be run, or reports an error.
pub fn until(
    server: &Server,
    mark: &Mark,
    program: &Process,
    deadline: Deadline,
    mut shows: impl FnMut(&str) -> bool,
) -> Result<ScreenWait> {
    let Some(process) = Process::open(mark.server_pid)? else { return Ok(ScreenWait::ServerGone) };
    // Without the watch, the captures at intervals have to do.
    let output =
        stat(program.pid()).and_then(|stat| terminal(&stat)).and_then(|tty| FileWatch::of_file(&tty).ok());
    let mut again = AGAIN.0;
    loop {
        match server.screen(&mark.pane, None, deadline) {
            Ok(screen) if shows(&screen) => return Ok(ScreenWait::Found),
            Ok(_) => {}
            Err(_) if deadline.passed() => return Ok(ScreenWait::Late),
            Err(_) if program.ended() => return Ok(ScreenWait::ProgramEnded),
            Err(_) if process.ended() => return Ok(ScreenWait::ServerGone),
            // The server does not answer for a while, as on a machine that swaps: go on waiting.
            Err(error) if error.kind == Kind::Deadline => {}
            Err(error) => return Err(error),
        }
        let mut fds = vec![program.as_fd(), process.as_fd()];
        fds.extend(output.as_ref().map(AsFd::as_fd));
        let ready = readable(&fds, deadline.min(Deadline::after(again)));
        if ready[0] {
            // The program's last output may satisfy the test.
            return Ok(match server.screen(&mark.pane, None, deadline) {
                Ok(screen) if shows(&screen) => ScreenWait::Found,
                _ => ScreenWait::ProgramEnded,
            });
        }
        if ready[1] {
            return Ok(ScreenWait::ServerGone);
        }
        if ready.get(2) == Some(&true) {
            output.iter().for_each(FileWatch::drain);
            again = AGAIN.0;
            pause(PACE);
        } else if deadline.passed() {
            return Ok(ScreenWait::Late);
        } else {
            again = AGAIN.1.min(again * 2);
        }
    }
}
