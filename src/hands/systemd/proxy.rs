//! The manager's D-Bus interface, as far as forge uses it (org.freedesktop.systemd1(5)).

use zbus::OwnedObjectPath;
use zbus::wire::Variant;

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
pub(super) trait Manager {
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

    /// A job came to its end.
    #[zbus(signal)]
    fn job_removed(&self, id: u32, job: OwnedObjectPath, unit: String, result: String) -> zbus::Result<()>;

    /// The manager's own control group.
    #[zbus(property(emits_changed_signal = "false"))]
    fn control_group(&self) -> zbus::Result<String>;
}
