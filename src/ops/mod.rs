//! What forge does. Each act takes the [`Context`] and values of `model`, and uses `sys`.

pub mod boot;
pub mod guard;
pub mod health;
pub mod session;
pub mod supervise;
pub mod sweep;
pub mod units;

use std::cell::OnceCell;
use std::path::Path;

use crate::config::{self, Config};
use crate::model::error::Result;
use crate::sys::env::Paths;
use crate::sys::store::Store;
use crate::sys::systemd::Manager;

/// The machine as one user sees it: where things are, what is configured, and the manager once
/// it is needed.
#[derive(Debug)]
pub struct Context {
    /// The directories.
    pub paths: Paths,
    /// The configuration.
    pub config: Config,
    /// forge's files.
    pub store: Store,
    manager: OnceCell<Manager>,
}

impl Context {
    /// The context of this process, with the configuration file given or the user's own.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn open(config_file: Option<&Path>) -> Result<Self> {
        let paths = Paths::from_environment()?;
        let config = config::load(&paths.config, config_file)?;
        Ok(Self::with(paths, config))
    }

    /// A context with that configuration.
    pub fn with(paths: Paths, config: Config) -> Self {
        let store = Store::new(&paths);
        Self { paths, config, store, manager: OnceCell::new() }
    }

    /// The same context with a connection of its own: for another thread, or because this one's broke.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::with(self.paths.clone(), self.config.clone())
    }

    /// The user manager, connected at the first use.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub fn manager(&self) -> Result<&Manager> {
        if let Some(manager) = self.manager.get() {
            return Ok(manager);
        }
        let manager = Manager::connect()?;
        Ok(self.manager.get_or_init(|| manager))
    }
}
