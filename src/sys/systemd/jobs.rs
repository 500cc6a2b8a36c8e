//! Jobs of the manager, and waiting for their ends.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use zbus::export::futures_core::Stream;

use super::proxy::{JobInterfaceProxy, JobRemoved, asking};
use super::runtime::Runtime;
use super::{Manager, bus_error, is_gone, is_named};
use crate::model::error::{Error, Kind, Result};
use crate::sys::clock::Deadline;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobOutcome {
    Done,
    /// There is no such unit.
    Gone,
    /// The manager's word for another result: canceled, timeout, failed, dependency …
    Other(String),
    /// The job had not ended by the deadline.
    Pending,
    /// The job is over, and the manager did not report its result.
    Untold,
}

/// The interval at which forge asks whether the manager still has a job.
const STILL_THERE: Duration = Duration::from_secs(1);

/// The ends of jobs. Subscribe before making a job.
pub(super) struct Jobs {
    runtime: Runtime,
    connection: zbus::Connection,
    stream: zbus::MessageStream,
    ended: BTreeMap<String, String>,
}

const DOING: &str = "cannot watch the manager's jobs";

/// A match rule for the signal, by its sender's well-known name. (The proxy's own stream makes two more calls to
/// the bus: for the name's owner, and for changes of the owner.)
fn job_removed() -> zbus::Result<zbus::MatchRule<'static>> {
    zbus::MatchRule::builder()
        .msg_type(zbus::message::Type::Signal)
        .sender("org.freedesktop.systemd1")
        .path("/org/freedesktop/systemd1")
        .interface("org.freedesktop.systemd1.Manager")
        .member("JobRemoved")
        .build()
}

impl Jobs {
    /// Subscribes to the manager's reports of finished jobs.
    pub(super) async fn watch(manager: &Manager) -> Result<Self> {
        let rule = job_removed().map_err(|error| bus_error(&error, DOING))?;
        let stream = zbus::MessageStream::for_match_rule(rule, &manager.connection, None)
            .await
            .map_err(|error| bus_error(&error, DOING))?;
        let Manager { runtime, connection, .. } = manager;
        Ok(Self { runtime: runtime.clone(), connection: connection.clone(), stream, ended: BTreeMap::new() })
    }

    /// Waits for the end of a job, by its path. A manager that re-executes itself meanwhile may never report it,
    /// so forge asks once a second whether the manager still has the job.
    pub(super) async fn end_of(&mut self, job: &str, deadline: Deadline) -> Result<JobOutcome> {
        loop {
            let soon = deadline.min(Deadline::after(STILL_THERE));
            let runtime = self.runtime.clone();
            match runtime.deadlined(soon, "the job", self.next_end_of(job)).await {
                Ok(result) if result == "done" => return Ok(JobOutcome::Done),
                Ok(result) => return Ok(JobOutcome::Other(result)),
                Err(error) if error.kind != Kind::Deadline => return Err(error),
                Err(_) if deadline.passed() => return Ok(JobOutcome::Pending),
                Err(_) => {}
            }
            if self.is_forgotten(job).await && !self.ended.contains_key(job) {
                return Ok(JobOutcome::Untold);
            }
        }
    }

    /// Whether the manager no longer has the job.
    async fn is_forgotten(&mut self, job: &str) -> bool {
        let connection = self.connection.clone();
        let ask = async {
            let path = zbus::OwnedObjectPath::try_from(job)?;
            asking::<JobInterfaceProxy<'_>>(&connection).path(path).build().await?.job_type().await
        };
        self.alongside(ask).await.is_err_and(|error| is_gone(&error))
    }

    async fn next_end_of(&mut self, job: &str) -> Result<String> {
        loop {
            if let Some(result) = self.ended.remove(job) {
                return Ok(result);
            }
            let signal =
                poll_fn(|context| Pin::new(&mut self.stream).poll_next(context)).await.ok_or_else(|| {
                    Error::new(Kind::Bus, "the connection to the user bus was lost")
                        .hint("try again; see 'systemctl --user status dbus'")
                })?;
            self.record_end(signal);
        }
    }

    /// Makes a call and records the jobs that end meanwhile. Signals that nobody reads fill their queue, and
    /// behind a full queue the reply would never come (seen with 160 stops at once).
    pub(super) async fn alongside<T>(&mut self, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        poll_fn(|context| {
            while let Poll::Ready(Some(signal)) = Pin::new(&mut self.stream).poll_next(context) {
                self.record_end(signal);
            }
            call.as_mut().poll(context)
        })
        .await
    }

    fn record_end(&mut self, signal: zbus::Result<zbus::Message>) {
        let Some(signal) = signal.ok().and_then(JobRemoved::from_message) else { return };
        if let Ok(arguments) = signal.args() {
            self.ended.insert(arguments.job.to_string(), arguments.result.clone());
        }
    }
}

impl Manager {
    /// Stops units, all at once, and waits until each is stopped or the deadline passes. Each unit has its own
    /// [`JobOutcome`].
    ///
    /// # Errors
    /// `Bus` if the manager is gone; `Failed` if it refuses.
    pub fn stop(&self, units: &[String], deadline: Deadline) -> Result<Vec<JobOutcome>> {
        self.runtime.run(async {
            let mut jobs = Jobs::watch(self).await?;
            let mut asked: Vec<Option<String>> = Vec::new();
            for unit in units {
                // "replace": joins a stop that is under way, and cancels a start.
                asked.push(match jobs.alongside(self.proxy.stop_unit(unit, "replace")).await {
                    Ok(job) => Some(job.to_string()),
                    Err(error) if is_named(&error, "org.freedesktop.systemd1.NoSuchUnit") => None,
                    Err(error) => return Err(bus_error(&error, format!("cannot stop {unit}"))),
                });
            }
            let mut outcomes = Vec::new();
            for job in asked {
                outcomes.push(match job {
                    Some(job) => jobs.end_of(&job, deadline).await?,
                    None => JobOutcome::Gone,
                });
            }
            Ok(outcomes)
        })
    }
}
