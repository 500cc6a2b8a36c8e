//! tmux: the only room that runs it, and the only one that opens its sockets.
//!
//! Every call has a deadline, since tmux has none of its own: a client waits for ever for a
//! server that is stopped. Every call but the one that makes a server says `-N`, so that none
//! starts one by accident.

pub mod directory;
pub mod input;
pub mod listeners;
pub mod ping;
pub mod watch;

use std::convert::Infallible;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::clock::Deadline;
use super::command::{self, CommandOutput};
use super::env::Paths;
use crate::model::error::{Error, Kind, Result, Trying};
use crate::model::session::Mark;
use crate::model::session::name::SessionId;
use crate::model::tmux::{self, IDS_FORMAT, PANE_FORMAT, Pane};
use crate::model::unit;

/// The longest wait for one answer of a server.
pub const ANSWER: Duration = Duration::from_secs(5);

/// A server that runs, by its socket.
#[derive(Debug, Clone)]
pub struct Server {
    binary: PathBuf,
    socket: PathBuf,
}

impl Server {
    /// The server on that socket.
    pub fn new(binary: &Path, socket: &Path) -> Self {
        Self { binary: binary.to_owned(), socket: socket.to_owned() }
    }

    /// A tmux client for this server; nothing of the caller's own tmux reaches it.
    pub fn client(&self) -> Command {
        self.client_by(&self.binary)
    }

    fn client_by(&self, binary: &Path) -> Command {
        let mut command = Command::new(binary);
        command.env_remove("TMUX").env_remove("TMUX_PANE").args(["-N", "-u", "-S"]).arg(&self.socket);
        command
    }

    /// Gives the server commands and returns what they print.
    ///
    /// # Errors
    /// What tmux said, or that it did not answer in time.
    pub fn run_command(&self, arguments: &[&str], deadline: Deadline) -> Result<String> {
        self.run_command_with_input(arguments, &[], deadline)
    }

    /// The same, with that on the client's standard input.
    fn run_command_with_input(&self, arguments: &[&str], input: &[u8], deadline: Deadline) -> Result<String> {
        let deadline = deadline.min(Deadline::after(ANSWER));
        let run = |mut client: Command| {
            client.args(arguments);
            if input.is_empty() {
                command::run(&mut client, deadline)
            } else {
                command::run_with_input(&mut client, input, deadline)
            }
        };
        let mut output = run(self.client()).map_err(|error| self.explain(error))?;
        if !output.success && tmux::is_version_mismatch(&output.stderr) {
            output = self.own_client().and_then(|client| run(client).ok()).unwrap_or(output);
        }
        if output.success { Ok(output.stdout) } else { Err(client_error(&output)) }
    }

    /// A client that is the very program that the server runs, which the kernel keeps while it does: for when
    /// tmux was upgraded under it to a version that it does not understand.
    fn own_client(&self) -> Option<Command> {
        Some(self.client_by(&PathBuf::from(format!("/proc/{}/exe", ping::server_of(&self.socket)?))))
    }

    /// A client that hung: the server is wedged, not dead.
    fn explain(&self, error: Error) -> Error {
        if error.kind == Kind::Deadline {
            Error::new(
                Kind::Deadline,
                format!("the tmux server on {} does not answer", self.socket.display()),
            )
            .hint("it may be stopped or frozen: see 'forge list'; 'forge stop NAME' ends it all the same")
        } else {
            error
        }
    }

    /// What tmux knows of a pane.
    ///
    /// # Errors
    /// When the server does not answer, or has no such pane.
    pub fn pane(&self, pane: &str, deadline: Deadline) -> Result<Pane> {
        // list-panes and not display-message, which prints something for a pane that is gone.
        let printed = self.run_command(
            &["list-panes", "-t", pane, "-F", &format!("#{{pane_id}} {PANE_FORMAT}")],
            deadline,
        )?;
        printed
            .lines()
            .find_map(|line| tmux::pane(line.strip_prefix(pane)?.strip_prefix(' ')?))
            .ok_or_else(|| Error::failed(format!("tmux has no pane {pane} on {}", self.socket.display())))
    }

    /// What is on the screen of a pane, with the spaces that the program wrote at the ends of
    /// lines; with `history`, that many lines above it too.
    ///
    /// # Errors
    /// When the server does not answer, or has no such pane.
    pub fn screen(&self, pane: &str, history: Option<u32>, deadline: Deadline) -> Result<String> {
        let start = history.map(|lines| format!("-{lines}"));
        let mut arguments = vec!["capture-pane", "-p", "-J", "-t", pane];
        if let Some(start) = &start {
            arguments.extend(["-S", start]);
        }
        Ok(self.run_command(&arguments, deadline)?.trim_end_matches('\n').to_owned())
    }
}

/// What a client said in failing.
pub fn client_error(output: &CommandOutput) -> Error {
    let text = if output.stderr.trim().is_empty() { &output.stdout } else { &output.stderr };
    let text = text.trim();
    if let Some(line) = tmux::config_error(text) {
        return Error::new(Kind::TmuxConfig, format!("your tmux configuration does not load: {line}"))
            .hint("mend that line; forge uses your tmux.conf as it is and never changes it");
    }
    if tmux::is_version_mismatch(text) {
        return Error::failed("the tmux server is of another version than the tmux that is installed now")
            .hint("it is alive; 'forge restart NAME' moves its session to the new version");
    }
    let kind = if tmux::is_socket_error(text) { Kind::Socket } else { Kind::Failed };
    if text.is_empty() {
        Error::new(Kind::Socket, "tmux ended without saying why")
    } else {
        Error::new(kind, format!("tmux: {}", text.lines().next().unwrap_or(text)))
    }
}

