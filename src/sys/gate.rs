//! Gates that hold a process until its surroundings are ready.
//!
//! A session passes two gates while it starts. The first holds the process that becomes tmux until the
//! manager has moved it into the session's scope, so that nothing of the session ever runs outside.
//! The second holds the process in the pane until forge knows its ids and tmux has settled: then it
//! becomes the program. A held program cannot end before forge watches it (tmux 3.3a loses the
//! status of some panes that end within their first milliseconds), nor fork before tmux 3.4 and later
//! have moved its pane to a scope of its own.
//!
//! A guarded command passes one gate, of the second kind: the gate holds the process until it is in its
//! scope, has its limits and is watched.
//!
//! If the forge that holds a gate dies, the process behind the gate ends and the program never runs. The
//! kernel closes the pipe, so nothing has to be cleaned up.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{Pid, getppid};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::clock::{Deadline, now_us};
use super::landlock;
use super::poll::readable;
use super::proc::raise_oom_score;
use crate::model::error::{Error, Kind, Result, Trying};
use crate::model::guard::REFUSED;
use crate::model::internal_command::InternalCommand;
use crate::model::session::command::Argv;

/// The byte that opens the first gate.
const GO: u8 = b'g';

/// A process behind the first gate.
#[derive(Debug)]
pub struct Held {
    child: Child,
    gate: ChildStdin,
}

