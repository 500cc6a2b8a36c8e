//! The units of a session, made in one transaction: its slice with the limits, and its scope
//! with the first process.

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

/// What to make.
#[derive(Debug)]
pub struct Scope<'a> {
    /// The scope's name: the lock.
    pub scope: String,
    /// The slice's name.
    pub slice: String,
    /// The name of its supervisor's service, whether or not there is one.
    pub service: String,
    /// The scope's description.
    pub description: String,
    /// The limits, for the slice.
    pub limits: &'a Limits,
    /// The first process.
    pub process: &'a Process,
}

impl Manager {
    /// Makes the slice and the scope, moves the process into the scope, and waits until the
    /// manager says that it is done.
    ///
    /// # Errors
    /// [`StartError::Exists`] when the scope or the slice is there already: the manager decides,
    /// so of two at once one loses.
    pub fn start_scope(&self, plan: &Scope<'_>, deadline: Deadline) -> std::result::Result<(), StartError> {
        let transient = Transient {
            scope: &plan.scope,
            slice: &plan.slice,
            description: &plan.description,
            process: plan.process,
            more: &|| {
                vec![
                    // At a stop the order is turned round: first the save, and the supervisor with what
                    // it does at its end, then the session. (After= the supervisor would wait for it,
                    // at the start, and it waits for this.)
                    ("Before", Variant::new(vec![files::SAVE, plan.service.as_str()])),
                    // A stop of the supervisor's service stops the session, also while the manager is
                    // only about to start a supervisor again; the supervisor's own end does not.
                    ("PartOf", Variant::new(vec![plan.service.as_str()])),
                ]
            },
            aux: &|| {
                let mut slice: Vec<Property<'_>> = vec![
                    ("Description", Variant::new(plan.description.as_str())),
                    ("CollectMode", Variant::new("inactive-or-failed")),
                    // The slice goes when the last of its scopes goes, those of tmux's panes included.
                    ("StopWhenUnneeded", Variant::new(true)),
                ];
                slice.extend(accounting());
                slice.extend(limits(plan.limits));
                vec![(plan.slice.as_str(), slice)]
            },
        };
        self.start_transient(&transient, deadline)
    }

    /// Moves this very process out of the session that it runs in, so that it can end that
    /// session without ending itself half-way.
    ///
    /// # Errors
    /// When the manager cannot.
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
