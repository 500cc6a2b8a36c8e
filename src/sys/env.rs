//! The environment of this process, and the paths that forge derives from it. No other module reads the
//! environment.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use etcetera::BaseStrategy;
use nix::unistd::{Uid, User};

use crate::model::error::{Error, Kind, Result, Trying};
use crate::model::session::environment::{GIVEN, GIVEN_TEXT, is_kept, without_values};

/// The directories of the user that forge runs as.
#[derive(Debug, Clone)]
pub struct Paths {
    pub uid: u32,
    pub home: PathBuf,
    /// `$XDG_CONFIG_HOME/forge`.
    pub config: PathBuf,
    /// `$XDG_STATE_HOME/forge`: the files that must survive a reboot.
    pub state: PathBuf,
    /// `$XDG_RUNTIME_DIR/forge`, or `/run/user/UID/forge` if the variable is not set, for example after su(1)
    /// or in a job of cron(8).
    pub runtime: PathBuf,
    /// The directory in which tmux makes its socket directories: `$TMUX_TMPDIR`, else `/tmp`. As in tmux, a
    /// `$TMUX_TMPDIR` that does not exist counts as not set.
    pub tmux_tmpdir: PathBuf,
}

impl Paths {
    /// # Errors
    /// `Missing` if the user has no home directory.
    pub fn from_environment() -> Result<Self> {
        let uid = Uid::effective().as_raw();
        let xdg = etcetera::base_strategy::Xdg::new().map_err(|error| {
            Error::new(Kind::Missing, format!("your home directory is not known: {error}")).hint("set HOME")
        })?;
        let runtime = non_empty("XDG_RUNTIME_DIR")
            .map_or_else(|| PathBuf::from(format!("/run/user/{uid}")), PathBuf::from);
        let tmp = Path::new("/tmp");
        let tmux_tmpdir = non_empty("TMUX_TMPDIR")
            .and_then(|dir| Path::new(&dir).canonicalize().ok())
            // If /tmp is a link, tmux uses its target.
            .or_else(|| tmp.canonicalize().ok())
            .unwrap_or_else(|| tmp.to_owned());
        Ok(Self {
            uid,
            home: xdg.home_dir().to_owned(),
            config: xdg.config_dir().join("forge"),
            state: xdg.state_dir().unwrap_or_else(|| xdg.home_dir().join(".local/state")).join("forge"),
            runtime: runtime.join("forge"),
            tmux_tmpdir,
        })
    }

    /// The directory in which tmux makes its sockets.
    pub fn socket_dir(&self) -> PathBuf {
        self.tmux_tmpdir.join(format!("tmux-{}", self.uid))
    }

    /// The directory of the user's own units: `$XDG_CONFIG_HOME/systemd/user`.
    pub fn user_units(&self) -> PathBuf {
        self.config.parent().unwrap_or(Path::new("/")).join("systemd/user")
    }

    /// Expands `~/` in a path from the configuration to the home directory.
    pub fn in_home(&self, path: &Path) -> PathBuf {
        match path.strip_prefix("~") {
            Ok(below) => self.home.join(below),
            Err(_) => path.to_owned(),
        }
    }

    /// `$XDG_RUNTIME_DIR`, or `/run/user/UID` if the variable is not set.
    pub fn xdg_runtime(&self) -> &Path {
        self.runtime.parent().unwrap_or(Path::new("/"))
    }

    /// The configuration files that tmux reads for this user, in its order (tmux(1), `-f`).
    pub fn tmux_configs(&self) -> Vec<PathBuf> {
        let mut files = vec![PathBuf::from("/etc/tmux.conf"), self.home.join(".tmux.conf")];
        if let Some(parent) = self.config.parent() {
            files.push(parent.join("tmux/tmux.conf"));
        }
        let fallback = self.home.join(".config/tmux/tmux.conf");
        if !files.contains(&fallback) {
            files.push(fallback);
        }
        files
    }
}

