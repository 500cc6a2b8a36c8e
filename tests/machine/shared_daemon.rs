//! A program that does its work in one daemon for each user, as some agents do. The first one starts the daemon.
//!
//! `machine --shared-daemon SOCKET WORK` has the daemon run WORK, a line of shell, prints `ready`, and stays until
//! the daemon ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::time::Duration;

/// The argument that selects this program.
pub(crate) const SHARED_DAEMON: &str = "--shared-daemon";

/// The argument that selects the daemon.
pub(crate) const DAEMON: &str = "--shared-daemon-itself";

/// The command of a session whose program is this one.
pub(crate) fn command(socket: &str, work: &str) -> Vec<String> {
    let program = std::env::current_exe().expect("this program").to_string_lossy().into_owned();
    [&program, SHARED_DAEMON, socket, work].map(ToOwned::to_owned).into()
}

pub(crate) fn main(args: &[String]) -> i32 {
    let [socket, work] = &args[1..] else { return 2 };
    let mut daemon = UnixStream::connect(socket).or_else(|_| started(socket)).expect("the daemon");
    writeln!(daemon, "{work}").expect("the daemon takes work");
    daemon.read_exact(&mut [0]).expect("the daemon has taken it");
    println!("ready");
    let _ = daemon.read(&mut [0]);
    0
}

/// Starts the daemon in a session of its own, and connects to it.
fn started(socket: &str) -> std::io::Result<UnixStream> {
    let program = std::env::current_exe()?;
    Command::new("setsid").arg(program).args([DAEMON, socket]).spawn()?;
    let mut connection = UnixStream::connect(socket);
    for _ in 0..500 {
        if connection.is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
        connection = UnixStream::connect(socket);
    }
    connection
}

pub(crate) fn daemon(args: &[String]) -> i32 {
    let _ = std::fs::remove_file(&args[1]);
    let listener = UnixListener::bind(&args[1]).expect("a socket");
    for client in listener.incoming() {
        let mut client = BufReader::new(client.expect("a client"));
        std::thread::spawn(move || {
            let mut work = String::new();
            client.read_line(&mut work).expect("its work");
            client.get_mut().write_all(b".").expect("a client that waits");
            let mut worker = Command::new("sh").args(["-c", &work]).spawn().expect("a shell");
            let _ = worker.wait();
        });
    }
    0
}
