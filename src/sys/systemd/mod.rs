//! The user manager, and what else of systemd is asked over D-Bus: the only room that names zbus.
//!
//! The rest of forge sees blocking calls with deadlines. Inside, the thread that calls runs the
//! connection ([`runtime`]), and signals are subscribed to before the call that causes them (a subscription
//! after the call was measured to lose 6 of 200 job results).

mod analyze;
mod guard;
mod jobs;
mod login;
mod proxy;
mod runtime;
mod service;
mod session;
mod transient;
mod unit_files;
pub mod unit_watch;

use super::cgroup::Cgroup;
use super::clock::{Deadline, pause};
use crate::model::error::{Error, Kind, Result, Trying};
pub use analyze::analyze;
pub use guard::Guarding;
pub use jobs::JobOutcome;
pub use login::{Inhibitor, Login, Shutdowns};
use proxy::{ManagerInterfaceProxy, asking};
use runtime::Runtime;
pub use service::{PendingJob, Service};
pub use session::Scope;
pub use transient::StartError;
pub use unit_files::Loaded;

use std::time::Duration;

use libsystemd::id128::{Id128, get_machine_app_specific};

use zbus::connection::Builder;

/// The longest wait for the manager's answer to one call. A manager that reloads with
/// thousands of units stays silent for seconds.
const CALL: Duration = Duration::from_secs(20);

/// How long the kernel may take to freeze or thaw a unit before the manager is asked again; it is
/// milliseconds.
const DONE: Duration = Duration::from_secs(1);

/// `SystemState=` from the moment in which a shutdown is asked for.
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
    /// The unit's name.
    pub name: String,
    /// `ActiveState=`
    pub active: String,
    /// The kind of the job that the manager has for it: `start`, `stop` …; empty where it has none.
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

    /// systemd's version, as it tells it: `257.13-1~deb13u1`.
    ///
    /// # Errors
    /// When the manager does not answer.
    pub fn version(&self) -> Result<String> {
        self.runtime
            .run(self.proxy.version())
            .map_err(|error| bus_error(&error, "cannot ask for the version"))
    }

    /// When this manager came up, in microseconds since the boot: no two in one boot are the same.
    ///
    /// # Errors
    /// When the manager does not answer.
    pub fn up_since_us(&self) -> Result<u64> {
        self.runtime
            .run(self.proxy.userspace_timestamp_monotonic())
            .map_err(|error| bus_error(&error, "cannot ask since when the manager runs"))
    }

    /// Whether the manager, or the whole system, is going down. Nobody to be asked means no.
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

    /// The first number of [`Manager::version`]; 0 where it has none.
    ///
    /// # Errors
    /// When the manager does not answer.
    pub fn major_version(&self) -> Result<u32> {
        let version = self.version()?;
        let digits = version.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        Ok(digits.parse().unwrap_or(0))
    }

    /// A variable of the environment that the manager gives to its services.
    ///
    /// # Errors
    /// When the manager does not answer.
    pub fn environment(&self, name: &str) -> Result<Option<String>> {
        let all = self
            .runtime
            .run(self.proxy.environment())
            .map_err(|error| bus_error(&error, "cannot ask for the manager's environment"))?;
        Ok(all.iter().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('=').map(ToOwned::to_owned)))
    }

    /// The units whose names match one of the patterns, loaded ones alone: one round trip.
    ///
    /// # Errors
    /// When the manager does not answer.
    pub fn units(&self, patterns: &[&str]) -> Result<Vec<ListedUnit>> {
        let rows = self
            .runtime
            .run(self.proxy.list_units_by_patterns(&[], patterns))
            .map_err(|error| bus_error(&error, "cannot list the units"))?;
        Ok(rows.into_iter().map(|row| ListedUnit { name: row.0, active: row.3, job: row.8 }).collect())
    }

    /// The control group of the manager itself: all units of the user are below.
    ///
    /// # Errors
    /// When the manager does not answer.
    pub fn control_group(&self) -> Result<String> {
        self.runtime
            .run(self.proxy.control_group())
            .map_err(|error| bus_error(&error, "cannot ask for the control group"))
    }

    /// Freezes all processes of a unit and of the units below it.
    ///
    /// # Errors
    /// When the manager cannot.
    pub fn freeze(&self, unit: &str) -> Result<()> {
        self.asked_again(&format!("cannot freeze {unit}"), || self.proxy.freeze_unit(unit))
    }

    /// Lets them run again; `group` is the unit's control group.
    ///
    /// # Errors
    /// When the manager cannot.
    pub fn thaw(&self, unit: &str, group: &Cgroup) -> Result<()> {
        let inside = group.children();
        self.asked_again(&format!("cannot thaw {unit}"), || async {
            let went = ["org.freedesktop.systemd1.UnitInactive", "org.freedesktop.systemd1.NoSuchUnit"];
            match self.proxy.thaw_unit(unit).await {
                Err(error) if went.iter().any(|name| is_named(&error, name)) => Ok(()),
                answered => answered,
            }
        })?;
        // 257 answers before it has heard of the units inside, and one whose group goes until it has is
        // kept for ever, with the name of its slice (measured: 19 of 60 that were stopped at once).
        let thawing = |unit: &String| {
            let ask = async { self.unit(unit).await?.freezer_state().await };
            self.runtime.run(ask).is_ok_and(|state| state.starts_with("thawing"))
        };
        let deadline = Deadline::after(DONE);
        for unit in inside {
            while thawing(&unit) && !deadline.passed() {
                // Nothing tells of it.
                pause(Duration::from_millis(1));
            }
        }
        Ok(())
    }

    /// Asks the manager for what it answers when the kernel has done it. A manager that reloads its units
    /// meanwhile (daemon-reload) does what it was asked and never answers (measured on 252 and 257); asked
    /// once more, it says at once that it is done.
    fn asked_again<F: Future<Output = zbus::Result<()>>>(
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
                // It does something else with the unit just now, and refuses.
                Ok(Err(error)) if is_named(&error, "org.freedesktop.systemd1.UnitBusy") && !done.passed() => {
                    pause(Duration::from_millis(1));
                }
                Ok(answered) => return answered.map_err(|error| bus_error(&error, doing)),
            }
        }
    }
}

