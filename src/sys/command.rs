//! Running other programs: to their end with a deadline, or in place of this process.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::unistd::execv;
use rustix::fs::{MemfdFlags, memfd_create};

use super::clock::Deadline;
use super::poll::readable;
use super::process::Process;
use crate::model::error::{Error, Kind, Result, Trying};
use crate::model::session::command::Argv;

/// Replaces this process with another program and keeps the signal mask. (`exec` of the standard
/// library unblocks all signals, so a signal at the wrong moment would end the program.)
///
/// # Errors
/// `Failed` if the program cannot be executed.
pub fn become_program(path: &Path, arguments: &[&str]) -> Result<Infallible> {
    let doing = || format!("cannot run {}", path.display());
    let text = |text: &[u8]| CString::new(text).trying(doing());
    let program = text(path.as_os_str().as_encoded_bytes())?;
    let arguments = arguments.iter().map(|argument| text(argument.as_bytes())).collect::<Result<Vec<_>>>()?;
    execv(&program, &arguments).trying(doing())
}

/// A program's output, and whether it succeeded.
#[derive(Debug)]
pub struct CommandOutput {
    pub stdout: String,
    pub stderr: String,
    /// Whether the exit status was 0.
    pub success: bool,
}

/// Runs a program to its end, without input.
///
/// # Errors
/// `Failed` if the program cannot be started; `Deadline` if it does not end in time: then forge has
/// killed it.
pub fn run(command: &mut Command, deadline: Deadline) -> Result<CommandOutput> {
    run_from(command, Stdio::null(), deadline)
}

/// Runs a program to its end with `input` on its standard input. The program need not read it: the input
/// is a file in memory and not a pipe that forge would have to keep filling.
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

/// Gives a process the idle I/O class (`ioprio_set(2)`): it uses a disk only when no other process does.
/// A user manager has no such limit, because the io controller is not delegated to it. Returns whether
/// `ionice` succeeded; it has 5 seconds.
pub fn set_idle_io(pid: u32) -> bool {
    let mut command = Command::new("ionice");
    command.args(["-c", "3", "-p", &pid.to_string()]);
    run(&mut command, Deadline::after(Duration::from_secs(5))).is_ok_and(|output| output.success)
}

/// Runs another program of the user, `argv`, with `input` on its standard input.
///
/// # Errors
/// As for [`run`].
pub fn run_argv(argv: &Argv, input: &[u8], deadline: Deadline) -> Result<CommandOutput> {
    let mut command = Command::new(argv.program());
    command.args(argv.as_slice().get(1..).unwrap_or_default());
    run_with_input(&mut command, input, deadline)
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

/// Collects a child's output until the child ends.
///
/// # Errors
/// `Deadline` if the child does not end in time: then forge has killed it.
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
    // forge kills a program that closes its output and does not end.
    if process?.is_some_and(|process| !process.wait(deadline)) {
        let _ = child.kill();
    }
    let status = child.wait().trying(format!("cannot wait for {name}"))?;
    let [stdout, stderr] = collected.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok(CommandOutput { stdout, stderr, success: status.success() })
}

/// Reads both outputs to their ends. When the program ends, reads only what is there by then: processes
/// that the program leaves in the background may keep the outputs open. Returns false if the deadline
/// passes first.
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

/// Reads once. Returns false at end of file.
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
    use crate::sys::signals::Signal;

    #[test]
    fn a_program_that_hangs_is_killed_at_the_deadline() {
        let error =
            run(Command::new("sleep").arg("60"), Deadline::after(Duration::from_millis(50))).unwrap_err();
        assert_eq!(error.kind, Kind::Deadline);
    }

    #[test]
    fn background_processes_of_a_program_are_not_waited_for() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & echo $!; exit 3"]);
        let output = run(&mut command, Deadline::after(Duration::from_secs(20))).unwrap();
        assert!(!output.success);
        let left = Process::open(output.stdout.trim().parse().unwrap()).unwrap().unwrap();
        assert!(!left.ended());
        left.signal(Signal::SIGKILL).unwrap();
    }

    #[test]
    fn long_input_that_the_program_does_not_read_does_not_block() {
        let input = vec![b'x'; 1 << 20];
        let soon = || Deadline::after(Duration::from_secs(20));
        assert!(run_with_input(&mut Command::new("true"), &input, soon()).unwrap().success);
        let counted = run_with_input(Command::new("wc").arg("-c"), &input, soon()).unwrap();
        assert_eq!(counted.stdout.trim(), (1 << 20).to_string());
    }

    #[test]
    fn both_outputs_are_collected_completely() {
        let script = "i=0; while [ $i -lt 9000 ]; do echo out$i; echo err$i >&2; i=$((i+1)); done; exit 3";
        let output =
            run(Command::new("sh").args(["-c", script]), Deadline::after(Duration::from_secs(20))).unwrap();
        assert_eq!((output.stdout.lines().count(), output.stderr.lines().count()), (9000, 9000));
        assert!(!output.success);
    }
}
