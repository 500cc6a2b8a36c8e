//! The units of a guarded command, made in one transaction: its slice with the limits, its scope, and the
//! keeper, the service that cleans up after its guard is gone.

use std::path::Path;

use zbus::wire::Variant;

use super::proxy::{Property, SliceInterfaceProxy, asking};
use super::transient::{StartError, Transient, accounting, exec, limits};
use super::{Manager, bus_error};
use crate::model::error::{Error, Result};
use crate::model::session::limits::Limits;
use crate::model::unit::{self, FORGE_SLICE, GUARD_SLICE};
use crate::sys::clock::Deadline;
use crate::sys::process::Process;

/// The keeper's stop timeout, in microseconds.
const KEEPER_STOP_US: u64 = 60_000_000;

/// The pause before systemd restarts a keeper that was killed, in microseconds.
const KEEPER_AGAIN_US: u64 = 100_000;

/// The weights of the slices as in `units/user/`, for a user who has not installed the units.
const WEIGHTS: [(&str, u64); 2] = [(FORGE_SLICE, 20), (GUARD_SLICE, 10)];

/// `CPUWeight=` of a unit that has no weight.
const NOT_SET: u64 = u64::MAX;

#[derive(Debug)]
pub struct Guarding<'a> {
    /// The id of the guarded command.
    pub id: &'a str,
    pub description: &'a str,
    pub slice: &'a str,
    /// Whether processes that the command leaves behind may stay. If so, systemd removes the slice when the last
    /// of them ends; otherwise forge stops the slice.
    pub may_stay: bool,
    /// The limits, for the slice.
    pub limits: &'a Limits,
    /// The process that becomes the command.
    pub process: &'a Process,
    /// The path of forge's own executable, for the keeper's command lines.
    pub forge: &'a Path,
    /// The keeper's `ExecStart=` arguments: it waits until the guard is gone.
    pub keeper: &'a [String],
    /// The keeper's `ExecStopPost=` arguments.
    pub after_keeper: &'a [String],
}

impl Manager {
    /// Makes slice, scope and keeper, moves the process into the scope, and waits until the manager reports
    /// success.
    ///
    /// # Errors
    /// `Failed` if the units cannot be made; `Deadline`; `Bus` if the manager is gone.
    pub fn start_guarding(&self, plan: &Guarding<'_>, deadline: Deadline) -> Result<()> {
        let (scope, keeper) = (unit::guard_scope(plan.id), unit::guard_keeper(plan.id));
        let transient = Transient {
            scope: &scope,
            slice: plan.slice,
            description: plan.description,
            process: plan.process,
            more: &|| {
                vec![
                    // The command must not run without its keeper.
                    ("Requires", Variant::new(vec![keeper.as_str()])),
                    ("After", Variant::new(vec![keeper.as_str()])),
                ]
            },
            aux: &|| {
                let mut slice: Vec<Property<'_>> = vec![
                    ("Description", Variant::new(plan.description)),
                    ("CollectMode", Variant::new("inactive-or-failed")),
                    // forge reads the slice's usage after the command has ended.
                    ("StopWhenUnneeded", Variant::new(plan.may_stay)),
                ];
                slice.extend(accounting());
                slice.extend(limits(plan.limits));
                let service: Vec<Property<'_>> = vec![
                    ("Description", Variant::new(format!("Keeper: {}", plan.description))),
                    ("Type", Variant::new("exec")),
                    ("ExecStart", exec(plan.forge, plan.keeper)),
                    ("ExecStopPost", exec(plan.forge, plan.after_keeper)),
                    ("Restart", Variant::new("on-failure")),
                    ("RestartUSec", Variant::new(KEEPER_AGAIN_US)),
                    ("TimeoutStopUSec", Variant::new(KEEPER_STOP_US)),
                    // systemd restarts the keeper however often it is killed.
                    ("StartLimitIntervalUSec", Variant::new(0u64)),
                    ("CollectMode", Variant::new("inactive-or-failed")),
                ];
                vec![(plan.slice, slice), (keeper.as_str(), service)]
            },
        };
        self.start_transient(&transient, deadline).map_err(|error| match error {
            StartError::Exists => Error::failed(format!("there is a unit {scope} already")),
            StartError::Other(error) => error,
        })?;
        WEIGHTS.iter().try_for_each(|(slice, weight)| self.weigh(slice, *weight))
    }

    /// Sets a slice's weight for this boot, unless it has one.
    fn weigh(&self, slice: &str, weight: u64) -> Result<()> {
        let ask = async {
            let path = self.proxy.load_unit(slice).await?;
            let proxy = asking::<SliceInterfaceProxy<'_>>(&self.connection).path(path).build().await?;
            if proxy.cpu_weight().await? == NOT_SET {
                let properties: [Property<'_>; 1] = [("CPUWeight", Variant::new(weight))];
                self.proxy.set_unit_properties(slice, true, &properties).await?;
            }
            Ok::<_, zbus::Error>(())
        };
        self.runtime.run(ask).map_err(|error| bus_error(&error, format!("cannot weigh {slice}")))
    }
}
