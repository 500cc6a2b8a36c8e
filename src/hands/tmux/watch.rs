//! Waiting for something to appear on a pane's screen.
//!
//! A client in control mode is told of all output as it happens (tmux(1), CONTROL MODE), so the
//! screen is looked at when it changed and not every so often.

use std::io::Read;
use std::os::fd::AsFd;
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use super::Server;
use crate::hands::clock::{Deadline, pause};
use crate::hands::process::{Process, readable};
use crate::words::error::{Error, Result, Trying};
use crate::words::name::SessionId;

/// At most this often is the screen of a busy program captured; each look is a process.
const PACE: Duration = Duration::from_millis(20);

/// What tells a watching client from others: it is in control mode, as the client of a graphical
/// terminal may be too, and has a flag that such a one has no reason to set.
pub(super) const CLIENT_FORMAT: &str = "#{client_control_mode} #{client_flags}";

/// Ignored for the size of the session: the client has no terminal, and must not shrink it to one.
const FLAG: &str = "ignore-size";

/// Whether a client, shown in [`CLIENT_FORMAT`], is one of forge's.
pub(super) fn is_own(client: &str) -> bool {
    client.strip_prefix("1 ").is_some_and(|flags| flags.split(',').any(|flag| flag == FLAG))
}

/// What a watch came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    /// What was waited for is on the screen.
    Found,
    /// The program ended.
    ProgramEnded,
    /// The server went away.
    ServerGone,
    /// The deadline came first.
    Late,
}

/// A control client that is ended when it is dropped.
struct Watcher {
    child: Child,
    events: ChildStdout,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // It holds nothing: the session does not notice that it goes.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Watcher {
    fn attach(server: &Server, id: &SessionId) -> Result<Self> {
        let mut child = server
            .client()
            .args(["-C", "attach-session", "-f", FLAG, "-t", &format!("={id}")])
            // An open input keeps a control client; it is never written to.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .trying("cannot run tmux")?;
        let events = child.stdout.take().ok_or_else(|| Error::failed("the control client has no output"))?;
        Ok(Self { child, events })
    }

    /// Takes what has come; `false` when the client is at its end.
    fn drain(&mut self) -> bool {
        let mut buffer = [0; 8192];
        matches!(self.events.read(&mut buffer), Ok(count) if count > 0)
    }
}

/// Waits until the screen satisfies the test.
///
/// # Errors
/// When tmux cannot be run or asked.
pub fn until(
    server: &Server,
    id: &SessionId,
    pane: &str,
    program: &Process,
    deadline: Deadline,
    shows: impl Fn(&str) -> bool,
) -> Result<Seen> {
    let mut watcher = Watcher::attach(server, id)?;
    loop {
        match server.screen(pane, None, deadline) {
            Ok(screen) if shows(&screen) => return Ok(Seen::Found),
            Ok(_) => {}
            Err(_) if deadline.passed() => return Ok(Seen::Late),
            Err(_) if program.ended() => return Ok(Seen::ProgramEnded),
            Err(error) => return Err(error),
        }
        let ready = readable(&[program.as_fd(), watcher.events.as_fd()], deadline);
        if ready[0] {
            // Its last words may hold what was waited for.
            return Ok(match server.screen(pane, None, deadline) {
                Ok(screen) if shows(&screen) => Seen::Found,
                _ => Seen::ProgramEnded,
            });
        }
        if !ready[1] {
            return Ok(Seen::Late);
        }
        if !watcher.drain() {
            return Ok(if program.ended() { Seen::ProgramEnded } else { Seen::ServerGone });
        }
        pause(PACE);
    }
}
