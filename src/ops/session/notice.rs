//! Starts the units that send notices about a session. Sending takes as long as the network takes, and a unit
//! outlives its starter. The unit reads the screen itself, so that no command line holds text of the screen.

use std::path::Path;

use crate::config::{self, Config};
use crate::model::error::{Error, Kind, Result};
use crate::model::notice::NoticeKind;
use crate::model::session::name::SessionId;
use crate::model::unit;
use crate::ops::Context;
use crate::sys::env;

/// Starts the unit that sends a notice about the session, if the configuration wants such notices. `prepare` runs
/// before that.
///
/// # Errors
/// [`Kind::Config`] if the configuration is not valid; otherwise as for [`start`], and those of `prepare`.
pub fn start_if_wanted(
    context: &Context,
    config_file: Option<&Path>,
    id: &SessionId,
    kind: NoticeKind,
    prepare: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let notify = config::load(&context.paths.config, config_file)?.notify;
    if notify.is_configured() && notify.wants(kind) {
        prepare()?;
        start(context, config_file, id, kind)?;
    }
    Ok(())
}

/// Starts the unit that sends a notice about the session. Returns whether systemd accepted the unit; `false`: an
/// earlier one is still there.
///
/// # Errors
/// [`Kind::Bus`] if forge cannot reach the manager; [`Kind::Failed`] if systemd refuses the unit.
pub fn start(
    context: &Context,
    config_file: Option<&Path>,
    id: &SessionId,
    kind: NoticeKind,
) -> Result<bool> {
    let (unit, what) = match kind {
        NoticeKind::Done => (unit::done(id), "is done"),
        NoticeKind::Crashed => (unit::crashed(id), "crashed"),
        _ => (unit::asking(id), "asks a question"),
    };
    let mut arguments = vec!["--quiet".to_owned()];
    if let Some(path) = config_file {
        let path = path
            .to_str()
            .ok_or_else(|| Error::failed("the path of the configuration file is not valid UTF-8"))?;
        arguments.extend(["--config", path].map(str::to_owned));
    }
    arguments.extend(["notify", kind.word(), id.as_str()].map(str::to_owned));
    // A supervisor limits how often a program crashes.
    arguments.extend((kind != NoticeKind::Crashed).then(|| "--paced".to_owned()));
    // This call makes its own connection to the bus and closes it: see `Supervisor::with_manager`.
    let context = Context::new(context.paths.clone(), Config::default());
    let description = format!("Send a notice that forge session {id} {what}");
    match context.manager()?.start_detached(&unit, &description, &env::forge()?, &arguments) {
        Ok(()) => Ok(true),
        Err(error) if error.kind == Kind::Taken => Ok(false),
        Err(error) => Err(error),
    }
}