impl Held {
    /// Starts the process that will become the command, with exactly this environment.
    ///
    /// # Errors
    /// `Failed` if the process cannot be started.
    pub fn start(command: &[String], environment: &[(OsString, OsString)]) -> Result<Self> {
        let command = command.iter().map(OsString::from).collect();
        // `/proc/self/exe` is the binary that runs now, even if an upgrade has replaced the file.
        let mut child = Command::new("/proc/self/exe")
            .arg0("forge")
            .args(InternalCommand::GateServer { command }.arguments())
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            // The caller's terminal keys (Ctrl-C) must not reach the session.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .trying("cannot start the session's first process")?;
        let gate = child
            .stdin
            .take()
            .ok_or_else(|| Error::failed("the session's first process has no pipe on its standard input"))?;
        Ok(Self { child, gate })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Opens the gate.
    ///
    /// # Errors
    /// `Failed` if the process behind the gate is gone.
    pub fn release(mut self) -> Result<Child> {
        self.gate.write_all(&[GO]).trying("the session's first process ended before it was let go")?;
        Ok(self.child)
    }

    /// Never opens the gate. The process behind it ends.
    pub fn abandon(self) {
        let Self { mut child, gate } = self;
        drop(gate);
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// The process behind the first gate: waits, then becomes the command.
///
/// # Errors
/// `Failed` if the gate was abandoned, or the command cannot be executed.
pub fn wait_then_exec_server(command: &[OsString]) -> Result<std::convert::Infallible> {
    let (program, arguments) =
        command.split_first().ok_or_else(|| Error::usage("there is no command to wait for"))?;
    let mut byte = [0];
    if !matches!(std::io::stdin().read(&mut byte), Ok(1) if byte[0] == GO) {
        return Err(Error::failed("the spawn was given up"));
    }
    // The session must not inherit the signals that the caller blocks (a foreground run waits for signals).
    SigSet::empty().thread_set_mask().trying("cannot unblock signals")?;
    Err(Command::new(program).args(arguments).stdin(Stdio::null()).exec())
        .trying(format!("cannot run {}", program.display()))
}

/// The program that the process in the pane becomes.
#[derive(Debug, Serialize, Deserialize)]
struct Orders {
    command: Argv,
    cwd: PathBuf,
}

/// The terms of a guarded process. It knows its program from its arguments.
#[derive(Debug, Serialize, Deserialize)]
struct GuardedTerms {
    /// Whether the process asks the kernel to deny it TCP ports.
    deny_bind: bool,
}

/// A gate of the second kind: an abstract socket (unix(7)), which leaves no file behind.
#[derive(Debug)]
pub struct Gate {
    listener: UnixListener,
    name: String,
}

impl Gate {
    /// # Errors
    /// `Failed` if the socket cannot be made.
    pub fn new() -> Result<Self> {
        // A restore makes several gates at the same moment.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("forge/{}/{}/{count}", std::process::id(), now_us());
        let doing = "cannot make the gate of a process";
        let address = SocketAddr::from_abstract_name(&name).trying(doing)?;
        let listener = UnixListener::bind_addr(&address).trying(doing)?;
        listener.set_nonblocking(true).trying(doing)?;
        Ok(Self { listener, name })
    }

    /// The name by which the process finds the gate.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits for this process to connect, and for no other: the kernel reports the peer's pid and user.
    ///
    /// # Errors
    /// `Socket` if the process does not connect by the deadline.
    pub fn wait_for(&self, pid: u32, deadline: Deadline) -> Result<Waiting> {
        while readable(&[self.listener.as_fd()], deadline)[0] {
            let Ok((stream, _)) = self.listener.accept() else { continue };
            let peer = getsockopt(&stream, PeerCredentials).trying("cannot tell who is at the gate")?;
            if u32::try_from(peer.pid()) == Ok(pid) && peer.uid() == nix::unistd::geteuid().as_raw() {
                return Ok(Waiting { stream });
            }
        }
        Err(Error::new(Kind::Socket, "the process behind the gate did not come up in time"))
    }
}

/// A process that waits at the gate.
#[derive(Debug)]
pub struct Waiting {
    stream: UnixStream,
}

impl Waiting {
    /// Lets a process in a pane become the program. Returns once it has.
    ///
    /// # Errors
    /// `Ended` if the program cannot be executed, with the kernel's reason; `Deadline`; `Failed` if the process
    /// is gone.
    pub fn release(self, command: &Argv, cwd: PathBuf, deadline: Deadline) -> Result<()> {
        self.send_orders(&Orders { command: command.clone(), cwd }, command.name(), deadline)
    }

    /// Lets a guarded process become its program, whose name is `program`. Returns once it has.
    ///
    /// # Errors
    /// As for [`Self::release`].
    pub fn release_guarded(self, deny_bind: bool, program: &str, deadline: Deadline) -> Result<()> {
        self.send_orders(&GuardedTerms { deny_bind }, program, deadline)
    }

    fn send_orders(mut self, orders: &impl Serialize, program: &str, deadline: Deadline) -> Result<()> {
        let doing = "the process behind the gate ended before it became the program";
        let mut orders = serde_json::to_vec(orders).trying(doing)?;
        orders.push(b'\n');
        self.stream.write_all(&orders).trying(doing)?;
        // The socket closes when the program is executed. If it cannot be executed, the reason comes first.
        let mut reason = Vec::new();
        while readable(&[self.stream.as_fd()], deadline)[0] {
            let mut buffer = [0; 512];
            match self.stream.read(&mut buffer) {
                Ok(0) | Err(_) => {
                    return if reason.is_empty() {
                        Ok(())
                    } else {
                        Err(Error::new(Kind::Ended, String::from_utf8_lossy(&reason)))
                    };
                }
                Ok(count) => reason.extend_from_slice(&buffer[..count]),
            }
        }
        Err(Error::new(Kind::Deadline, format!("{program} did not start in time")))
    }
}

/// Connects to the gate and waits for orders. `None` if the forge that held the gate died.
fn wait_for_orders<T: DeserializeOwned>(name: &str) -> Result<(UnixStream, Option<T>)> {
    let nobody = || {
        Error::failed("no process of forge holds this gate")
            .hint("forge calls this command itself; use 'forge spawn' or 'forge guard run'")
    };
    let address = SocketAddr::from_abstract_name(name).trying("no gate has such a name")?;
    let stream = UnixStream::connect_addr(&address).map_err(|_| nobody())?;
    // Any user can bind an abstract name: accept orders from this user only.
    if !getsockopt(&stream, PeerCredentials).is_ok_and(|peer| peer.uid() == nix::unistd::geteuid().as_raw()) {
        return Err(nobody());
    }
    let mut line = String::new();
    let read = BufReader::new(&stream).read_line(&mut line);
    let is_whole = read.is_ok() && line.ends_with('\n');
    Ok((stream, Some(line).filter(|_| is_whole).and_then(|line| serde_json::from_str(&line).ok())))
}

/// Becomes the program. If that fails, sends the reason to the forge that holds the gate, and returns the exit
/// status that a shell gives: 127 if the program was not found, otherwise 126.
fn exec_or_report(mut command: Command, stream: &UnixStream) -> u8 {
    let error = command.exec();
    let status = if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
    let program = command.get_program().to_string_lossy();
    let _ = write!(&*stream, "cannot run '{program}': {error} (exit status {status})");
    status
}

/// The process in the pane: waits at the gate, then becomes the program. If the program cannot be executed,
/// returns the exit status that a shell gives.
///
/// # Errors
/// `Failed` if no forge holds the gate.
pub fn wait_then_exec_pane(name: &str) -> Result<u8> {
    let (stream, orders) = wait_for_orders::<Orders>(name)?;
    let Some(orders) = orders else {
        // The spawn died. The server was started for this pane only, and its program never ran: end the
        // server, even if the user's configuration would keep a dead pane.
        let server = getppid();
        if server > Pid::from_raw(1) {
            let _ = kill(server, Signal::SIGTERM);
        }
        return Err(Error::failed("the spawn was given up"));
    };
    raise_oom_score();
    let mut command = Command::new(orders.command.program());
    command.args(&orders.command.as_slice()[1..]).current_dir(&orders.cwd);
    Ok(exec_or_report(command, &stream))
}

/// Starts a process that waits at the gate and becomes the command. It has the caller's directory,
/// environment and terminal. With `to_stderr`, its standard output is the caller's standard error.
///
/// # Errors
/// `Failed` if the process cannot be started.
pub fn start_guarded(gate: &Gate, command: &[OsString], to_stderr: bool) -> Result<Child> {
    let stdout = if to_stderr {
        let stderr = std::io::stderr().as_fd().try_clone_to_owned();
        Stdio::from(stderr.trying("cannot duplicate standard error")?)
    } else {
        Stdio::inherit()
    };
    Command::new("/proc/self/exe")
        .arg0("forge")
        .args(
            InternalCommand::GateGuarded { gate: gate.name().to_owned(), command: command.to_vec() }
                .arguments(),
        )
        .stdout(stdout)
        .spawn()
        .trying("cannot start the command's process")
}

/// The guarded process: waits at the gate, then becomes the command. If the command cannot be executed, returns
/// the exit status that a shell gives.
///
/// # Errors
/// `Failed` if no forge holds the gate, or the kernel cannot deny listening.
pub fn wait_then_exec_guarded(name: &str, command: &[OsString]) -> Result<u8> {
    let (mut stream, terms) = wait_for_orders::<GuardedTerms>(name)?;
    let (Some(terms), Some((program, arguments))) = (terms, command.split_first()) else {
        // The forge that held the gate has reported the reason, or was killed.
        return Ok(REFUSED);
    };
    if terms.deny_bind
        && let Err(error) = landlock::deny_bind()
    {
        let _ = write!(stream, "{error}");
        return Err(error);
    }
    raise_oom_score();
    // The command must not inherit the signals that the guard blocks to wait for them.
    SigSet::empty().thread_set_mask().trying("cannot unblock signals")?;
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(exec_or_report(command, &stream))
}