/// The user's name, or the uid in digits if the user has no name.
pub fn user_name() -> String {
    let uid = Uid::effective();
    User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

/// The host name of this machine; empty if it is not UTF-8.
pub fn host_name() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default()
}

/// The directory of the credentials that systemd passes to this service.
pub fn credentials() -> Option<PathBuf> {
    non_empty("CREDENTIALS_DIRECTORY").map(PathBuf::from)
}

/// The value of a variable such as `PATH` or `TMUX_TMPDIR`, for a comparison with the manager's value. `None`
/// if the variable is not set, empty or not UTF-8.
pub fn variable(name: &str) -> Option<String> {
    non_empty(name).and_then(|value| value.into_string().ok())
}

/// The user's shell: `$SHELL` if it is an absolute path, else the one in the password database, else `/bin/sh`.
pub fn shell() -> String {
    let own = || {
        let user = User::from_uid(Uid::effective()).ok()??;
        user.shell.into_os_string().into_string().ok().filter(|shell| !shell.is_empty())
    };
    non_empty("SHELL")
        .and_then(|shell| shell.into_string().ok())
        .filter(|shell| shell.starts_with('/'))
        .or_else(own)
        .unwrap_or_else(|| "/bin/sh".to_owned())
}

/// The value of a variable; `None` if the variable is not set or empty.
fn non_empty(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The arguments of this process, beginning with the program's name.
pub fn arguments() -> Vec<OsString> {
    std::env::args_os().collect()
}

pub fn caller_environment() -> Vec<(OsString, OsString)> {
    std::env::vars_os().collect()
}

/// The part of the caller's environment that forge keeps for the next start of a session.
pub fn kept_environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| is_kept(name))
        .collect()
}

/// The value of a variable that `--env NAME` passes to a session: the value that forge's command line had
/// ([`hide_given_values`]), else the value in the caller's environment.
///
/// # Errors
/// `Usage` if the variable is not set or not UTF-8.
pub fn given_variable(name: &str) -> Result<String> {
    let value = std::env::var_os(format!("{GIVEN}{name}")).or_else(|| std::env::var_os(name));
    value.and_then(|value| value.into_string().ok()).ok_or_else(|| {
        Error::usage(format!("--env {name}: the environment has no such variable with a text in it"))
            .hint(format!("give its value: --env {name}=VALUE"))
    })
}

/// The text that forge's command line had for `forge report --text` ([`hide_given_values`]).
pub fn given_text() -> Option<String> {
    Some(std::env::var_os(format!("{GIVEN}{GIVEN_TEXT}"))?.to_string_lossy().into_owned())
}

/// Executes forge again without the values that its command line contains for `--env` and `--text`: other users can
/// read a command line, and the journal stores it. Returns if there are no such values, or if the execution fails.
pub fn hide_given_values() {
    let arguments: Vec<OsString> = arguments().split_off(1);
    if let Some((arguments, values)) = without_values(&arguments) {
        let values = values.into_iter().map(|(name, value)| (format!("{GIVEN}{name}"), value));
        let error = Command::new("/proc/self/exe").arg0("forge").args(arguments).envs(values).exec();
        tracing::debug!("cannot execute forge again: {error}");
    }
}

/// Whether the user asked for output without colours (no-color.org).
pub fn no_color() -> bool {
    non_empty("NO_COLOR").is_some() || std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// The directory in which a session starts: the given one, or the current directory. The path is absolute, and
/// free of links if the directory exists.
///
/// # Errors
/// `Failed` if forge needs the current directory and cannot read it.
pub fn absolute(given: Option<&Path>) -> Result<PathBuf> {
    let here = || std::env::current_dir().trying("the current directory cannot be read");
    let path = match given {
        None => return here(),
        Some(path) if path.is_absolute() => path.to_owned(),
        Some(path) => here()?.join(path),
    };
    Ok(path.canonicalize().unwrap_or(path))
}

/// Checks that a session can start in a directory.
///
/// # Errors
/// `Usage` if the path is not a directory, or the user may not enter it.
pub fn check_working_directory(path: &Path) -> Result<()> {
    let refuse = |why: &str| {
        Err(Error::usage(format!("cannot start in {}: {why}", path.display()))
            .hint("give a directory that exists, with --cwd or in the configuration"))
    };
    match path.metadata() {
        Err(error) => refuse(&error.to_string()),
        Ok(metadata) if !metadata.is_dir() => refuse("it is no directory"),
        Ok(_) => {
            nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).or_else(|error| refuse(error.desc()))
        }
    }
}

