//! Installs and removes forge's units in the user manager.
//!
//! forge first makes a plan, so that a dry run shows exactly the steps of a real run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::error::{Error, Kind, Result};
use crate::model::health::Problem;
use crate::model::unit::files::{BOOT_NOTICE, FileChange, There, USER, UnitFile, to_install, to_uninstall};
use crate::model::unit::{FORGE_SLICE, SERVICE_PATTERN};
use crate::ops::Context;
use crate::sys::clock::Deadline;
use crate::sys::files::Entry;
use crate::sys::systemd::{Login, Manager};
use crate::sys::{env, files};

/// How long a unit may take to start or to stop. Starting a unit may restore sessions.
const JOB: Duration = Duration::from_secs(600);

/// Why forge does not remove a supervisor's unit.
const AT_WORK: &str =
    "sessions run under it ('systemctl --user list-units \"forge-spawn@*\"'): stop them first";

/// The change to one unit file.
#[derive(Debug)]
pub struct InstallStep {
    pub file: UnitFile,
    /// The path of the file in forge's unit directory.
    pub path: PathBuf,
    /// The file of the same unit that a package or an administrator installed.
    pub packaged: Option<PathBuf>,
    /// The current content of `path`.
    pub there: There,
    pub change: FileChange,
}

/// The directory to which forge writes units.
pub fn directory(context: &Context) -> PathBuf {
    context.paths.user_units()
}

fn there(path: &Path) -> There {
    match files::entry(path) {
        Entry::Missing => There::Nothing,
        Entry::File => match files::read(path) {
            Ok(Some(bytes)) => String::from_utf8(bytes).map_or(There::Other, There::Text),
            _ => There::Other,
        },
        Entry::Other => There::Other,
    }
}

/// The file of that unit in a directory after forge's own in systemd's unit path: from a package, or from an
/// administrator.
fn packaged(own: &Path, search: &[PathBuf], name: &str) -> Option<PathBuf> {
    let behind = search.iter().skip_while(|dir| *dir != own).skip(1);
    behind.map(|dir| dir.join(name)).find(|path| files::is_file(path))
}

/// The steps of an install.
///
/// # Errors
/// `Kind::Bus` when the user manager cannot be reached; `Kind::Usage` when the manager does not read forge's
/// unit directory, or forge's path cannot stay in a unit.
pub fn plan_install(context: &Context) -> Result<Vec<InstallStep>> {
    let forge = env::forge()?;
    let steps =
        plan(context, |file, there, packaged| Ok(to_install(there, &file.marked(&forge)?, packaged)))?;
    let writes = |step: &InstallStep| matches!(step.change, FileChange::Write(_) | FileChange::Update(_));
    if env::is_passing(&forge) && steps.iter().any(writes) {
        return Err(Error::new(
            Kind::Usage,
            format!("units with the path {} would break at the next upgrade", forge.display()),
        )
        .hint("install forge into a profile ('nix profile install'), and run it from the profile"));
    }
    Ok(steps)
}

/// The steps of an uninstall.
///
/// # Errors
/// `Kind::Bus` when the user manager cannot be reached; `Kind::Usage` when the manager does not read forge's
/// unit directory.
pub fn plan_uninstall(context: &Context) -> Result<Vec<InstallStep>> {
    let supervisors = context.manager()?.units(&[SERVICE_PATTERN])?;
    let at_work = supervisors.iter().any(|unit| unit.active != "inactive" && unit.active != "failed");
    plan(context, |file, there, _| {
        Ok(match to_uninstall(there) {
            // Without the unit's settings, systemd would not restart the supervisor, and a stop would not end
            // the session.
            FileChange::Remove if at_work && file.is_supervisor() => FileChange::Refuse(AT_WORK),
            change => change,
        })
    })
}

fn plan(
    context: &Context,
    decide: impl Fn(UnitFile, &There, bool) -> Result<FileChange>,
) -> Result<Vec<InstallStep>> {
    let own = directory(context);
    let search = context.manager()?.unit_path()?;
    if !search.contains(&own) {
        return Err(Error::new(
            Kind::Usage,
            format!("the user manager does not read units from {}", own.display()),
        )
        .hint(
            "XDG_CONFIG_HOME differs between this shell and the user manager: unset it, or set it in ~/.config/environment.d",
        ));
    }
    USER.into_iter()
        .map(|file| {
            let path = own.join(file.name);
            let there = there(&path);
            let packaged = packaged(&own, &search, file.name);
            let change = decide(file, &there, packaged.is_some())?;
            Ok(InstallStep { file, path, packaged, there, change })
        })
        .collect()
}

/// The changes beside the unit files.
#[derive(Debug, Default)]
pub struct Done {
    /// The symlinks of `systemctl enable` that were made or removed.
    pub links: Vec<PathBuf>,
    pub started: Vec<&'static str>,
    /// The units that did not start, with the reasons.
    pub not_started: Vec<Problem>,
    pub stopped: Vec<&'static str>,
}

