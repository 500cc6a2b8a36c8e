//! Makes a session's specification from its configuration.

use std::path::Path;

use crate::model::error::Result;
use crate::model::session::command::Argv;
use crate::model::session::name::SessionId;
use crate::model::session::spec::{Keeper, READY_TIMEOUT_S, Spec, VERSION};
use crate::model::time::seconds_up;
use crate::ops::Context;
use crate::sys::env;

/// The specification that `[sessions.NAME]` gives for that session, with defaults for the other values.
///
/// The working directory is `given`, else the configured one, else `otherwise`, else the current directory.
/// The spawn checks that the directory exists.
///
/// # Errors
/// [`Kind::Failed`](crate::model::error::Kind::Failed) if the current directory does not exist.
pub fn from_config(
    context: &Context,
    id: &SessionId,
    given: Option<&Path>,
    otherwise: Option<&Path>,
) -> Result<Spec> {
    let configured = context.config.sessions.get(id).cloned().unwrap_or_default();
    let cwd = configured.cwd.map(|cwd| context.paths.in_home(&cwd));
    Ok(Spec {
        version: VERSION,
        session: id.clone(),
        command: configured.command.unwrap_or_else(|| Argv::login_shell(&env::shell())),
        cwd: env::absolute(given.or(cwd.as_deref()).or(otherwise))?,
        env: configured.env.into_iter().collect(),
        kept_env: env::kept_environment(),
        ready: configured.ready,
        not_ready: configured.not_ready,
        asking: configured.asking,
        ready_timeout_s: configured.ready_timeout.map_or(READY_TIMEOUT_S, seconds_up),
        limits: configured.limits.or(&context.config.limits),
        resume: configured.resume,
        resume_id: configured.resume_id,
        saved_id: None,
        ports: configured.ports,
        fresh: false,
        keeper: Keeper::Forge,
        as_configured: context.config.sessions.contains_key(id),
        over: false,
    })
}

/// The configured specification, with the kept environment, resume id and keeper of the session's last run.
/// It starts in that run's working directory unless one is configured.
///
/// # Errors
/// As for [`from_config`].
pub fn from_config_and_last_run(context: &Context, id: &SessionId, before: Option<&Spec>) -> Result<Spec> {
    let cwd = before.map_or(context.paths.home.as_path(), |before| &before.cwd);
    let spec = from_config(context, id, None, Some(cwd))?;
    Ok(match before {
        None => spec,
        Some(before) => Spec {
            kept_env: before.kept_env.clone(),
            saved_id: before.saved_id.clone(),
            keeper: before.keeper,
            ..spec
        },
    })
}
