//! The units of a session, made in one transaction: its slice with the limits, and its scope
//! with the first process.

use std::os::fd::AsFd;

use zbus::wire::{Fd, Variant};

use super::jobs::{Jobs, Outcome};
use super::proxy::Property;
use super::{Manager, is_named, told};
use crate::hands::clock::Deadline;
use crate::hands::process::Process;
use crate::words::error::{Error, Kind, Result};
use crate::words::limits::Limits;
use crate::words::unit_file;

/// How long a process of a session may take to end when the manager asks, in microseconds;
/// then the manager kills it. As for other units, and longer than `forge stop` ever waits: forge
/// counts what it has to kill. This one holds when forge is not there, as at a shutdown.
const STOP_TIMEOUT_US: u64 = 90_000_000;

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

/// Why it was not made.
#[derive(Debug)]
pub enum StartError {
    /// A unit of that name exists.
    Exists,
    /// Anything else.
    Other(Error),
}

impl From<Error> for StartError {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl Manager {
    /// Makes the slice and the scope, moves the process into the scope, and waits until the
    /// manager says that it is done.
    ///
    /// # Errors
    /// [`StartError::Exists`] when the scope or the slice is there already: the manager decides,
    /// so of two at once one loses.
    pub fn start_scope(&self, plan: &Scope<'_>, deadline: Deadline) -> std::result::Result<(), StartError> {
        zbus::block_on(async {
            let mut jobs = Jobs::watch(self).await?;
            // A pidfd is the process for certain; systemd takes it from 255 on. OOMPolicy= of scopes is
            // of 253, though Debian's 252 has it.
            let mut asked = jobs.alongside(self.ask(plan, true, true)).await;
            for keeps_oom_policy in [true, false] {
                if !is_unknown_property(&asked) {
                    break;
                }
                asked = jobs.alongside(self.ask(plan, false, keeps_oom_policy)).await;
            }
            let job = match asked {
                Ok(job) => job,
                Err(error) if is_named(&error, "org.freedesktop.systemd1.UnitExists") => {
                    return Err(StartError::Exists);
                }
                Err(error) => return Err(told(&error, format!("cannot make {}", plan.scope)).into()),
            };
            match jobs.end_of(&job, deadline).await? {
                Outcome::Done => Ok(()),
                Outcome::Untold if jobs.alongside(self.active_state(&plan.scope)).await? == "active" => {
                    Ok(())
                }
                Outcome::Pending => {
                    Err(Error::new(Kind::Deadline, format!("{} did not start in time", plan.scope))
                        .hint("see 'systemctl --user list-jobs'")
                        .into())
                }
                outcome => Err(Error::failed(format!("{} did not start: {outcome:?}", plan.scope)).into()),
            }
        })
    }

    /// Moves this very process out of the session that it runs in, so that it can end that
    /// session without ending itself half-way.
    ///
    /// # Errors
    /// When the manager cannot.
    pub fn leave_session(&self, deadline: Deadline) -> Result<()> {
        zbus::block_on(async {
            let mut jobs = Jobs::watch(self).await?;
            let own = std::process::id();
            let name = format!("forge-outside-{own}.scope");
            let properties: Vec<Property<'_>> = vec![
                ("PIDs", Variant::new(vec![own])),
                ("Description", Variant::new("forge at work on the session that it was called from")),
                ("CollectMode", Variant::new("inactive-or-failed")),
            ];
            let job = self.proxy.start_transient_unit(&name, "fail", &properties, &[]).await;
            let job = job.map_err(|error| told(&error, "cannot leave the session that forge runs in"))?;
            match jobs.end_of(job.as_str(), deadline).await? {
                Outcome::Done => Ok(()),
                outcome => {
                    Err(Error::failed(format!("cannot leave the session that forge runs in: {outcome:?}")))
                }
            }
        })
    }

    async fn ask(&self, plan: &Scope<'_>, by_pidfd: bool, oom_policy: bool) -> zbus::Result<String> {
        let process: Property<'_> = if by_pidfd {
            ("PIDFDs", Variant::new(vec![Fd::from(plan.process.as_fd())]))
        } else {
            ("PIDs", Variant::new(vec![plan.process.pid()]))
        };
        let mut scope: Vec<Property<'_>> = vec![
            process,
            ("Description", Variant::new(plan.description.as_str())),
            ("Slice", Variant::new(plan.slice.as_str())),
            // A scope that failed would keep its name, and the name is the lock.
            ("CollectMode", Variant::new("inactive-or-failed")),
            ("TimeoutStopUSec", Variant::new(STOP_TIMEOUT_US)),
            // At a stop the order is turned round: first the save, and the supervisor with what it
            // does at its end, then the session. (After= the supervisor would wait for it, at the
            // start, and it waits for this.)
            ("Before", Variant::new(vec![unit_file::SAVE, plan.service.as_str()])),
            // A stop of the supervisor's service stops the session, also while the manager is only
            // about to start a supervisor again; the supervisor's own end does not.
            ("PartOf", Variant::new(vec![plan.service.as_str()])),
        ];
        if oom_policy {
            // One process out of memory is not the end of its tmux server.
            scope.push(("OOMPolicy", Variant::new("continue")));
        }
        let mut slice: Vec<Property<'_>> = vec![
            ("Description", Variant::new(plan.description.as_str())),
            ("CollectMode", Variant::new("inactive-or-failed")),
            // The slice goes when the last of its scopes goes, those of tmux's panes included.
            ("StopWhenUnneeded", Variant::new(true)),
            ("CPUAccounting", Variant::new(true)),
            ("MemoryAccounting", Variant::new(true)),
            ("TasksAccounting", Variant::new(true)),
        ];
        slice.extend(plan.limits.properties().into_iter().map(|(name, value)| (name, Variant::new(value))));
        let aux = [(plan.slice.as_str(), slice)];
        self.proxy.start_transient_unit(&plan.scope, "fail", &scope, &aux).await.map(|job| job.to_string())
    }
}

/// Whether the manager refused a property that it does not know.
fn is_unknown_property(asked: &zbus::Result<String>) -> bool {
    matches!(asked, Err(zbus::Error::FDO(error)) if matches!(**error, zbus::fdo::Error::PropertyReadOnly(_)))
}