/// Carries out an install. With `now`, also starts the enabled units, except the boot notice, since the boot
/// is long ago.
///
/// # Errors
/// `Kind::Failed` when a file cannot be written or a unit cannot be enabled; `Kind::Bus` when the user
/// manager cannot be reached. Another run completes the install.
pub fn install(context: &Context, steps: &[InstallStep], now: bool) -> Result<Done> {
    let manager = context.manager()?;
    // The units have ConditionPathExists= for forge's directories: without them they do nothing.
    files::private_dir(&context.paths.state)?;
    for step in steps {
        match &step.change {
            FileChange::Write(text) | FileChange::Update(text) => {
                files::make_dir(step.path.parent().unwrap_or(&step.path))?;
                files::write(&step.path, text.as_bytes(), 0o644)?;
            }
            FileChange::Unhide | FileChange::Remove => remove(step)?,
            FileChange::Unchanged | FileChange::Packaged | FileChange::Absent | FileChange::Refuse(_) => {}
        }
    }
    manager.reload()?;
    let ours: Vec<&'static str> = steps
        .iter()
        .filter(|step| !matches!(step.change, FileChange::Refuse(_)) && step.file.is_enabled())
        .map(|step| step.file.name)
        .collect();
    let mut done = Done { links: enable(manager, &ours)?, ..Done::default() };
    if !done.links.is_empty() {
        // systemd finds a new symlink only when it reloads its units.
        manager.reload()?;
    }
    if now {
        for &unit in ours.iter().filter(|unit| **unit != BOOT_NOTICE) {
            // If a unit fails to start, for instance a restore with a session that does not start, start the
            // others all the same.
            match manager.start(unit, Deadline::after(JOB), || ()) {
                Ok(()) => done.started.push(unit),
                Err(error) => {
                    done.not_started.push(Problem::new(error.message, error.hint.unwrap_or_default()));
                }
            }
        }
    }
    Ok(done)
}

/// Removes a unit file. Also removes the directory of a drop-in, unless the user has other files in it.
fn remove(step: &InstallStep) -> Result<()> {
    files::remove(&step.path)?;
    if step.file.is_drop_in() {
        files::remove_empty_dir(step.path.parent().unwrap_or(&step.path));
    }
    Ok(())
}

/// Whether lingering is on; turns it on if `wanted`. `None` where logind does not answer.
///
/// # Errors
/// logind's error, when lingering is wanted and cannot be turned on.
pub fn lingering(context: &Context, wanted: bool) -> Result<Option<bool>> {
    let login = Login::connect();
    let lingers = login.as_ref().ok().and_then(|login| login.lingers(context.paths.uid).ok());
    if wanted && lingers != Some(true) {
        login?.turn_lingering_on(context.paths.uid)?;
        return Ok(Some(true));
    }
    Ok(lingers)
}

/// Enables the units that are not enabled yet. Leaves existing symlinks as they are.
fn enable(manager: &Manager, units: &[&str]) -> Result<Vec<PathBuf>> {
    let mut wanting = Vec::new();
    for &unit in units {
        if manager.loaded(unit)?.file_state != "enabled" {
            wanting.push(unit);
        }
    }
    if wanting.is_empty() { Ok(Vec::new()) } else { manager.enable(&wanting) }
}

/// Carries out an uninstall: stops forge's units, and leaves the sessions running.
///
/// # Errors
/// `Kind::Failed` when a file cannot be removed or a unit cannot be stopped; `Kind::Bus` when the user
/// manager cannot be reached. Another run completes the uninstall.
pub fn uninstall(context: &Context, steps: &[InstallStep]) -> Result<Done> {
    let manager = context.manager()?;
    let mut done = Done::default();
    // A unit that a package has, too, stays enabled and active, with the package's file.
    let ours: Vec<&InstallStep> =
        steps.iter().filter(|step| step.change == FileChange::Remove && step.packaged.is_none()).collect();
    let enabled: Vec<&str> =
        ours.iter().filter(|step| step.file.has_install_section()).map(|step| step.file.name).collect();
    if !enabled.is_empty() {
        done.links = manager.disable(&enabled)?;
    }
    for step in &ours {
        let name = step.file.name;
        // systemd removes the slice by itself after the last session.
        if name == FORGE_SLICE || step.file.is_template() || step.file.is_drop_in() {
            continue;
        }
        if manager.loaded(name)?.active != "inactive" {
            manager.stop(&[name.to_owned()], Deadline::after(JOB))?;
            done.stopped.push(name);
        }
        manager.reset_failed(name)?;
    }
    for step in steps.iter().filter(|step| step.change == FileChange::Remove) {
        remove(step)?;
    }
    files::clear_leftovers(&directory(context), "forge", Duration::ZERO);
    manager.reload()?;
    if !steps.iter().any(|step| step.packaged.is_some()) {
        context.store.forget_restores()?;
    }
    Ok(done)
}
