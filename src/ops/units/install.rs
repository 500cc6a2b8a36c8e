//! forge's units in the user manager: written, enabled, started, and taken away again.
//!
//! Planned first, so that a dry run shows exactly what would be done.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::error::{Error, Kind, Result};
use crate::model::health::Problem;
use crate::model::unit::files::{BOOT_NOTICE, FileChange, There, USER, UnitFile, to_install, to_uninstall};
use crate::model::unit::{FORGE_SLICE, SERVICE_PATTERN};
use crate::ops::Context;
use crate::sys::clock::Deadline;
use crate::sys::systemd::{Login, Manager};
use crate::sys::{env, files};

/// How long a unit may take to start or to stop. A restore may be among them.
const JOB: Duration = Duration::from_secs(600);

/// Why a supervisor's unit stays.
const AT_WORK: &str =
    "sessions run under it ('systemctl --user list-units \"forge-spawn@*\"'): stop them first";

/// What is to be done about one unit file.
#[derive(Debug)]
pub struct InstallStep {
    /// The unit.
    pub file: UnitFile,
    /// Where its file is, or would be.
    pub path: PathBuf,
    /// The package's file, where one has it.
    pub packaged: Option<PathBuf>,
    /// What stands there.
    pub there: There,
    /// What is done.
    pub change: FileChange,
}

/// Where forge writes units.
pub fn directory(context: &Context) -> PathBuf {
    context.paths.user_units()
}

fn there(path: &Path) -> There {
    match path.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => There::Nothing,
        Ok(metadata) if metadata.is_file() => match files::read(path) {
            Ok(Some(bytes)) => String::from_utf8(bytes).map_or(There::Other, There::Text),
            _ => There::Other,
        },
        _ => There::Other,
    }
}

/// The file of that unit that stands behind forge's own directory in the manager's path: a
/// package's, or an administrator's.
fn packaged(own: &Path, search: &[PathBuf], name: &str) -> Option<PathBuf> {
    let behind = search.iter().skip_while(|dir| *dir != own).skip(1);
    behind.map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// What an install would do.
///
/// # Errors
/// When the manager does not answer, or forge's path cannot be written into a unit.
pub fn plan_install(context: &Context) -> Result<Vec<InstallStep>> {
    let forge = env::forge()?;
    let steps =
        plan(context, |file, there, packaged| Ok(to_install(there, &file.marked(&forge)?, packaged)))?;
    let writes = |step: &InstallStep| matches!(step.change, FileChange::Write(_) | FileChange::Update(_));
    if env::is_passing(&forge) && steps.iter().any(writes) {
        return Err(Error::new(
            Kind::Usage,
            format!("units that name {} would break with the next upgrade", forge.display()),
        )
        .hint("install forge into a profile ('nix profile install'), and call it from there"));
    }
    Ok(steps)
}

/// What an uninstall would do.
///
/// # Errors
/// When the manager does not answer.
pub fn plan_uninstall(context: &Context) -> Result<Vec<InstallStep>> {
    let supervisors = context.manager()?.units(&[SERVICE_PATTERN])?;
    let at_work = supervisors.iter().any(|unit| unit.active != "inactive" && unit.active != "failed");
    plan(context, |file, there, _| {
        Ok(match to_uninstall(there) {
            // Without its settings a supervisor would neither be replaced nor end its session.
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
            format!("the user manager does not look for units in {}", own.display()),
        )
        .hint(
            "XDG_CONFIG_HOME is not the same here and there: unset it, or set it in ~/.config/environment.d",
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

/// What was done beside the files.
#[derive(Debug, Default)]
pub struct Done {
    /// Links that were made or removed.
    pub links: Vec<PathBuf>,
    /// Units that were started.
    pub started: Vec<&'static str>,
    /// Units that did not come up, and why.
    pub not_started: Vec<Problem>,
    /// Units that were stopped.
    pub stopped: Vec<&'static str>,
}

/// Carries an install out; `now` starts what is enabled, but not the notice of a boot that was
/// long ago.
///
/// # Errors
/// When a file cannot be written, or a unit cannot be enabled. Doing it again mends it.
pub fn install(context: &Context, steps: &[InstallStep], now: bool) -> Result<Done> {
    let manager = context.manager()?;
    // The units of a user without forge's files do nothing: from here on they do.
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
        // The manager sees a new link only when it reads everything again.
        manager.reload()?;
    }
    if now {
        for &unit in ours.iter().filter(|unit| **unit != BOOT_NOTICE) {
            // One that does not come up, such as a restore with a session that cannot be started,
            // is no reason to leave the others down.
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

/// Removes a file, and of a drop-in the directory too, unless the user has others in it.
fn remove(step: &InstallStep) -> Result<()> {
    files::remove(&step.path)?;
    if step.file.is_drop_in() {
        files::remove_empty_dir(step.path.parent().unwrap_or(&step.path));
    }
    Ok(())
}

/// Whether lingering is on, turned on where that is wanted; `None` where nobody tells.
///
/// # Errors
/// When it is wanted and cannot be turned on.
pub fn lingering(context: &Context, wanted: bool) -> Result<Option<bool>> {
    let login = Login::connect();
    let lingers = login.as_ref().ok().and_then(|login| login.lingers(context.paths.uid).ok());
    if wanted && lingers != Some(true) {
        login?.turn_lingering_on(context.paths.uid)?;
        return Ok(Some(true));
    }
    Ok(lingers)
}

/// Enables what is not enabled yet. A link that is there already is left as it is.
fn enable(manager: &Manager, units: &[&str]) -> Result<Vec<PathBuf>> {
    let mut wanting = Vec::new();
    for &unit in units {
        if manager.loaded(unit)?.file_state != "enabled" {
            wanting.push(unit);
        }
    }
    if wanting.is_empty() { Ok(Vec::new()) } else { manager.enable(&wanting) }
}

/// Carries an uninstall out: what was started is stopped, the sessions go on.
///
/// # Errors
/// When a file cannot be removed, or a unit cannot be stopped. Doing it again mends it.
pub fn uninstall(context: &Context, steps: &[InstallStep]) -> Result<Done> {
    let manager = context.manager()?;
    let mut done = Done::default();
    // One that a package has too stays enabled and goes on, as the package's.
    let ours: Vec<&InstallStep> =
        steps.iter().filter(|step| step.change == FileChange::Remove && step.packaged.is_none()).collect();
    let enabled: Vec<&str> =
        ours.iter().filter(|step| step.file.has_install_section()).map(|step| step.file.name).collect();
    if !enabled.is_empty() {
        done.links = manager.disable(&enabled)?;
    }
    for step in &ours {
        let name = step.file.name;
        // The slice holds the sessions, and goes by itself with the last of them.
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
