//! tmux: the only module that runs it, and the only module that opens its sockets.
//!
//! Every call has a deadline, because tmux has none: a client waits for ever for a stopped server. Every call
//! except the one that makes a server passes `-N`, so that no other call starts a server by accident.

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

    /// A tmux command for this server, not yet run. It never starts a server (`-N`), and a tmux around forge has no
    /// effect on it.
    pub fn client(&self) -> Command {
        self.client_by(&self.binary)
    }

    fn client_by(&self, binary: &Path) -> Command {
        let mut command = Command::new(binary);
        command.env_remove("TMUX").env_remove("TMUX_PANE").args(["-N", "-u", "-S"]).arg(&self.socket);
        command
    }

    /// Runs commands in the server and returns their output.
    ///
    /// # Errors
    /// `Deadline` if the server does not answer by the deadline or within [`ANSWER`]; `Socket`, `TmuxConfig` or
    /// `Failed` with tmux's error text.
    pub fn run_command(&self, arguments: &[&str], deadline: Deadline) -> Result<String> {
        self.run_command_with_input(arguments, &[], deadline)
    }

    /// As [`Self::run_command`], with `input` on the client's standard input.
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

    /// A client that runs the server's own binary, which the kernel keeps while the server runs. forge uses it if
    /// an upgrade has installed a tmux whose protocol the server does not understand.
    fn own_client(&self) -> Option<Command> {
        Some(self.client_by(&PathBuf::from(format!("/proc/{}/exe", ping::server_of(&self.socket)?))))
    }

    /// The error for a client that hung: the server is wedged, not dead.
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

    /// A pane as tmux reports it.
    ///
    /// # Errors
    /// As for [`Self::run_command`]; `Failed` if the server has no such pane.
    pub fn pane(&self, pane: &str, deadline: Deadline) -> Result<Pane> {
        // display-message would print something even if the pane is gone; list-panes fails.
        let printed = self.run_command(
            &["list-panes", "-t", pane, "-F", &format!("#{{pane_id}} {PANE_FORMAT}")],
            deadline,
        )?;
        printed
            .lines()
            .find_map(|line| tmux::pane(line.strip_prefix(pane)?.strip_prefix(' ')?))
            .ok_or_else(|| Error::failed(format!("tmux has no pane {pane} on {}", self.socket.display())))
    }

    /// The text on a pane's screen, including the spaces that the program wrote at the ends of lines. `history`
    /// adds that many lines above the screen.
    ///
    /// # Errors
    /// As for [`Self::run_command`]; `Failed` if the server has no such pane.
    pub fn screen(&self, pane: &str, history: Option<u32>, deadline: Deadline) -> Result<String> {
        let start = history.map(|lines| format!("-{lines}"));
        let mut arguments = vec!["capture-pane", "-p", "-J", "-t", pane];
        if let Some(start) = &start {
            arguments.extend(["-S", start]);
        }
        Ok(self.run_command(&arguments, deadline)?.trim_end_matches('\n').to_owned())
    }
}

/// The error of a client that failed.
pub fn client_error(output: &CommandOutput) -> Error {
    let text = if output.stderr.trim().is_empty() { &output.stdout } else { &output.stderr };
    let text = text.trim();
    if let Some(line) = tmux::config_error(text) {
        return Error::new(Kind::TmuxConfig, format!("your tmux configuration does not load: {line}"))
            .hint("fix that line; forge uses your tmux.conf as it is and never changes it");
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
/// configuration is read once more without effect (`source-file -n`), because tmux itself shows its errors only
/// inside a pane, where they would swallow typed text; and the pane stays when its program ends, so that
/// forge can read the program's exit status.
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
    // tmux must not destroy the session while no client is attached.
    command.extend([";", "set-option", "-t", &target, "destroy-unattached", "off"].map(ToOwned::to_owned));
    if !configs.is_empty() {
        command.extend([";", "source-file", "-n", "-q"].map(ToOwned::to_owned));
        command.extend(configs.iter().map(|path| text(path)));
    }
    command
}

/// A path as an argument that tmux does not expand: it would expand `#{…}`.
fn literal(path: &Path) -> String {
    whole(&path.to_string_lossy().replace('#', "##"))
}

/// An argument that tmux does not split: a `;` at its end would end the command.
pub fn whole(argument: &str) -> String {
    match argument.strip_suffix(';') {
        Some(rest) => format!("{rest}\\;"),
        None => argument.to_owned(),
    }
}

/// The command that makes the server run forge when the session's program ends. `own` are the environment
/// variables in which forge differs from the server; `None` unsets a variable.
///
/// # Errors
/// `Failed` if forge's path or a value contains a character that is special to tmux or a shell.
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
            "forge's own path has a character that is special to tmux: {path}"
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
                "your own {name} has a character that is special to tmux: {value}"
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

/// The environment of the server. Its socket directory is the one that forge swept. `XDG_RUNTIME_DIR` is set, so
/// that the program finds its user's services even if the caller has no login session (cron(8), su(1)).
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
