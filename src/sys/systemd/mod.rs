//! The user manager, PID 1 and logind, over D-Bus. No other module uses zbus.
//!
//! The rest of forge gets blocking calls with deadlines. The calling thread runs the connection ([`runtime`]).
//! forge subscribes to a signal before it makes the call that causes the signal: a subscription after the call
//! lost 6 of 200 job results (measured).

mod analyze;
mod guard_units;
mod jobs;
mod login;
mod proxy;
mod runtime;
mod session_units;
mod supervisor_service;
mod transient;
mod unit_files;
pub mod unit_watch;

use super::cgroup::Cgroup;
use super::clock::{Deadline, pause};
use crate::model::error::{Error, ForeignError, Kind, Result, Trying};
pub use analyze::analyze;
pub use guard_units::Guarding;
pub use jobs::JobOutcome;
pub use login::{Inhibitor, Login, Shutdowns};
use proxy::{ManagerInterfaceProxy, asking};
use runtime::Runtime;
pub use session_units::Scope;
pub use supervisor_service::{PendingJob, Service};
pub use transient::StartError;
pub use unit_files::Loaded;

use std::time::Duration;

use libsystemd::id128::{Id128, get_machine_app_specific};

use zbus::connection::Builder;

impl ForeignError for zbus::Error {}
impl ForeignError for libsystemd::errors::SdError {}

/// The deadline for the manager's answer to one call. A manager with thousands of units does not answer for
/// seconds while it reloads.
const CALL: Duration = Duration::from_secs(20);

/// The time that the kernel gets to freeze or thaw a unit before forge asks the manager again. The kernel needs
/// milliseconds.
const DONE: Duration = Duration::from_secs(1);

/// `SystemState=` from the moment at which a shutdown is requested.
const STOPPING: &str = "stopping";

/// The connection to the user manager.
#[derive(Debug)]
pub struct Manager {
    runtime: Runtime,
    connection: zbus::Connection,
    proxy: ManagerInterfaceProxy<'static>,
}

/// A row of the manager's list of units.
#[derive(Debug, Clone)]
pub struct ListedUnit {
    pub name: String,
    /// `ActiveState=`
    pub active: String,
    /// The type of the unit's pending job: `start`, `stop` …; empty if it has none.
    pub job: String,
}

impl Manager {
    /// Connects to the user manager.
    ///
    /// # Errors
    /// `Bus` if there is no user bus or no manager behind it; `Deadline` if the bus does not answer within
    /// 20 seconds.
    pub fn connect() -> Result<Self> {
        let runtime = Runtime::new()?;
        let connect = async {
            let connection = bus(Builder::session(), &runtime).await.map_err(|error| no_manager(&error))?;
            let proxy = asking::<ManagerInterfaceProxy<'_>>(&connection)
                .build()
                .await
                .map_err(|error| no_manager(&error))?;
            Ok((connection, proxy))
        };
        let connect = runtime.deadlined(Deadline::after(CALL), "connecting to the user bus", connect);
        let (connection, proxy) = runtime.run(connect)?;
        Ok(Self { runtime, connection, proxy })
    }

    /// systemd's version as the manager reports it: `257.13-1~deb13u1`.
    ///
    /// # Errors
    /// `Deadline` if the manager does not answer within 20 seconds; `Bus` if it cannot be reached.
    pub fn version(&self) -> Result<String> {
        self.runtime
            .run(self.proxy.version())
            .map_err(|error| bus_error(&error, "cannot ask for the version"))
    }

    /// When this manager started, in microseconds since the boot. It identifies the manager within one boot.
    ///
    /// # Errors
    /// `Deadline` if the manager does not answer within 20 seconds; `Bus` if it cannot be reached.
    pub fn up_since_us(&self) -> Result<u64> {
        self.runtime
            .run(self.proxy.userspace_timestamp_monotonic())
            .map_err(|error| bus_error(&error, "cannot ask since when the manager runs"))
    }

    /// Whether the manager or the system is shutting down. False if neither manager answers.
    pub fn is_going_down(&self) -> bool {
        if self.runtime.run(self.proxy.system_state()).is_ok_and(|state| state == STOPPING) {
            return true;
        }
        let ask = async {
            let connection = bus(Builder::system(), &self.runtime).await?;
            asking::<ManagerInterfaceProxy<'_>>(&connection).build().await?.system_state().await
        };
        let asked = async { ask.await.map_err(|error| Error::failed(reason(&error))) };
        let system = self.runtime.run(self.runtime.deadlined(Deadline::after(CALL), "asking PID 1", asked));
        system.is_ok_and(|state| state == STOPPING)
    }

