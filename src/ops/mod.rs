//! The operations of forge. Each takes the [`Context`] and values of `model`, and uses `sys`.
//!
//! Imports between the modules run one way. Each line may import only from the lines below it:
//!
//! ```text
//! guard                  watches protected units while a command runs
//! health                 probe, doctor, notices
//! boot, restart          start sessions directly or through their supervisor
//! supervise              keeps one session running
//! session                spawn, stop, observe, send … for one session
//! sweep, units           remove dead sockets; install units
//! heal, end_tree         repair a live server; end all processes of a cgroup
//! ```

pub mod boot;
pub mod end_tree;
pub mod guard;
pub mod heal;
pub mod health;
pub mod restart;
pub mod session;
pub mod supervise;
pub mod sweep;
pub mod units;

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use crate::config::{self, Config};
use crate::model::error::Result;
use crate::model::session::name::SessionId;
use crate::model::unit;
use crate::sys::env::Paths;
use crate::sys::store::Store;
use crate::sys::systemd::Manager;

/// The surroundings of an operation: directories, configuration, forge's files, and the connection to
/// the user manager, which is opened at the first use.
#[derive(Debug)]
pub struct Context {
    pub paths: Paths,
    pub config: Config,
    pub store: Store,
    manager: OnceCell<Manager>,
}

impl Context {
    /// Reads the configuration from `config_file`, or from the user's own file, and finds the directories
    /// from the environment.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::model::error::Kind::Config) if the configuration is not valid.
    pub fn open(config_file: Option<&Path>) -> Result<Self> {
        let paths = Paths::from_environment()?;
        let config = config::load(&paths.config, config_file)?;
        Ok(Self::new(paths, config))
    }

    pub fn new(paths: Paths, config: Config) -> Self {
        let store = Store::new(&paths);
        Self { paths, config, store, manager: OnceCell::new() }
    }

    /// A copy that opens its own connection to the manager: for another thread, or after this context's
    /// connection was lost.
    #[must_use]
    pub fn reconnected(&self) -> Self {
        Self::new(self.paths.clone(), self.config.clone())
    }

    /// The path of a session's tmux socket.
    pub fn socket(&self, id: &SessionId) -> PathBuf {
        self.paths.socket_dir().join(unit::socket(id))
    }

    /// The user manager. The first call connects to it.
    ///
    /// # Errors
    /// [`Kind::Bus`](crate::model::error::Kind::Bus) if forge cannot reach the manager.
    pub fn manager(&self) -> Result<&Manager> {
        if let Some(manager) = self.manager.get() {
            return Ok(manager);
        }
        let manager = Manager::connect()?;
        Ok(self.manager.get_or_init(|| manager))
    }
}
