//! One file per command: it parses its arguments, calls an operation and shows the result. No command
//! imports another. The hidden commands, which forge and systemd run, are in [`internal`].

pub mod agents;
pub mod arguments;
pub mod attach;
pub mod beat;
pub mod capture;
pub mod completions;
pub mod doctor;
pub mod freeze;
pub mod guard;
pub mod internal;
pub mod list;
pub mod logs;
pub mod man;
pub mod notify;
pub mod poke;
pub mod probe;
pub mod report;
pub mod restart;
pub mod restore;
pub mod run;
pub mod save;
pub mod send;
pub mod spawn;
pub mod status;
pub mod stop;
pub mod supervise;
pub mod sweep;
pub mod units;
pub mod wait;

use std::cell::OnceCell;
use std::path::Path;

use crate::config::{self, Config};
use crate::model::error::{Error, Result};
use crate::model::output::Output;
use crate::ops::Context;
use crate::sys::env::Paths;

/// A command, with its arguments parsed.
pub trait Command {
    /// The policy of this command.
    fn config(&self) -> ConfigPolicy;

    /// Runs the command.
    ///
    /// # Errors
    /// As the operation that it calls; `Kind::Config` as its [`ConfigPolicy`] says.
    fn run(&self, call: &CommandContext<'_>) -> Result<Output>;

    /// The exit status of forge when the command returns this error.
    fn exit_status(&self, error: &Error) -> u8 {
        error.kind.exit_status()
    }
}

/// The use that a command makes of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigPolicy {
    /// The command fails when the configuration is not valid.
    Needed,
    /// When the configuration is not valid, forge prints a warning and the command uses the defaults: it
    /// maintains the machine, shows what runs, or ends what must end. A file named with `--config` must be
    /// valid all the same.
    Tolerated,
    /// As `Tolerated`, but the command itself reports the error.
    Reported,
    /// The command does not depend on the configuration, or reads the files itself.
    Ignored,
}

/// The global options and the context, for a command to take from what it needs.
#[allow(missing_debug_implementations, reason = "it holds functions")]
pub struct CommandContext<'a> {
    pub json: bool,
    /// The file named with `--config`.
    pub config_file: Option<&'a Path>,
    policy: ConfigPolicy,
    print_warning: &'a dyn Fn(&Error),
    /// Builds the definition of the command line.
    definition: fn() -> clap::Command,
    /// The context, and the error when the configuration is not in it.
    opened: OnceCell<(Context, Option<Error>)>,
}

impl<'a> CommandContext<'a> {
    pub fn new(
        policy: ConfigPolicy,
        json: bool,
        config_file: Option<&'a Path>,
        print_warning: &'a dyn Fn(&Error),
        definition: fn() -> clap::Command,
    ) -> Self {
        Self { json, config_file, policy, print_warning, definition, opened: OnceCell::new() }
    }

    /// The context, with the configuration as the command's policy says. forge reads it at the first call.
    ///
    /// # Errors
    /// `Kind::Missing` when the user has no home directory, `Kind::Config` when the policy needs the
    /// configuration and the configuration is not valid.
    pub fn context(&self) -> Result<&Context> {
        self.opened().map(|(context, _)| context)
    }

    /// Why the configuration is not valid, for a command that tolerates this.
    ///
    /// # Errors
    /// As [`Self::context`].
    pub fn config_error(&self) -> Result<Option<&Error>> {
        self.opened().map(|(_, error)| error.as_ref())
    }

    /// Prints a warning on standard error.
    pub fn warn(&self, error: &Error) {
        (self.print_warning)(error);
    }

    /// The definition of the command line, for completions and manual pages.
    pub fn definition(&self) -> clap::Command {
        (self.definition)()
    }

    fn opened(&self) -> Result<&(Context, Option<Error>)> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let opened = self.open()?;
        Ok(self.opened.get_or_init(|| opened))
    }

    fn open(&self) -> Result<(Context, Option<Error>)> {
        let paths = Paths::from_environment()?;
        let loaded = match self.policy {
            ConfigPolicy::Ignored => Ok(Config::default()),
            _ => config::load(&paths.config, self.config_file),
        };
        let (config, error) = match loaded {
            Ok(config) => (config, None),
            Err(error) if self.policy == ConfigPolicy::Needed || self.config_file.is_some() => {
                return Err(error);
            }
            Err(error) => (Config::default(), Some(error)),
        };
        if let Some(error) = error.as_ref().filter(|_| self.policy == ConfigPolicy::Tolerated) {
            self.warn(error);
        }
        Ok((Context::new(paths, config), error))
    }
}
