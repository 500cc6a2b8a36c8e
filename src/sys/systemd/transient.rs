//! Scopes around processes that exist already.

use std::os::fd::AsFd;
use std::path::Path;

use zbus::wire::{Fd, Variant};

use super::jobs::{JobOutcome, Jobs};
use super::proxy::Property;
use super::{Manager, bus_error, is_named};
use crate::model::error::{Error, Kind};
use crate::model::session::limits::Limits;
use crate::sys::clock::Deadline;
use crate::sys::process::Process;

/// The scope's stop timeout, in microseconds: after it, the manager kills the processes. It is the default of other
/// units and longer than forge ever waits, because forge counts the processes that it has to kill. The timeout
/// applies when forge does not stop the session, for example at shutdown.
const STOP_TIMEOUT_US: u64 = 90_000_000;

/// A scope, and the units that are made with it in one transaction.
pub(super) struct Transient<'a> {
    /// The scope's name. The manager admits each name once, so the name is the lock.
    pub(super) scope: &'a str,
    pub(super) slice: &'a str,
    /// `Description=`
    pub(super) description: &'a str,
    pub(super) process: &'a Process,
    /// More properties of the scope.
    pub(super) more: &'a dyn Fn() -> Vec<Property<'a>>,
    /// The other units, with their properties.
    pub(super) aux: &'a dyn Fn() -> Vec<(&'a str, Vec<Property<'a>>)>,
}

/// Why the units were not made.
#[derive(Debug)]
pub enum StartError {
    /// A unit of that name exists.
    Exists,
    Other(Error),
}

impl From<Error> for StartError {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// The properties that make the kernel count a unit's usage.
pub(super) fn accounting<'a>() -> [Property<'a>; 3] {
    ["CPUAccounting", "MemoryAccounting", "TasksAccounting"].map(|name| (name, Variant::new(true)))
}

/// A line of `ExecStart=`: the program, its arguments including its name, and whether a failure is ignored.
pub(super) fn exec(forge: &Path, arguments: &[String]) -> Variant<'static> {
    let path = forge.to_string_lossy().into_owned();
    let argv: Vec<String> = std::iter::once(path.clone()).chain(arguments.iter().cloned()).collect();
    Variant::new(vec![(path, argv, false)])
}

pub(super) fn limits<'a>(limits: &Limits) -> Vec<Property<'a>> {
    limits.properties().into_iter().map(|(name, value)| (name, Variant::new(value))).collect()
}

impl Manager {
    /// Makes the units, moves the process into the scope, and waits until the manager reports success.
    ///
    /// # Errors
    /// [`StartError::Exists`] if one of the units exists.
    pub(super) fn start_transient(&self, plan: &Transient<'_>, deadline: Deadline) -> Result<(), StartError> {
        self.runtime.run(async {
            let mut jobs = Jobs::watch(self).await?;
            // A pidfd cannot be mistaken for another process; systemd accepts it from 255 on. Scopes have
            // `OOMPolicy=` from 253 on, though Debian's 252 has it.
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
                Err(error) => return Err(bus_error(&error, format!("cannot make {}", plan.scope)).into()),
            };
            match jobs.end_of(&job, deadline).await? {
                JobOutcome::Done => Ok(()),
                JobOutcome::Untold if jobs.alongside(self.active_state(plan.scope)).await? == "active" => {
                    Ok(())
                }
                JobOutcome::Pending => {
                    Err(Error::new(Kind::Deadline, format!("{} did not start in time", plan.scope))
                        .hint("see 'systemctl --user list-jobs'")
                        .into())
                }
                outcome => Err(Error::failed(format!("{} did not start: {outcome:?}", plan.scope)).into()),
            }
        })
    }

    async fn ask(&self, plan: &Transient<'_>, by_pidfd: bool, oom_policy: bool) -> zbus::Result<String> {
        let process: Property<'_> = if by_pidfd {
            ("PIDFDs", Variant::new(vec![Fd::from(plan.process.as_fd())]))
        } else {
            ("PIDs", Variant::new(vec![plan.process.pid()]))
        };
        let mut scope: Vec<Property<'_>> = vec![
            process,
            ("Description", Variant::new(plan.description)),
            ("Slice", Variant::new(plan.slice)),
            // A failed scope would keep its name, and the name is the lock.
            ("CollectMode", Variant::new("inactive-or-failed")),
            ("TimeoutStopUSec", Variant::new(STOP_TIMEOUT_US)),
        ];
        if oom_policy {
            // An out-of-memory kill of one process must not end the others. So systemd acts on no such kill; the
            // supervisor watches memory.events.
            scope.push(("OOMPolicy", Variant::new("continue")));
        }
        scope.extend((plan.more)());
        let aux = (plan.aux)();
        self.proxy.start_transient_unit(plan.scope, "fail", &scope, &aux).await.map(|job| job.to_string())
    }
}

/// Whether the manager refused a property that it does not know.
fn is_unknown_property(asked: &zbus::Result<String>) -> bool {
    matches!(asked, Err(zbus::Error::FDO(error)) if matches!(**error, zbus::fdo::Error::PropertyReadOnly(_)))
}