/// A connection to a bus: the user's, or that of PID 1 and logind.
async fn bus(builder: Builder<'_>, runtime: &Runtime) -> zbus::Result<zbus::Connection> {
    builder.runtime(runtime.clone()).method_timeout(CALL).build().await
}

/// No manager, and what helps.
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

/// An error of D-Bus or of the manager as one of forge's errors.
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
        // There is no connection, or it broke.
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

/// Whether the manager refused with that error name.
fn is_named(error: &zbus::Error, name: &str) -> bool {
    matches!(error, zbus::Error::MethodError(named, ..) if named.as_str() == name)
}

/// Whether the error is that what was asked is gone: a job that is over, a unit that was unloaded.
fn is_gone(error: &zbus::Error) -> bool {
    matches!(error, zbus::Error::FDO(fdo) if matches!(**fdo, zbus::fdo::Error::UnknownObject(_)))
}

/// The application id that makes the machine's id one of forge's own: machine-id(5) asks not to disclose the id
/// itself.
const APPLICATION: &str = "bf0eeaaebe754a9e9be5cc8fefa5865a";

/// The id of this machine, for forge alone.
///
/// # Errors
/// When the machine has none.
pub fn machine_id() -> Result<String> {
    let doing = "the id of this machine cannot be read";
    let application = Id128::parse_str(APPLICATION).trying(doing)?;
    get_machine_app_specific(&application).map(|id| id.lower_hex()).trying(doing)
}

/// The id of this boot.
///
/// # Errors
/// When the kernel does not tell.
pub fn boot_id() -> Result<String> {
    libsystemd::id128::get_boot().map(|id| id.lower_hex()).trying("the id of this boot cannot be read")
}