    /// The first number of [`Manager::version`]; 0 if the version does not begin with a number.
    ///
    /// # Errors
    /// `Deadline` if the manager does not answer within 20 seconds; `Bus` if it cannot be reached.
    pub fn major_version(&self) -> Result<u32> {
        let version = self.version()?;
        let digits = version.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        Ok(digits.parse().unwrap_or(0))
    }

    /// A variable of the environment that the manager gives to its services.
    ///
    /// # Errors
    /// `Deadline` if the manager does not answer within 20 seconds; `Bus` if it cannot be reached.
    pub fn environment(&self, name: &str) -> Result<Option<String>> {
        let all = self
            .runtime
            .run(self.proxy.environment())
            .map_err(|error| bus_error(&error, "cannot ask for the manager's environment"))?;
        Ok(all.iter().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('=').map(ToOwned::to_owned)))
    }

    /// The loaded units whose names match one of the patterns. Costs one round trip.
    ///
    /// # Errors
    /// `Deadline` if the manager does not answer within 20 seconds; `Bus` if it cannot be reached.
    pub fn units(&self, patterns: &[&str]) -> Result<Vec<ListedUnit>> {
        let rows = self
            .runtime
            .run(self.proxy.list_units_by_patterns(&[], patterns))
            .map_err(|error| bus_error(&error, "cannot list the units"))?;
        Ok(rows.into_iter().map(|row| ListedUnit { name: row.0, active: row.3, job: row.8 }).collect())
    }

    /// The control group of the manager itself. It contains the groups of all the user's units.
    ///
    /// # Errors
    /// `Deadline` if the manager does not answer within 20 seconds; `Bus` if it cannot be reached.
    pub fn control_group(&self) -> Result<String> {
        self.runtime
            .run(self.proxy.control_group())
            .map_err(|error| bus_error(&error, "cannot ask for the control group"))
    }

    /// Freezes all processes of a unit and of the units in its control group.
    ///
    /// # Errors
    /// `Failed` if the manager refuses; `Deadline` if it does not answer within 20 seconds; `Bus` if it goes away.
    pub fn freeze(&self, unit: &str) -> Result<()> {
        self.call_until_answered(&format!("cannot freeze {unit}"), || self.proxy.freeze_unit(unit))
    }

    /// Thaws the processes that [`Manager::freeze`] froze. `group` is the unit's control group. A unit that has
    /// ended is not an error.
    ///
    /// # Errors
    /// As for [`Manager::freeze`].
    pub fn thaw(&self, unit: &str, group: &Cgroup) -> Result<()> {
        let inside = group.children();
        self.call_until_answered(&format!("cannot thaw {unit}"), || async {
            let went = ["org.freedesktop.systemd1.UnitInactive", "org.freedesktop.systemd1.NoSuchUnit"];
            match self.proxy.thaw_unit(unit).await {
                Err(error) if went.iter().any(|name| is_named(&error, name)) => Ok(()),
                answered => answered,
            }
        })?;
        // systemd 257 answers before it has processed the thaw of the units inside. If the control group of
        // such a unit is removed before that, systemd keeps the unit, and its name in the slice, for ever
        // (measured: 19 of 60 units that were stopped at once). Therefore wait for these units.
        let thawing = |unit: &String| {
            let ask = async { self.unit(unit).await?.freezer_state().await };
            self.runtime.run(ask).is_ok_and(|state| state.starts_with("thawing"))
        };
        let deadline = Deadline::after(DONE);
        for unit in inside {
            while thawing(&unit) && !deadline.passed() {
                // No event reports the end of the thaw.
                pause(Duration::from_millis(1));
            }
        }
        Ok(())
    }

    /// Makes a call that the manager answers after the kernel has acted, and repeats it after [`DONE`]. A manager
    /// that reloads its units meanwhile (daemon-reload) carries out the call but never answers it (measured on 252
    /// and 257); it answers a second call at once.
    fn call_until_answered<F: Future<Output = zbus::Result<()>>>(
        &self,
        doing: &str,
        ask: impl Fn() -> F,
    ) -> Result<()> {
        let (deadline, done) = (Deadline::after(CALL), Deadline::after(DONE));
        loop {
            let answer = async { Ok(ask().await) };
            let soon = deadline.min(Deadline::after(DONE));
            match self.runtime.run(self.runtime.deadlined(soon, doing, answer)) {
                Err(error) if error.kind == Kind::Deadline && !deadline.passed() => {}
                Err(error) => return Err(error),
                // The manager refuses while another operation on the unit is in progress. No event reports its end.
                Ok(Err(error)) if is_named(&error, "org.freedesktop.systemd1.UnitBusy") && !done.passed() => {
                    pause(Duration::from_millis(1));
                }
                Ok(answered) => return answered.map_err(|error| bus_error(&error, doing)),
            }
        }
    }
}

