//! Unit files: where the manager finds them, enabling them, and the units that it has loaded from them.

use std::path::PathBuf;

use zbus::OwnedObjectPath;

use super::jobs::Jobs;
use super::proxy::{UnitInterfaceProxy, asking};
use super::{JobOutcome, Manager, bus_error, is_named};
use crate::model::error::{Error, Kind, Result};
use crate::sys::clock::Deadline;

/// A unit as the manager has it loaded.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub name: String,
    /// `LoadState=`: `loaded`, `not-found`, `bad-setting`, `masked` …
    pub load: String,
    /// `ActiveState=`
    pub active: String,
    /// `UnitFileState=`: `enabled`, `disabled`, `static` …
    pub file_state: String,
    /// The unit's file; empty if it has none.
    pub fragment: PathBuf,
    /// `NeedDaemonReload=`: whether the file has changed since.
    pub needs_reload: bool,
    /// `Before=`
    pub before: Vec<String>,
    /// `After=`
    pub after: Vec<String>,
    /// `Wants=`
    pub wants: Vec<String>,
    /// `Requires=`
    pub requires: Vec<String>,
    /// `WantedBy=`
    pub wanted_by: Vec<String>,
    /// `OnFailure=`
    pub on_failure: Vec<String>,
}

impl Manager {
    /// The manager's search path for unit files, in order.
    ///
    /// # Errors
    /// `Bus` if the manager does not answer.
    pub fn unit_path(&self) -> Result<Vec<PathBuf>> {
        let path = self
            .runtime
            .run(self.proxy.unit_path())
            .map_err(|error| bus_error(&error, "cannot ask where unit files are"))?;
        Ok(path.into_iter().map(PathBuf::from).collect())
    }

    /// Enables units. Returns the links that the manager made.
    ///
    /// # Errors
    /// `Bus` if the manager does not answer; `Failed` if it refuses.
    pub fn enable(&self, units: &[&str]) -> Result<Vec<PathBuf>> {
        let (_, changes) = self
            .runtime
            .run(self.proxy.enable_unit_files(units, false, false))
            .map_err(|error| bus_error(&error, format!("cannot enable {}", units.join(", "))))?;
        Ok(changes.into_iter().map(|(_, link, _)| link.into()).collect())
    }

    /// Disables units. Returns the links that the manager removed.
    ///
    /// # Errors
    /// `Bus` if the manager does not answer; `Failed` if it refuses.
    pub fn disable(&self, units: &[&str]) -> Result<Vec<PathBuf>> {
        let changes = self
            .runtime
            .run(self.proxy.disable_unit_files(units, false))
            .map_err(|error| bus_error(&error, format!("cannot disable {}", units.join(", "))))?;
        Ok(changes.into_iter().map(|(_, link, _)| link.into()).collect())
    }

    /// Reloads the manager's unit files (`daemon-reload`).
    ///
    /// # Errors
    /// `Bus` if the manager does not answer; `Failed` if it refuses.
    pub fn reload(&self) -> Result<()> {
        self.runtime
            .run(self.proxy.reload())
            .map_err(|error| bus_error(&error, "cannot have the manager read its units again"))
    }

    /// Starts a unit and waits until it is active. `queued` is called once the manager has queued the job.
    ///
    /// # Errors
    /// `Failed` if the unit does not start; `Deadline`; `Bus`.
    pub fn start(&self, unit: &str, deadline: Deadline, queued: impl FnOnce()) -> Result<()> {
        self.bring_up(unit, deadline, self.proxy.start_unit(unit, "replace"), queued)
    }

    /// Stops a unit if it is active, starts it, and waits until it is active.
    ///
    /// # Errors
    /// `Failed` if the unit does not start; `Deadline`; `Bus`.
    pub fn restart(&self, unit: &str, deadline: Deadline) -> Result<()> {
        self.bring_up(unit, deadline, self.proxy.restart_unit(unit, "replace"), || ())
    }

