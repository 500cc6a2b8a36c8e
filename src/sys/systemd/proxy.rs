//! The manager's D-Bus interface, as far as forge uses it (org.freedesktop.systemd1(5)).

use zbus::proxy::{Builder, CacheProperties, Defaults};
use zbus::wire::Variant;
use zbus::{Connection, OwnedObjectPath};

/// A proxy that asks for each property when it is read. By default zbus asks for all of them before the
/// first, and waits for that answer without a deadline.
pub(super) fn asking<T: Defaults>(connection: &Connection) -> Builder<'static, T> {
    Builder::new(connection).cache_properties(CacheProperties::No)
}

/// A property of a transient unit.
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
    /// Makes a unit, and others that it needs, and starts it.
    fn start_transient_unit(
        &self,
        name: &str,
        mode: &str,
        properties: &[Property<'_>],
        aux: &[(&str, Vec<Property<'_>>)],
    ) -> zbus::Result<OwnedObjectPath>;

    /// Stops a unit.
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;

    /// Lists loaded units.
    fn list_units_by_patterns(&self, states: &[&str], patterns: &[&str]) -> zbus::Result<Vec<UnitRow>>;

    /// Freezes a unit.
    fn freeze_unit(&self, name: &str) -> zbus::Result<()>;

    /// Thaws a unit.
    fn thaw_unit(&self, name: &str) -> zbus::Result<()>;

    /// Starts a unit.
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;

    /// Sends a signal to processes of a unit: `main`, `all` …
    fn kill_unit(&self, name: &str, whom: &str, signal: i32) -> zbus::Result<()>;

    /// Stops and starts a unit.
    fn restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;

    /// Loads a unit, whether it runs or not; one that does not exist is loaded as such.
    fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;

    /// Forgets that a unit failed.
    fn reset_failed_unit(&self, name: &str) -> zbus::Result<()>;

    /// Enables unit files; says what it linked.
    fn enable_unit_files(
        &self,
        files: &[&str],
        runtime: bool,
        force: bool,
    ) -> zbus::Result<(bool, Vec<LinkChange>)>;

    /// Disables unit files; says which links it removed.
    fn disable_unit_files(&self, files: &[&str], runtime: bool) -> zbus::Result<Vec<LinkChange>>;

    /// Subscribes this connection to the manager's signals.
    fn subscribe(&self) -> zbus::Result<()>;

    /// Changes properties of a unit, until the next boot where that is said.
    fn set_unit_properties(&self, name: &str, runtime: bool, properties: &[Property<'_>])
    -> zbus::Result<()>;

    /// Reads all unit files again.
    fn reload(&self) -> zbus::Result<()>;

    /// A job came to its end.
    #[zbus(signal)]
    fn job_removed(&self, id: u32, job: OwnedObjectPath, unit: String, result: String) -> zbus::Result<()>;

    /// The manager's own control group.
    #[zbus(property(emits_changed_signal = "false"))]
    fn control_group(&self) -> zbus::Result<String>;

    /// Where unit files are looked for, first to last.
    #[zbus(property(emits_changed_signal = "false"))]
    fn unit_path(&self) -> zbus::Result<Vec<String>>;

    /// The environment that the manager gives to services.
    #[zbus(property(emits_changed_signal = "false"))]
    fn environment(&self) -> zbus::Result<Vec<String>>;

    /// `starting`, `running`, `degraded`, `stopping` …
    #[zbus(property(emits_changed_signal = "false"))]
    fn system_state(&self) -> zbus::Result<String>;

    /// systemd's version.
    #[zbus(property(emits_changed_signal = "false"))]
    fn version(&self) -> zbus::Result<String>;

    /// When this manager came up, in microseconds since the boot.
    #[zbus(property(emits_changed_signal = "false"))]
    fn userspace_timestamp_monotonic(&self) -> zbus::Result<u64>;
}

/// A link that was made or removed: what, where, whither.
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

    /// The job that the manager has for it: its number, 0 for none, and its path.
    #[zbus(property(emits_changed_signal = "false"))]
    fn job(&self) -> zbus::Result<(u32, OwnedObjectPath)>;

    #[zbus(property(emits_changed_signal = "false"))]
    fn start_limit_burst(&self) -> zbus::Result<u32>;

    #[zbus(property(emits_changed_signal = "false"), name = "StartLimitIntervalUSec")]
    fn start_limit_interval(&self) -> zbus::Result<u64>;
}

#[zbus::proxy(interface = "org.freedesktop.systemd1.Service", default_service = "org.freedesktop.systemd1")]
pub(super) trait ServiceInterface {
    /// How often the manager started it again by itself, since somebody started it.
    #[zbus(property(emits_changed_signal = "false"), name = "NRestarts")]
    fn restarts(&self) -> zbus::Result<u32>;

    #[zbus(property(emits_changed_signal = "false"), name = "RestartUSec")]
    fn restart_pause(&self) -> zbus::Result<u64>;

    /// Known from 254 on.
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
    /// A user that is logged in or lingers.
    fn get_user(&self, uid: u32) -> zbus::Result<OwnedObjectPath>;

    /// Turns lingering on or off.
    fn set_user_linger(&self, uid: u32, on: bool, interactive: bool) -> zbus::Result<()>;

    /// Delays a shutdown while the descriptor is open.
    fn inhibit(&self, what: &str, who: &str, why: &str, mode: &str) -> zbus::Result<zbus::OwnedFd>;

    /// The machine is about to go down, or does not after all.
    #[zbus(signal)]
    fn prepare_for_shutdown(&self, start: bool) -> zbus::Result<()>;

    /// Whether processes of a user are killed at logout, scopes and all.
    #[zbus(property(emits_changed_signal = "false"))]
    fn kill_user_processes(&self) -> zbus::Result<bool>;
}

#[zbus::proxy(interface = "org.freedesktop.login1.User", default_service = "org.freedesktop.login1")]
pub(super) trait LoginUserInterface {
    #[zbus(property(emits_changed_signal = "false"))]
    fn linger(&self) -> zbus::Result<bool>;
}
