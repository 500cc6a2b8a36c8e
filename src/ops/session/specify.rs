//! Makes a session's specification from its configuration, and from what forge knows of the agent that it starts.

use std::path::Path;

use crate::agents::{self, AgentConfigs, GENERIC, Profile};
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
        agent: configured.agent,
        cwd: env::absolute(given.or(cwd.as_deref()).or(otherwise))?,
        env: configured.env.into_iter().collect(),
        kept_env: env::kept_environment(),
        ready: configured.ready,
        ready_is_agents: false,
        not_ready: configured.not_ready,
        asking: configured.asking,
        working: configured.working,
        ready_timeout_s: configured.ready_timeout.map_or(READY_TIMEOUT_S, seconds_up),
        limits: configured.limits.or(&context.config.limits),
        begin: None,
        resume: configured.resume,
        resume_id: configured.resume_id,
        saved_id: None,
        agent_process: None,
        reported_id: None,
        ports: configured.ports,
        fresh: false,
        keeper: Keeper::Forge,
        as_configured: context.config.sessions.contains_key(id),
        over: false,
    })
}

/// The specification with the values of its agent's profile where it has none of its own. The profile is the one that
/// the specification names; otherwise the one that its command plainly starts.
///
/// # Errors
/// [`Kind::Usage`](crate::model::error::Kind::Usage) if forge knows no agent of that name;
/// [`Kind::Config`](crate::model::error::Kind::Config) if `[agents]` is not valid.
pub fn with_agent(agents: &AgentConfigs, spec: Spec) -> Result<Spec> {
    let profile = match &spec.agent {
        Some(name) => Some(agents::named(agents, name)?),
        None => agents::recognised(agents, &spec.command)?,
    };
    match profile.filter(|profile| profile.name != GENERIC) {
        Some(profile) => as_agent(&profile, spec),
        None => Ok(Spec { agent: None, ..spec }),
    }
}

fn as_agent(profile: &Profile, spec: Spec) -> Result<Spec> {
    let mut spec = Spec {
        agent: Some(profile.name.clone()),
        ready_is_agents: spec.ready.is_none() && profile.prompts.ready.is_some(),
        ready: spec.ready.or_else(|| profile.prompts.ready.clone()),
        not_ready: spec.not_ready.or_else(|| profile.prompts.not_ready.clone()),
        asking: spec.asking.or_else(|| profile.prompts.asking.clone()),
        working: spec.working.or_else(|| profile.prompts.working.clone()),
        ..spec
    };
    if spec.resume.is_none() {
        spec.begin = profile.begin_command(&spec.command)?;
        spec.resume = profile.resume_command(&spec.command)?;
        spec.resume_id = spec.resume_id.or_else(|| profile.resume_id.clone());
    }
    spec.command = profile.command(&spec.command)?;
    Ok(spec)
}

/// The configured specification, with the kept environment, resume id and keeper of the session's last run.
/// It starts in that run's working directory unless one is configured.
///
/// # Errors
/// As for [`from_config`] and [`with_agent`].
pub fn from_config_and_last_run(context: &Context, id: &SessionId, before: Option<&Spec>) -> Result<Spec> {
    let cwd = before.map_or(context.paths.home.as_path(), |before| &before.cwd);
    let spec = with_agent(&context.config.agents, from_config(context, id, None, Some(cwd))?)?;
    Ok(match before {
        None => spec,
        Some(before) => Spec {
            kept_env: before.kept_env.clone(),
            saved_id: before.saved_id.clone(),
            agent_process: before.agent_process,
            reported_id: before.reported_id.clone(),
            keeper: before.keeper,
            ..spec
        },
    })
}