/// The path of a program, found as execvp(3) finds it.
pub fn find_program(name: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    let runs = |file: &Path| {
        file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|file| runs(file));
    }
    std::env::split_paths(path?).map(|dir| dir.join(name)).find(|file| runs(file))
}

/// The path of tmux. If tmux is not in `PATH`: the path that the builder of the package set (`FORGE_TMUX`).
///
/// # Errors
/// `Missing` if tmux is in neither place.
pub fn tmux() -> Result<PathBuf> {
    let builders = || find_program(option_env!("FORGE_TMUX")?, None);
    find_program("tmux", std::env::var_os("PATH").as_deref()).or_else(builders).ok_or_else(|| {
        Error::new(Kind::Missing, "tmux is not installed, or not in PATH").hint("sudo apt-get install tmux")
    })
}

/// The directory of Nix's packages. A path in it belongs to one version. Nix's garbage collection removes the
/// path when no profile contains that version any more.
const NIX_STORE: &str = "/nix/store";

/// Whether the path is in Nix's store, so that it may not exist after the next upgrade.
pub fn is_passing(path: &Path) -> bool {
    path.starts_with(NIX_STORE)
}

/// The `bin` directories of Nix's profiles, in the order of the search. A service's `PATH` does not contain them.
fn nix_profiles() -> Vec<PathBuf> {
    let own = Paths::from_environment().into_iter().flat_map(|paths| {
        let state = paths.state.parent().unwrap_or(&paths.state).join("nix/profile");
        [paths.home.join(".nix-profile"), state]
    });
    let machines = [
        PathBuf::from("/etc/profiles/per-user").join(user_name()),
        PathBuf::from("/run/current-system/sw"),
        PathBuf::from("/nix/var/nix/profiles/default"),
    ];
    own.chain(machines).map(|profile| profile.join("bin")).collect()
}

/// A lasting path of this program: one in `search` or in a profile whose link leads to exactly this file.
fn in_a_profile(program: &Path, search: &OsStr, profiles: &[PathBuf]) -> Option<PathBuf> {
    let name = program.file_name()?;
    std::env::split_paths(search).chain(profiles.iter().cloned()).map(|dir| dir.join(name)).find(|path| {
        path.is_absolute() && !is_passing(path) && path.canonicalize().is_ok_and(|at| at == program)
    })
}

/// The path of forge's binary, for processes that execute it later. For a binary in Nix's store this is the path
/// in a profile, if a profile contains it: that path survives an upgrade.
///
/// # Errors
/// `Missing` if the running binary has no usable path any more; `Failed` if the kernel does not name one.
pub fn forge() -> Result<PathBuf> {
    let path = std::env::current_exe().trying("forge cannot find its own binary")?;
    // If an upgrade replaced the binary while it runs, the kernel's link ends in " (deleted)".
    let path = match path.to_str().and_then(|text| text.strip_suffix(" (deleted)")) {
        Some(replaced) => PathBuf::from(replaced),
        None => path,
    };
    if path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.mode() & 0o111 != 0) {
        let search = std::env::var_os("PATH").unwrap_or_default();
        let lasting = is_passing(&path).then(|| in_a_profile(&path, &search, &nix_profiles())).flatten();
        return Ok(lasting.unwrap_or(path));
    }
    Err(Error::new(Kind::Missing, format!("forge's own binary {} is gone", path.display()))
        .hint("install forge again"))
}
