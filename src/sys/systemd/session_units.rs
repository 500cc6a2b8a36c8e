//! The units of a session, made in one transaction: the slice with the limits, and the scope with the
//! first process.

use zbus::wire::Variant;

use super::jobs::{JobOutcome, Jobs};
use super::proxy::Property;
use super::transient::{StartError, Transient, accounting, limits};
use super::{Manager, bus_error};
use crate::model::error::{Error, Result};
use crate::model::session::limits::Limits;
use crate::model::unit::files;
use crate::sys::clock::Deadline;
use crate::sys::process::Process;

/// The units to make.
#[derive(Debug)]
pub struct Scope<'a> {
    /// The scope's name. The manager admits each name once, so the name is the lock.
    pub scope: String,
    pub slice: String,
    /// The name of the supervisor's service, which need not exist.
    pub service: String,
    pub description: String,
    /// The limits, for the slice.
    pub limits: &'a Limits,
    pub process: &'a Process,
}

impl Manager {
    /// Makes the slice and the scope, moves the process into the scope, and waits until the manager reports
    /// success.
    ///
    /// # Errors
    /// [`StartError::Exists`] if the scope or the slice exists: of two spawns at the same time, the manager admits
    /// one.
    pub fn start_scope(&self, plan: &Scope<'_>, deadline: Deadline) -> std::result::Result<(), StartError> {
        let transient = Transient {
            scope: &plan.scope,
            slice: &plan.slice,
            description: &plan.description,
            process: plan.process,
            more: &|| {
                vec![
                    // systemd reverses the ordering on stop, so `Before=` here means: the save and the supervisor,
                    // with its `ExecStopPost=`, stop first, then this scope. (With `After=` the scope would wait for
                    // the supervisor's start, and the supervisor waits for the scope.)
                    ("Before", Variant::new(vec![files::SAVE, plan.service.as_str()])),
                    // A stop of the supervisor's service stops the session, even while the manager is only about to
                    // restart the supervisor. The end of the supervisor itself does not stop the session.
                    ("PartOf", Variant::new(vec![plan.service.as_str()])),
                ]
            },
            aux: &|| {
                let mut slice: Vec<Property<'_>> = vec![
                    ("Description", Variant::new(plan.description.as_str())),
                    ("CollectMode", Variant::new("inactive-or-failed")),
                    // systemd removes the slice with the last of its scopes, including those of tmux's panes.
                    ("StopWhenUnneeded", Variant::new(true)),
                ];
                slice.extend(accounting());
                slice.extend(limits(plan.limits));
                vec![(plan.slice.as_str(), slice)]
            },
        };
        self.start_transient(&transient, deadline)
    }

    /// Moves this process out of the session that it runs in, so that it can end the session without ending
    /// itself half-way.
    ///
    /// # Errors
    /// `Bus` if the manager does not answer; `Failed` if it refuses.
    pub fn leave_session(&self, deadline: Deadline) -> Result<()> {
        self.runtime.run(async {
            let mut jobs = Jobs::watch(self).await?;
            let own = std::process::id();
            let name = format!("forge-outside-{own}.scope");
            let properties: Vec<Property<'_>> = vec![
                ("PIDs", Variant::new(vec![own])),
                ("Description", Variant::new("forge at work on the session that it was called from")),
                ("CollectMode", Variant::new("inactive-or-failed")),
            ];
            let job = self.proxy.start_transient_unit(&name, "fail", &properties, &[]).await;
            let job =
                job.map_err(|error| bus_error(&error, "cannot leave the session that forge runs in"))?;
            match jobs.end_of(job.as_str(), deadline).await? {
                JobOutcome::Done => Ok(()),
                outcome => {
                    Err(Error::failed(format!("cannot leave the session that forge runs in: {outcome:?}")))
                }
            }
        })
    }
}