/// The command that makes a session's server and its session, for exec. It sets the socket by
/// name (`-L`), never the shared default one.
///
/// In one list with `new-session`, so that there is no moment in between: the user's
/// configuration is read once more without effect (`source-file -n`), because tmux itself only
/// shows its errors inside a pane, where they would swallow what is typed; and the pane stays
/// when its program ends, so that its end can be told.
pub fn new_session(
    binary: &Path,
    id: &SessionId,
    cwd: &Path,
    pane_command: &[String],
    configs: &[PathBuf],
) -> Vec<String> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut command: Vec<String> =
        [&text(binary), "-u", "-L", &unit::socket(id)].map(ToOwned::to_owned).into();
    command.extend(
        ["new-session", "-d", "-P", "-F", IDS_FORMAT, "-s", id.as_str(), "-c", &literal(cwd), "--"]
            .map(ToOwned::to_owned),
    );
    command.extend_from_slice(pane_command);
    let target = format!("={id}:");
    command.extend([";", "set-option", "-p", "-t", &target, "remain-on-exit", "on"].map(ToOwned::to_owned));
    // A session that is to live on unattached must not be destroyed for being so.
    command.extend([";", "set-option", "-t", &target, "destroy-unattached", "off"].map(ToOwned::to_owned));
    if !configs.is_empty() {
        command.extend([";", "source-file", "-n", "-q"].map(ToOwned::to_owned));
        command.extend(configs.iter().map(|path| text(path)));
    }
    command
}

/// A path as an argument that tmux takes as it is: it would expand `#{…}`.
fn literal(path: &Path) -> String {
    whole(&path.to_string_lossy().replace('#', "##"))
}

/// An argument that tmux takes whole: a `;` at its end would be the end of the command.
pub fn whole(argument: &str) -> String {
    match argument.strip_suffix(';') {
        Some(rest) => format!("{rest}\\;"),
        None => argument.to_owned(),
    }
}

/// The commands that make the server call forge when the session's program ends, with these variables
/// of its own (those without a value are not set), which the server has otherwise.
///
/// # Errors
/// When forge's path, or a value, has a character that tmux or a shell would take for something else.
pub fn on_end(
    mark: &Mark,
    forge: &Path,
    arguments: &[String],
    own: &[(&str, Option<String>)],
) -> Result<Vec<String>> {
    let path = forge.to_string_lossy();
    let is_safe = |text: &str| !text.contains(['\'', '"', '\\', '$', '#', '%', '`', '\n', ';', '{', '}']);
    if !is_safe(&path) {
        return Err(Error::failed(format!(
            "forge's own path has a character that tmux cannot be told: {path}"
        ))
        .hint("install forge below a directory with an ordinary name"));
    }
    let mut command = if own.is_empty() { "exec".to_owned() } else { "exec /usr/bin/env".to_owned() };
    for (name, _) in own.iter().filter(|(_, value)| value.is_none()) {
        let _ = write!(command, " -u {name}");
    }
    for (name, value) in own.iter().filter_map(|(name, value)| value.as_ref().map(|value| (name, value))) {
        if !is_safe(value) {
            return Err(Error::failed(format!(
                "your own {name} has a character that tmux cannot be told: {value}"
            ))
            .hint(format!("leave out --env {name}")));
        }
        let _ = write!(command, " {name}='{value}'");
    }
    let hook = format!("run-shell -b \"{command} '{path}' {}\"", arguments.join(" "));
    Ok(["set-hook", "-p", "-t", &mark.pane, "pane-died", &hook].map(ToOwned::to_owned).into())
}

/// Replaces this process with a tmux client that shows a session in this terminal.
///
/// # Errors
/// `Failed` if tmux cannot be executed.
pub fn attach(server: &Server, id: &SessionId, read_only: bool) -> Result<Infallible> {
    let mut command = server.client();
    command.args(["attach-session", "-t", &format!("={id}")]);
    if read_only {
        command.arg("-r");
    }
    Err(command.exec()).trying("cannot run tmux")
}

/// Whether a client is attached to the server on this socket: tmux sets the socket's x bits while one is.
pub fn is_attached(socket: &Path) -> bool {
    socket.symlink_metadata().is_ok_and(|metadata| metadata.mode() & 0o100 != 0)
}

/// The output of `tmux -V`.
///
/// # Errors
/// `Failed` if the program cannot be started; `Deadline` if it does not end in time.
pub fn version(binary: &Path, deadline: Deadline) -> Result<String> {
    Ok(command::run(Command::new(binary).arg("-V"), deadline)?.stdout)
}

/// The environment of the server: the directory of its sockets is the one that forge swept, and
/// no other; and the program finds its user's services, also where the caller had no login
/// session to find them by (cron(8), su(1)).
pub fn for_server(mut environment: Vec<(OsString, OsString)>, paths: &Paths) -> Vec<(OsString, OsString)> {
    environment.retain(|(name, _)| name != "TMUX_TMPDIR");
    if paths.tmux_tmpdir != Path::new("/tmp") {
        environment.push(("TMUX_TMPDIR".into(), paths.tmux_tmpdir.clone().into()));
    }
    if !environment.iter().any(|(name, _)| name == "XDG_RUNTIME_DIR") {
        environment.push(("XDG_RUNTIME_DIR".into(), paths.xdg_runtime().into()));
    }
    environment
}
