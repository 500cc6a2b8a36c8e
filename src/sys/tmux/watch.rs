//! Waiting for something to appear on a pane's screen.
//!
//! tmux tells of output as it happens only to clients in control mode, and those must not be used:
//! a server crashes, and its sessions with it, when a client leaves while another in control mode
//! is just coming (measured on 3.3a and 3.5a: up to 4 of 100 with four clients at a time, in
//! whatever way they leave; with one alone that is killed, 1 of 200). So the kernel is asked: it
//! tells what a program writes to its terminal. tmux has read it a moment later, and of that
//! nobody tells; so each time the screen is looked at a few times more, ever more rarely.

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

/// At most this often is the screen of a busy program captured; each look is a process. By then tmux
/// has nearly always read what the program wrote.
const PACE: Duration = Duration::from_millis(20);

/// How soon the screen is looked at again after a change, and at most how long after the last look.
const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// What a watch came to.
#[derive(Debug, PartialEq, Eq)]
pub enum ScreenWait {
    /// What was waited for is on the screen.
    Found,
    /// The program ended.
    ProgramEnded,
    /// The server went away.
    ServerGone,
    /// The deadline came first.
    Late,
}

/// Waits until the screen of the session's program satisfies the test.
///
/// # Errors
/// When tmux cannot be run or asked.
pub fn until(
    server: &Server,
    mark: &Mark,
    program: &Process,
    deadline: Deadline,
    shows: impl Fn(&str) -> bool,
) -> Result<ScreenWait> {
    let Some(process) = Process::open(mark.server_pid)? else { return Ok(ScreenWait::ServerGone) };
    // Without it the looks alone must do.
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
            // It stands still for a while, as on a machine that swaps: that is no news.
            Err(error) if error.kind == Kind::Deadline => {}
            Err(error) => return Err(error),
        }
        let mut fds = vec![program.as_fd(), process.as_fd()];
        fds.extend(output.as_ref().map(AsFd::as_fd));
        let ready = readable(&fds, deadline.min(Deadline::after(again)));
        if ready[0] {
            // Its last words may hold what was waited for.
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
