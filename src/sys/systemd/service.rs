//! A supervisor's service, as its manager has it.

use std::path::Path;
use std::time::Duration;

use zbus::wire::Variant;

use super::jobs::{JobOutcome, Jobs};
use super::proxy::{JobInterfaceProxy, Property, ServiceInterfaceProxy, UnitInterfaceProxy, asking};
use super::transient::exec;
use super::{Manager, bus_error, is_gone, is_named};
use crate::model::error::{Error, Result};
use crate::model::supervision::Breaker;
use crate::sys::clock::Deadline;

/// How long what runs at a stop may take, in microseconds: as the service's own `TimeoutStopSec=`.
const AT_STOP_US: u64 = 60_000_000;

/// What somebody asked the manager to do with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PendingJob {
    /// Nothing, or nothing that matters here.
    Nothing,
    /// To stop it.
    Stop,
    /// To stop it and start it again.
    Restart,
}

/// A service as the manager has it.
#[derive(Debug, Clone)]
pub struct Service {
    /// `LoadState=`
    pub load: String,
    /// How often it was started again by itself since somebody started it.
    pub restarts: u32,
    /// How often it may be.
    pub breaker: Breaker,
    /// `RestartSec=`
    pub restart_pause: Duration,
    /// Whether the manager lets that pause grow (`RestartSteps=`).
    pub pause_grows: bool,
}

impl Manager {
    /// A service.
    ///
    /// # Errors
    /// When the manager does not answer.
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
                // Before 254 there is no such property.
                pause_grows: service.restart_steps().await.is_ok_and(|steps| steps > 0),
            })
        };
        self.runtime.run(ask).map_err(|error| bus_error(&error, format!("cannot ask for {name}")))
    }

    /// What is being done with a unit by somebody's order.
    ///
    /// # Errors
    /// When the manager does not answer.
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
            // It came to its end while we asked.
            Err(error) if is_gone(&error) => Ok(PendingJob::Nothing),
            Err(error) => Err(bus_error(&error, format!("cannot ask what is done with {name}"))),
        }
    }

    /// Has forge called with those words when somebody stops that service, before it is stopped, also
    /// while nothing of it runs: then the manager itself calls nothing. A unit without a process does
    /// that; one that is there already stays. (It is `PartOf=`, since what that spreads is orders alone:
    /// `StopPropagatedFrom=` would stop it at each end of the service.)
    ///
    /// # Errors
    /// When the unit cannot be made.
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
            // At a stop the order is turned round, so that the service still has its job then. The bus,
            // by which that is asked.
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

    /// Has the manager run forge with those words, as a service of its own that is gone with its process.
    /// Nobody waits for it.
    ///
    /// # Errors
    /// When the manager refuses, as where a unit of that name exists.
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
        asked.map(drop).map_err(|error| bus_error(&error, format!("cannot start {unit}")))
    }

    /// Has the main process of a service look after itself at once (SIGHUP); says whether there is
    /// one.
    ///
    /// # Errors
    /// When the manager cannot.
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
