//! `forge doctor`: checks of the machine for problems that would stop forge from working. Each problem comes
//! with the command that fixes it.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::config::{self, Config};
use crate::model::error::Error;
use crate::model::health::{LITTLE_DISK_SPACE, Problem};
use crate::model::session::limits::Limits;
use crate::model::session::outside::WITHOUT_DAEMON;
use crate::model::unit::files::{FileChange, SWEEP_TIMER};
use crate::model::usage;
use crate::ops::Context;
use crate::ops::session::{observe, outside};
use crate::ops::units::install::{self, InstallStep};
use crate::ops::units::verify;
use crate::sys::cgroup::{self, Cgroup};
use crate::sys::clock::Deadline;
use crate::sys::connections::Connections;
use crate::sys::env::{self, Paths};
use crate::sys::systemd::{Login, Manager, unit_watch};
use crate::sys::tmux::directory::Directory;
use crate::sys::{files, psi, tmux};

/// How long `tmux -V` may take.
const VERSION: Duration = Duration::from_secs(5);

/// The oldest tmux, and the oldest systemd, that forge was tested with.
const OLDEST_TMUX: (u32, u32) = (3, 3);
const OLDEST_SYSTEMD: u32 = 252;

#[derive(Default)]
struct Findings {
    checks: usize,
    problems: Vec<Problem>,
}

impl Findings {
    /// Counts a check, and adds the problem that it found.
    fn check(&mut self, found: Option<Problem>) {
        self.checks += 1;
        self.problems.extend(found);
    }
}

/// Makes all checks. Returns their number, and the problems.
pub fn examine(paths: Paths, config_file: Option<&Path>) -> (usize, Vec<Problem>) {
    let mut findings = Findings::default();
    let config = match config::load(&paths.config, config_file) {
        Ok(config) => {
            findings.check(None);
            config
        }
        Err(error) => {
            findings.check(Some(of_error("the configuration is not valid", &error)));
            Config::default()
        }
    };
    let context = Context::new(paths, config);
    findings.check(tmux());
    findings.check(kernel());
    directories(&context, &mut findings);
    login(&context, &mut findings);
    notices(&context, &mut findings);
    // If systemd does not answer, skip the other questions: each would wait for its own deadline.
    match context.manager().and_then(|manager| manager.version().map(|_| manager)) {
        Err(error) => findings.check(Some(of_error("the user manager cannot be reached", &error))),
        Ok(manager) => {
            findings.check(None);
            systemd(&context, manager, &mut findings);
            units(&context, &mut findings);
            programs(&context, manager, &mut findings);
            guard(&context, &mut findings);
            outside(&context, &mut findings);
        }
    }
    (findings.checks, findings.problems)
}

fn of_error(what: &str, error: &Error) -> Problem {
    let hint = error.hint.clone().unwrap_or_else(|| "fix it and run forge doctor again".to_owned());
    Problem::new(format!("{what}: {}", error.message), hint)
}

fn tmux() -> Option<Problem> {
    let install = "sudo apt-get install tmux";
    let binary = match env::tmux() {
        Ok(binary) => binary,
        Err(error) => return Some(of_error("tmux is missing", &error)),
    };
    let output = tmux::version(&binary, Deadline::after(VERSION));
    match output {
        Err(error) => {
            Some(Problem::new(format!("could not run {}: {}", binary.display(), error.message), install))
        }
        Ok(output) => match version_of(&output) {
            Some(version) if version < OLDEST_TMUX => Some(Problem::new(
                format!("{} is {}, but forge needs tmux 3.3 or newer", binary.display(), output.trim()),
                install,
            )),
            // A version without a number is new: a build from tmux's current source.
            _ => None,
        },
    }
}