    fn bring_up(
        &self,
        unit: &str,
        deadline: Deadline,
        call: impl Future<Output = zbus::Result<OwnedObjectPath>>,
        queued: impl FnOnce(),
    ) -> Result<()> {
        self.runtime.run(async {
            let mut jobs = Jobs::watch(self).await?;
            let job = jobs
                .alongside(call)
                .await
                .map_err(|error| bus_error(&error, format!("cannot start {unit}")))?;
            queued();
            let hint = format!("see 'systemctl --user status {unit}'");
            match jobs.end_of(&job, deadline).await? {
                JobOutcome::Done => Ok(()),
                JobOutcome::Untold if jobs.alongside(self.active_state(unit)).await? == "active" => Ok(()),
                JobOutcome::Untold => Err(Error::failed(format!("{unit} did not come up")).hint(hint)),
                JobOutcome::Pending => {
                    Err(Error::new(Kind::Deadline, format!("{unit} did not come up in time")).hint(hint))
                }
                JobOutcome::Other(how) => {
                    Err(Error::failed(format!("{unit} did not come up: {how}")).hint(hint))
                }
                JobOutcome::Gone => Err(Error::failed(format!("there is no unit {unit}")).hint(hint)),
            }
        })
    }

    /// `ActiveState=` of a unit.
    pub(super) async fn active_state(&self, unit: &str) -> Result<String> {
        let ask = async { self.unit(unit).await?.active_state().await };
        ask.await.map_err(|error| bus_error(&error, format!("cannot ask for {unit}")))
    }

    /// When a unit became active, in microseconds since 1970; `None` if it is not active.
    ///
    /// # Errors
    /// `Bus` if the manager does not answer.
    pub fn active_since_us(&self, unit: &str) -> Result<Option<u64>> {
        let ask = async {
            let unit = self.unit(unit).await?;
            let is_active = unit.active_state().await? == "active";
            Ok(if is_active { Some(unit.active_enter_timestamp().await?) } else { None })
        };
        self.runtime.run(ask).map_err(|error| bus_error(&error, format!("cannot ask for {unit}")))
    }

    pub(super) async fn unit(&self, name: &str) -> zbus::Result<UnitInterfaceProxy<'static>> {
        let path = self.proxy.load_unit(name).await?;
        asking::<UnitInterfaceProxy<'_>>(&self.connection).path(path).build().await
    }

    /// Resets a unit's failed state. A unit that does not exist is not an error.
    ///
    /// # Errors
    /// `Bus` if the manager does not answer; `Failed` if it refuses.
    pub fn reset_failed(&self, unit: &str) -> Result<()> {
        match self.runtime.run(self.proxy.reset_failed_unit(unit)) {
            Err(error) if !is_named(&error, "org.freedesktop.systemd1.NoSuchUnit") => {
                Err(bus_error(&error, format!("cannot reset {unit}")))
            }
            _ => Ok(()),
        }
    }

    /// The unit of this name, as the manager has it loaded.
    ///
    /// # Errors
    /// `Bus` if the manager does not answer.
    pub fn loaded(&self, unit: &str) -> Result<Loaded> {
        let ask = async {
            let unit = self.unit(unit).await?;
            Ok::<_, zbus::Error>(Loaded {
                name: unit.id().await?,
                load: unit.load_state().await?,
                active: unit.active_state().await?,
                file_state: unit.unit_file_state().await?,
                fragment: unit.fragment_path().await?.into(),
                needs_reload: unit.need_daemon_reload().await?,
                before: unit.before().await?,
                after: unit.after().await?,
                wants: unit.wants().await?,
                requires: unit.requires().await?,
                wanted_by: unit.wanted_by().await?,
                on_failure: unit.on_failure().await?,
            })
        };
        self.runtime.run(ask).map_err(|error| bus_error(&error, format!("cannot ask for {unit}")))
    }
}
