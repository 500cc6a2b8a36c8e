//! The D-Bus interfaces of systemd's managers and of logind, as far as forge uses them
//! (org.freedesktop.systemd1(5), org.freedesktop.login1(5)).

use zbus::proxy::{Builder, CacheProperties, Defaults};
use zbus::wire::Variant;
use zbus::{Connection, OwnedObjectPath};

/// Builds a proxy that asks the bus for a property at each read. By default zbus asks for all properties before
/// the first read, and waits for that answer without a deadline.
pub(super) fn asking<T: Defaults>(connection: &Connection) -> Builder<'static, T> {
    Builder::new(connection).cache_properties(CacheProperties::No)
}

/// A property of a transient unit: name and value.
pub(super) type Property<'a> = (&'a str, Variant<'a>);

/// A row of `ListUnits`: name, description, load state, active state, sub state, followed
/// unit, object path, job id, job type, job path.
pub(super) type UnitRow =
    (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
pub(super) trait ManagerInterface {
    /// Creates a unit and the units that it needs (`aux`), and starts it.
    fn start_transient_unit(
        &self,
        name: &str,
        mode: &str,
        properties: &[Property<'_>],
        aux: &[(&str, Vec<Property<'_>>)],
    ) -> zbus::Result<OwnedObjectPath>;

    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;

    fn list_units_by_patterns(&self, states: &[&str], patterns: &[&str]) -> zbus::Result<Vec<UnitRow>>;

    fn freeze_unit(&self, name: &str) -> zbus::Result<()>;

    fn thaw_unit(&self, name: &str) -> zbus::Result<()>;

    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;

    /// Sends a signal to processes of a unit; `whom` is `main`, `all` …
    fn kill_unit(&self, name: &str, whom: &str, signal: i32) -> zbus::Result<()>;

    fn restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;

    /// Loads a unit, whether it runs or not. A unit that does not exist is loaded too, with the load state
    /// `not-found`.
    fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;

    /// Resets the failed state of a unit.
    fn reset_failed_unit(&self, name: &str) -> zbus::Result<()>;

    /// Enables unit files. Returns whether they have an `[Install]` section, and the links that systemd made.
    fn enable_unit_files(
        &self,
        files: &[&str],
        runtime: bool,
        force: bool,
    ) -> zbus::Result<(bool, Vec<LinkChange>)>;

    /// Disables unit files. Returns the links that systemd removed.
    fn disable_unit_files(&self, files: &[&str], runtime: bool) -> zbus::Result<Vec<LinkChange>>;

    /// Subscribes this connection to the manager's signals.
    fn subscribe(&self) -> zbus::Result<()>;

    /// Changes properties of a unit; with `runtime` until the next boot only.
    fn set_unit_properties(&self, name: &str, runtime: bool, properties: &[Property<'_>])
    -> zbus::Result<()>;

    /// Reloads all unit files (daemon-reload).
    fn reload(&self) -> zbus::Result<()>;

    /// A job ended. `result` is `done`, `failed` …
    #[zbus(signal)]
    fn job_removed(&self, id: u32, job: OwnedObjectPath, unit: String, result: String) -> zbus::Result<()>;

    /// The manager's own control group, which contains those of all its units.
    #[zbus(property(emits_changed_signal = "false"))]
    fn control_group(&self) -> zbus::Result<String>;

    /// The search path of unit files; the first directory has the highest priority.
    #[zbus(property(emits_changed_signal = "false"))]
    fn unit_path(&self) -> zbus::Result<Vec<String>>;

    /// The environment that the manager gives to services.
    #[zbus(property(emits_changed_signal = "false"))]
    fn environment(&self) -> zbus::Result<Vec<String>>;

    /// `starting`, `running`, `degraded`, `stopping` …
    #[zbus(property(emits_changed_signal = "false"))]
    fn system_state(&self) -> zbus::Result<String>;

    /// systemd's version, such as `257.13-1~deb13u1`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn version(&self) -> zbus::Result<String>;

    /// When this manager started, in microseconds since the boot.
    #[zbus(property(emits_changed_signal = "false"))]
    fn userspace_timestamp_monotonic(&self) -> zbus::Result<u64>;
}

/// A link that systemd made or removed: `symlink` or `unlink`, the link's path, its target.
pub(super) type LinkChange = (String, String, String);

#[zbus::proxy(interface = "org.freedesktop.systemd1.Unit", default_service = "org.freedesktop.systemd1")]
pub(super) trait UnitInterface {
    #[zbus(property(emits_changed_signal = "false"))]
    fn id(&self) -> zbus::Result<String>;

    #[zbus(property(emits_changed_signal = "false"))]
    fn load_state(&self) -> zbus::Result<String>;

    #[zbus(property(emits_changed_signal = "false"))]
    fn active_state(&self) -> zbus::Result<String>;

    #[zbus(property(emits_changed_signal = "false"))]
    fn freezer_state(&self) -> zbus::Result<String>;

    #[zbus(property(emits_changed_signal = "false"))]
    fn active_enter_timestamp(&self) -> zbus::Result<u64>;

    #[zbus(property(emits_changed_signal = "false"))]
    fn unit_file_state(&self) -> zbus::Result<String>;

    #[zbus(property(emits_changed_signal = "false"))]
    fn fragment_path(&self) -> zbus::Result<String>;

    #[zbus(property(emits_changed_signal = "false"))]
    fn need_daemon_reload(&self) -> zbus::Result<bool>;

    #[zbus(property(emits_changed_signal = "false"))]
    fn before(&self) -> zbus::Result<Vec<String>>;

    #[zbus(property(emits_changed_signal = "false"))]
    fn after(&self) -> zbus::Result<Vec<String>>;

    #[zbus(property(emits_changed_signal = "false"))]
    fn wants(&self) -> zbus::Result<Vec<String>>;

    #[zbus(property(emits_changed_signal = "false"))]
    fn requires(&self) -> zbus::Result<Vec<String>>;

    #[zbus(property(emits_changed_signal = "false"))]
    fn wanted_by(&self) -> zbus::Result<Vec<String>>;

    #[zbus(property(emits_changed_signal = "false"))]
    fn on_failure(&self) -> zbus::Result<Vec<String>>;

    /// The unit's pending job: its number, or 0 if it has none, and its path.
    #[zbus(property(emits_changed_signal = "false"))]
    fn job(&self) -> zbus::Result<(u32, OwnedObjectPath)>;

    #[zbus(property(emits_changed_signal = "false"))]
    fn start_limit_burst(&self) -> zbus::Result<u32>;

    #[zbus(property(emits_changed_signal = "false"), name = "StartLimitIntervalUSec")]
    fn start_limit_interval(&self) -> zbus::Result<u64>;
}

#[zbus::proxy(interface = "org.freedesktop.systemd1.Service", default_service = "org.freedesktop.systemd1")]
pub(super) trait ServiceInterface {
    /// The number of automatic restarts since the last start on request.
    #[zbus(property(emits_changed_signal = "false"), name = "NRestarts")]
    fn restarts(&self) -> zbus::Result<u32>;

    #[zbus(property(emits_changed_signal = "false"), name = "RestartUSec")]
    fn restart_pause(&self) -> zbus::Result<u64>;

    /// Available from systemd 254 on.
    #[zbus(property(emits_changed_signal = "false"))]
    fn restart_steps(&self) -> zbus::Result<u32>;
}

#[zbus::proxy(interface = "org.freedesktop.systemd1.Slice", default_service = "org.freedesktop.systemd1")]
pub(super) trait SliceInterface {
    #[zbus(property(emits_changed_signal = "false"), name = "CPUWeight")]
    fn cpu_weight(&self) -> zbus::Result<u64>;
}

#[zbus::proxy(interface = "org.freedesktop.systemd1.Job", default_service = "org.freedesktop.systemd1")]
pub(super) trait JobInterface {
    /// `start`, `stop`, `restart` …
    #[zbus(property(emits_changed_signal = "false"))]
    fn job_type(&self) -> zbus::Result<String>;
}

#[zbus::proxy(
    interface = "org.freedesktop.login1.Manager",
    default_service = "org.freedesktop.login1",
    default_path = "/org/freedesktop/login1"
)]
pub(super) trait LoginInterface {
    /// The object path of a user that is logged in or lingers.
    fn get_user(&self, uid: u32) -> zbus::Result<OwnedObjectPath>;

    fn set_user_linger(&self, uid: u32, on: bool, interactive: bool) -> zbus::Result<()>;

    /// Takes an inhibitor lock. It lasts while the descriptor is open.
    fn inhibit(&self, what: &str, who: &str, why: &str, mode: &str) -> zbus::Result<zbus::OwnedFd>;

    /// The machine begins to shut down (`start`), or the shutdown was cancelled.
    #[zbus(signal)]
    fn prepare_for_shutdown(&self, start: bool) -> zbus::Result<()>;

    /// Whether logind kills all processes of a user at logout, those in scopes too.
    #[zbus(property(emits_changed_signal = "false"))]
    fn kill_user_processes(&self) -> zbus::Result<bool>;
}

#[zbus::proxy(interface = "org.freedesktop.login1.User", default_service = "org.freedesktop.login1")]
pub(super) trait LoginUserInterface {
    #[zbus(property(emits_changed_signal = "false"))]
    fn linger(&self) -> zbus::Result<bool>;
}