/// The version numbers in `tmux 3.5a` or `tmux next-3.6`; `None` in `tmux master`.
fn version_of(text: &str) -> Option<(u32, u32)> {
    let digits = text.trim_start_matches(|c: char| !c.is_ascii_digit());
    let (major, rest) = digits.split_once('.')?;
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn kernel() -> Option<Problem> {
    if !cgroup::is_unified() {
        return Some(Problem::new(
            "this machine does not use control groups version 2 alone",
            "boot with systemd.unified_cgroup_hierarchy=1 on the kernel's command line",
        ));
    }
    // The root group has no cgroup.kill. Since Linux 5.14 every other group has it.
    let own = cgroup::of_process(std::process::id())?;
    (own != "/" && !Cgroup::new(&own).can_kill()).then(|| {
        Problem::new("the kernel is older than Linux 5.14", "upgrade the kernel: sudo apt-get full-upgrade")
    })
}

fn directories(context: &Context, findings: &mut Findings) {
    let socket_dir = context.paths.socket_dir();
    findings.check(match Directory::open(&socket_dir) {
        Err(error) => Some(of_error("tmux cannot use its socket directory", &error)),
        Ok(Some(directory)) if !directory.is_writable() => Some(Problem::new(
            format!("{} is not writable", socket_dir.display()),
            format!("chmod 700 {}", socket_dir.display()),
        )),
        Ok(_) => None,
    });
    for dir in [&context.paths.state, &context.paths.runtime] {
        // If the directory does not exist yet, forge will create it.
        let there = files::nearest_dir(dir).unwrap_or(dir);
        findings.check((!files::is_writable(there)).then(|| {
            let chmod = format!("chmod 700 {}", there.display());
            Problem::new(format!("{} is not writable", there.display()), chmod)
        }));
    }
    let free = files::free_bytes(&context.paths.state);
    findings.check(free.filter(|free| *free < LITTLE_DISK_SPACE).map(|free| {
        Problem::new(
            format!("only {} of disk space left for forge's files", usage::size(free)),
            format!("free disk space: du -xh {} | sort -h | tail", context.paths.home.display()),
        )
    }));
}

fn login(context: &Context, findings: &mut Findings) {
    let Ok(login) = Login::connect() else {
        findings.check(Some(Problem::new(
            "logind does not answer: forge cannot check whether your sessions survive a logout",
            "systemctl status systemd-logind dbus",
        )));
        return;
    };
    // Without lingering, a logout ends the user manager; with KillUserProcesses=yes, logind kills the
    // processes at once. With lingering, the sessions survive whatever that setting is (measured on 252 and
    // 257).
    let at_once = login.kills_at_logout().is_ok_and(|kills| kills);
    findings.check(match login.lingers(context.paths.uid) {
        Ok(true) => None,
        Ok(false) => Some(Problem::new(
            format!(
                "lingering is off: your sessions end with your last login{}, and no session starts at boot",
                if at_once { " (at once: KillUserProcesses=yes)" } else { "" }
            ),
            format!("sudo loginctl enable-linger {}", env::user_name()),
        )),
        Err(error) => Some(of_error("forge cannot check whether lingering is on", &error)),
    });
}

fn notices(context: &Context, findings: &mut Findings) {
    let notify = &context.config.notify;
    let secrets = [
        notify.telegram.as_ref().and_then(|telegram| telegram.token_file.as_ref()),
        notify.webhook.as_ref().and_then(|webhook| webhook.url_file.as_ref()),
    ];
    for secret in secrets.into_iter().flatten() {
        let path = context.paths.in_home(secret);
        findings.check(match files::mode(&path) {
            Err(error) => Some(Problem::new(
                format!("the secret {} cannot be read: {error}", path.display()),
                "create the file, then run: forge notify test",
            )),
            Ok(mode) if mode & 0o077 != 0 => Some(Problem::new(
                format!("other users can read the secret {}", path.display()),
                format!("chmod 600 {}", path.display()),
            )),
            Ok(_) => None,
        });
    }
}

/// Checks whether the sessions do their work inside. Other checks report a manager that does not answer.
fn outside(context: &Context, findings: &mut Findings) {
    let connections = Connections::default();
    for session in observe::all(context, |_| true).unwrap_or_default() {
        let id = &session.id;
        findings.check(match outside::outside(id, &session.cgroup, session.mark.as_ref(), &connections) {
            Some(found) => {
                let daemon = found.into_iter().find(|one| one.same_program);
                daemon.map(|one| Problem::new(one.works(id), WITHOUT_DAEMON))
            }
            None => Some(Problem::new(
                format!("forge cannot check whether {id} works outside its slice"),
                "sudo modprobe unix_diag; a filter for system calls must permit netlink sockets",
            )),
        });
    }
}

/// Checks the guarded units, and the sessions that yield to them.
fn guard(context: &Context, findings: &mut Findings) {
    let wants_pressure = context.config.guard.freeze_on_pressure.is_some();
    findings.check((wants_pressure && !psi::is_measured()).then(|| {
        let what = "[guard] sets freeze_on_pressure, but this kernel does not measure pressure";
        Problem::new(what, "boot the kernel with psi=1")
    }));
    let yields = context.config.sessions.iter().find(|(_, session)| session.yields).map(|(id, _)| id);
    findings.check(yields.filter(|_| !wants_pressure).map(|id| {
        let what = format!("[sessions.{id}] sets yield, but [guard] does not set freeze_on_pressure");
        Problem::new(what, "add freeze_on_pressure = 40 to [guard]")
    }));
    let units = context.config.guard.all_units().unwrap_or_default();
    match unit_watch::observe(&units, unit_watch::BRIEFLY) {
        Ok(readings) => {
            for (unit, reading) in units.iter().zip(readings) {
                findings.check((reading.state.load == "not-found").then(|| {
                    let what = format!("[guard] names {unit}, which does not exist");
                    Problem::new(what, "correct the name; units of the machine belong in system_units")
                }));
            }
        }
        Err(error) => findings.check(Some(of_error("forge cannot query the guarded units", &error))),
    }
}

fn systemd(context: &Context, manager: &Manager, findings: &mut Findings) {
    findings.check(manager.major_version().ok().and_then(|major| {
        (major < OLDEST_SYSTEMD).then(|| {
            Problem::new(
                format!("this is systemd {major}, but forge needs {OLDEST_SYSTEMD} or newer"),
                "upgrade the system to Debian 12 or newer",
            )
        })
    }));
    let controllers = manager.control_group().map(|group| Cgroup::new(&group).controllers());
    let limits =
        context.config.sessions.values().map(|session| &session.limits).chain([&context.config.limits]);
    let wanted: BTreeSet<&str> = limits.flat_map(Limits::controllers).collect();
    findings.check(controllers.ok().and_then(|there| {
        let missing: Vec<&str> =
            wanted.into_iter().filter(|name| !there.iter().any(|there| there == name)).collect();
        (!missing.is_empty()).then(|| {
            Problem::new(
                format!("the configured limits have no effect: no {} controller", missing.join(" and no ")),
                "echo -e '[Service]\\nDelegate=cpu cpuset io memory pids' | sudo install -D /dev/stdin \
                 /etc/systemd/system/user@.service.d/delegate.conf; then reboot",
            )
        })
    }));
    for name in ["TMUX_TMPDIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME"] {
        let (here, there) = (env::variable(name), manager.environment(name).ok().flatten());
        findings.check(here.filter(|here| Some(here) != there.as_ref()).map(|here| {
            Problem::new(
                format!(
                    "{name} is {here} here, but {} in the user manager: after a boot forge would use other directories",
                    there.as_deref().unwrap_or("not set")
                ),
                format!("mkdir -p ~/.config/environment.d && echo {name}={here} >> ~/.config/environment.d/forge.conf"),
            )
        }));
    }
}

fn units(context: &Context, findings: &mut Findings) {
    let install = "forge units install --now";
    let steps = match install::plan_install(context) {
        Ok(steps) => steps,
        Err(error) => return findings.check(Some(of_error("forge cannot check its units", &error))),
    };
    let is = |wanted: fn(&FileChange) -> bool| -> Vec<&str> {
        steps.iter().filter(|step| wanted(&step.change)).map(|step| step.file.name).collect()
    };
    let missing = is(|change| matches!(change, FileChange::Write(_)));
    findings.check((!missing.is_empty()).then(|| {
        let which =
            if missing.len() == steps.len() { "forge's units".to_owned() } else { missing.join(", ") };
        Problem::new(format!("not installed: {which}; forge neither sweeps nor restores at boot"), install)
    }));
    let old = is(|change| matches!(change, FileChange::Update(_)));
    findings.check((!old.is_empty()).then(|| {
        Problem::new(
            format!("written by an older forge, or by a forge at another path: {}", old.join(", ")),
            install,
        )
    }));
    for InstallStep { path, change, .. } in &steps {
        if let FileChange::Refuse(why) = change {
            findings.check(Some(Problem::new(
                format!("{} does not belong to forge: {why}", path.display()),
                format!("mv '{0}' '{0}.old' && {install}", path.display()),
            )));
        }
    }
    if missing.len() == steps.len() {
        return;
    }
    match verify::loaded(context) {
        Err(error) => findings.check(Some(of_error("forge cannot check its units", &error))),
        Ok(units) => {
            let reload: Vec<&str> =
                units.iter().filter(|(_, unit)| unit.needs_reload).map(|(file, _)| file.name).collect();
            findings.check((!reload.is_empty()).then(|| {
                Problem::new(
                    format!("changed on disk since systemd loaded them: {}", reload.join(", ")),
                    "systemctl --user daemon-reload",
                )
            }));
            let masked: Vec<&str> =
                units.iter().filter(|(_, unit)| unit.load == "masked").map(|(file, _)| file.name).collect();
            findings.check(masked.first().map(|first| {
                Problem::new(
                    format!("masked: {}", masked.join(", ")),
                    format!("systemctl --user unmask {first}"),
                )
            }));
            let disabled: Vec<&str> = units
                .iter()
                .filter(|(file, unit)| {
                    file.is_enabled() && unit.load == "loaded" && unit.file_state == "disabled"
                })
                .map(|(file, _)| file.name)
                .collect();
            findings.check(
                (!disabled.is_empty())
                    .then(|| Problem::new(format!("not enabled: {}", disabled.join(", ")), install)),
            );
            let timer = units.iter().find(|(file, _)| file.name == SWEEP_TIMER);
            findings.check(timer.filter(|(_, unit)| unit.load == "loaded" && unit.active != "active").map(
                |_| {
                    Problem::new(
                        "the sweep's timer is not active: dead sockets stay until the next spawn",
                        format!("systemctl --user start {SWEEP_TIMER}"),
                    )
                },
            ));
        }
    }
}

/// Checks that the programs of the sessions that start at boot are in the user manager's `PATH`.
fn programs(context: &Context, manager: &Manager, findings: &mut Findings) {
    let path = manager.environment("PATH").ok().flatten();
    for (id, session) in context.config.sessions.iter().filter(|(_, session)| session.boot) {
        let Some(command) = &session.command else { continue };
        let path = session.env.get("PATH").or(path.as_ref()).map(AsRef::as_ref);
        findings.check(env::find_program(command.program(), path).is_none().then(|| {
            let program = command.program();
            let elsewhere = env::find_program(program, env::variable("PATH").as_deref().map(AsRef::as_ref));
            match elsewhere.as_deref().and_then(Path::parent) {
                Some(dir) => Problem::new(
                    format!("[sessions.{id}]: {program} is in {}, which is not in the user manager's PATH", dir.display()),
                    format!(
                        "mkdir -p ~/.config/environment.d && echo 'PATH={}:$PATH' >> ~/.config/environment.d/forge.conf; then reboot",
                        dir.display()
                    ),
                ),
                None => Problem::new(
                    format!("[sessions.{id}]: the program {program} does not exist"),
                    format!("install it, or correct command in {}", context.paths.config.join("forge.toml").display()),
                ),
            }
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tmux_versions_compare_as_numbers() {
        assert_eq!(version_of("tmux 3.5a\n"), Some((3, 5)));
        assert_eq!(version_of("tmux next-3.10"), Some((3, 10)));
        assert_eq!(version_of("tmux openbsd-7.6"), Some((7, 6)));
        assert_eq!(version_of("tmux master"), None);
        assert!(version_of("tmux 3.2a").unwrap() < OLDEST_TMUX);
    }
}