/// Connects to a bus: the session bus, or the system bus for PID 1 and logind.
async fn bus(builder: Builder<'_>, runtime: &Runtime) -> zbus::Result<zbus::Connection> {
    builder.runtime(runtime.clone()).method_timeout(CALL).build().await
}

/// The error that the user manager cannot be reached, with a hint.
fn no_manager(error: &zbus::Error) -> Error {
    let user = nix::unistd::geteuid();
    let hint = if user.is_root() {
        "run forge as the user whose sessions are meant, or 'loginctl enable-linger root' and log in as root"
            .to_owned()
    } else {
        format!(
            "log in as uid {user}, or have its manager started: 'sudo loginctl enable-linger {user}'; \
                 the bus is dbus-user-session's"
        )
    };
    Error::new(Kind::Bus, format!("the systemd user manager cannot be reached: {}", reason(error))).hint(hint)
}

/// Converts an error of D-Bus or of the manager to one of forge's errors.
fn bus_error(error: &zbus::Error, doing: impl std::fmt::Display) -> Error {
    match error {
        zbus::Error::FDO(fdo)
            if matches!(**fdo, zbus::fdo::Error::ServiceUnknown(_) | zbus::fdo::Error::NameHasNoOwner(_)) =>
        {
            no_manager(error)
        }
        // For example, the manager is re-executing itself.
        zbus::Error::FDO(fdo)
            if matches!(**fdo, zbus::fdo::Error::NoReply(_) | zbus::fdo::Error::Disconnected(_)) =>
        {
            Error::new(Kind::Bus, format!("{doing}: the user manager, or its bus, went away meanwhile"))
                .hint("try again; see 'systemctl --user status'")
        }
        zbus::Error::InputOutput(io) if io.kind() == std::io::ErrorKind::TimedOut => {
            Error::new(Kind::Deadline, format!("{doing}: the user manager did not answer"))
                .hint("see 'systemctl --user status'")
        }
        // The connection could not be made, or it broke.
        zbus::Error::Connection(..) | zbus::Error::Handshake(_) | zbus::Error::InputOutput(_) => {
            no_manager(error)
        }
        _ => Error::failed(format!("{doing}: {}", reason(error))),
    }
}

/// The text of a D-Bus error, without the error's name.
fn reason(error: &zbus::Error) -> String {
    match error {
        zbus::Error::MethodError(_, Some(text), _) => text.clone(),
        zbus::Error::Connection(io, address) => format!("{io} ({address})"),
        error => error.to_string(),
    }
}

/// Whether the manager replied with this D-Bus error.
fn is_named(error: &zbus::Error, name: &str) -> bool {
    matches!(error, zbus::Error::MethodError(named, ..) if named.as_str() == name)
}

/// Whether the error means that the object no longer exists: a job that ended, or a unit that was unloaded.
fn is_gone(error: &zbus::Error) -> bool {
    matches!(error, zbus::Error::FDO(fdo) if matches!(**fdo, zbus::fdo::Error::UnknownObject(_)))
}

/// The application id from which systemd derives forge's own id of the machine. machine-id(5) asks programs not
/// to disclose the machine id itself.
const APPLICATION: &str = "bf0eeaaebe754a9e9be5cc8fefa5865a";

/// The id of this machine, derived for forge (`sd_id128_get_machine_app_specific(3)`).
///
/// # Errors
/// `Failed` if the machine has no id.
pub fn machine_id() -> Result<String> {
    let doing = "the id of this machine cannot be read";
    let application = Id128::parse_str(APPLICATION).trying(doing)?;
    get_machine_app_specific(&application).map(|id| id.lower_hex()).trying(doing)
}

/// The id of this boot, in 32 hexadecimal digits.
///
/// # Errors
/// `Failed` if the kernel's file cannot be read.
pub fn boot_id() -> Result<String> {
    libsystemd::id128::get_boot().map(|id| id.lower_hex()).trying("the id of this boot cannot be read")
}
