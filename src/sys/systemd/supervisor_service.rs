//! A supervisor's service, as the manager has it loaded.

use std::path::Path;
use std::time::Duration;

use zbus::wire::Variant;

use super::jobs::{JobOutcome, Jobs};
use super::proxy::{JobInterfaceProxy, Property, ServiceInterfaceProxy, UnitInterfaceProxy, asking};
use super::transient::exec;
use super::{Manager, bus_error, is_gone, is_named};
use crate::model::error::{Error, Kind, Result};
use crate::model::supervision::Breaker;
use crate::sys::clock::Deadline;

/// The timeout of the stop command, in microseconds: the service's own `TimeoutStopSec=`.
const AT_STOP_US: u64 = 60_000_000;

/// A job that a user or another unit has ordered for a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PendingJob {
    /// There is no job, or none that matters here.
    Nothing,
    Stop,
    Restart,
}

/// Properties of a service.
#[derive(Debug, Clone)]
pub struct Service {
    /// `LoadState=`
    pub load: String,
    /// `NRestarts=`: automatic restarts since the last manual start.
    pub restarts: u32,
    /// The start limit: `StartLimitBurst=` starts within `StartLimitIntervalSec=`.
    pub breaker: Breaker,
    /// `RestartSec=`
    pub restart_pause: Duration,
    /// Whether the manager increases the pause (`RestartSteps=`).
    pub pause_grows: bool,
}

impl Manager {
    /// The service's properties.
    ///
    /// # Errors
    /// `Bus` if the manager does not answer; `Failed` if it refuses.
    pub fn service(&self, name: &str) -> Result<Service> {
        let ask = async {
            let path = self.proxy.load_unit(name).await?;
            let unit = asking::<UnitInterfaceProxy<'_>>(&self.connection).path(path.clone()).build().await?;
            let service = asking::<ServiceInterfaceProxy<'_>>(&self.connection).path(path).build().await?;
            Ok::<_, zbus::Error>(Service {
                load: unit.load_state().await?,
                restarts: service.restarts().await?,
                breaker: Breaker {
                    burst: unit.start_limit_burst().await?,
                    interval: Duration::from_micros(unit.start_limit_interval().await?),
                },
                restart_pause: Duration::from_micros(service.restart_pause().await?),
                // systemd before 254 does not have this property.
                pause_grows: service.restart_steps().await.is_ok_and(|steps| steps > 0),
            })
        };
        self.runtime.run(ask).map_err(|error| bus_error(&error, format!("cannot ask for {name}")))
    }

    /// The unit's job, if it has one.
    ///
    /// # Errors
    /// `Bus` if the manager does not answer; `Failed` if it refuses.
    pub fn asked(&self, name: &str) -> Result<PendingJob> {
        let ask = async {
            let (number, job) = self.unit(name).await?.job().await?;
            if number == 0 {
                return Ok(String::new());
            }
            asking::<JobInterfaceProxy<'_>>(&self.connection).path(job).build().await?.job_type().await
        };
        match self.runtime.run(ask) {
            Ok(kind) if kind == "stop" => Ok(PendingJob::Stop),
            Ok(kind) if kind == "restart" || kind == "try-restart" => Ok(PendingJob::Restart),
            Ok(_) => Ok(PendingJob::Nothing),
            // The job has just ended.
            Err(error) if is_gone(&error) => Ok(PendingJob::Nothing),
            Err(error) => Err(bus_error(&error, format!("cannot ask what is done with {name}"))),
        }
    }

    /// Makes the manager run forge with these arguments when a stop of the service is ordered, before the service
    /// stops. This works also while the service has no process: then the manager itself would run nothing. forge
    /// makes a unit without a process for it; a unit that exists stays. (The unit is `PartOf=` the service, because
    /// that passes on orders only: `StopPropagatedFrom=` would stop the unit at each end of the service.)
    ///
    /// # Errors
    /// `Bus` if the manager does not answer; `Failed` if the unit cannot be made.
    pub fn call_at_stop(
        &self,
        service: &str,
        unit: &str,
        forge: &Path,
        arguments: &[String],
        deadline: Deadline,
    ) -> Result<()> {
        let properties: Vec<Property<'_>> = vec![
            ("Description", Variant::new(format!("Sees a stop of {service} between two runs"))),
            ("Type", Variant::new("oneshot")),
            ("RemainAfterExit", Variant::new(true)),
            ("ExecStop", exec(forge, arguments)),
            ("TimeoutStopUSec", Variant::new(AT_STOP_US)),
            ("PartOf", Variant::new(vec![service])),
            // systemd reverses the ordering on stop: it stops this unit first, so the stop command still finds the
            // stop job of the service. The command asks for that job over the bus.
            ("After", Variant::new(vec![service, "dbus.service"])),
            ("CollectMode", Variant::new("inactive-or-failed")),
        ];
        self.runtime.run(async {
            let mut jobs = Jobs::watch(self).await?;
            let asked = jobs.alongside(self.proxy.start_transient_unit(unit, "fail", &properties, &[])).await;
            let job = match asked {
                Ok(job) => job,
                Err(error) if is_named(&error, "org.freedesktop.systemd1.UnitExists") => return Ok(()),
                Err(error) => return Err(bus_error(&error, format!("cannot make {unit}"))),
            };
            match jobs.end_of(job.as_str(), deadline).await? {
                JobOutcome::Done | JobOutcome::Untold => Ok(()),
                outcome => Err(Error::failed(format!("{unit} did not start: {outcome:?}"))),
            }
        })
    }

    /// Makes the manager run forge with these arguments in a transient service, which disappears when its process
    /// ends. Does not wait for the process.
    ///
    /// # Errors
    /// `Taken` if a unit of this name exists; `Failed` if the manager refuses; `Bus`.
    pub fn start_detached(
        &self,
        unit: &str,
        description: &str,
        forge: &Path,
        arguments: &[String],
    ) -> Result<()> {
        let properties: Vec<Property<'_>> = vec![
            ("Description", Variant::new(description)),
            ("Type", Variant::new("exec")),
            ("ExecStart", exec(forge, arguments)),
            ("CollectMode", Variant::new("inactive-or-failed")),
        ];
        let asked = self.runtime.run(self.proxy.start_transient_unit(unit, "fail", &properties, &[]));
        asked.map(drop).map_err(|error| {
            if is_named(&error, "org.freedesktop.systemd1.UnitExists") {
                return Error::new(Kind::Taken, format!("{unit} runs already"));
            }
            bus_error(&error, format!("cannot start {unit}"))
        })
    }

    /// Sends SIGHUP to the main process of a service, so that it checks its session at once. Returns whether there
    /// is a main process.
    ///
    /// # Errors
    /// `Bus` if the manager does not answer; `Failed` if it refuses.
    pub fn poke(&self, name: &str) -> Result<bool> {
        match self.runtime.run(self.proxy.kill_unit(name, "main", nix::libc::SIGHUP)) {
            Ok(()) => Ok(true),
            Err(error)
                if is_named(&error, "org.freedesktop.systemd1.NoSuchUnit")
                    || is_named(&error, "org.freedesktop.systemd1.NoSuchProcess")
                    || is_named(&error, "org.freedesktop.systemd1.UnitNotActive") =>
            {
                Ok(false)
            }
            Err(error) => Err(bus_error(&error, format!("cannot poke {name}"))),
        }
    }
}
