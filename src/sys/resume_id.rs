//! The user's command that prints the id with which a program resumes its conversation.

use std::process::Command;
use std::time::Duration;

use super::clock::Deadline;
use super::command;
use super::env::caller_environment;
use crate::model::error::{Error, Kind, Result};
use crate::model::session::environment::for_session;
use crate::model::session::resume::check_id;
use crate::model::session::spec::Spec;

/// The deadline for a user's command that prints an id.
const COMMAND: Duration = Duration::from_secs(10);

/// The id that a command prints. It runs in the session's directory and environment.
///
/// # Errors
/// `Failed` if the command fails or prints no id; `Deadline`.
pub fn printed(argv: &[String], spec: &Spec) -> Result<String> {
    let (program, arguments) =
        argv.split_first().ok_or_else(|| Error::new(Kind::Config, "the resume_id command is empty"))?;
    let mut command = Command::new(program);
    let environment = for_session(caller_environment(), &spec.kept_env, &spec.env, &spec.session);
    command.args(arguments).current_dir(&spec.cwd).env_clear().envs(environment);
    let output = command::run(&mut command, Deadline::after(COMMAND))?;
    if !output.success {
        let said = output.stderr.lines().last().unwrap_or_default().to_owned();
        return Err(Error::failed(format!("the resume_id command {program} failed: {said}")));
    }
    let id = output.stdout.trim().to_owned();
    check_id(&id)?;
    Ok(id)
}
