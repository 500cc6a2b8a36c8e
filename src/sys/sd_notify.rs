//! Notifications to the service manager (`sd_notify(3)`), if this is the main process of a service. Elsewhere
//! they have no effect.

use std::time::Duration;

use sd_notify::NotifyState;

use super::{cgroup, env};

fn notify(states: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(states);
}

/// Whether the manager started this process as the unit's main process. False for a process that another
/// process started inside or outside the unit.
pub fn is_main_process_of(unit: &str) -> bool {
    let own = std::process::id();
    cgroup::of_process(own).is_some_and(|path| path.ends_with(&format!("/{unit}")))
        && env::variable("SYSTEMD_EXEC_PID").is_some_and(|pid| pid == own.to_string())
}

/// The exit status of the service's main process, for `ExecStopPost=`; `None` if a signal ended the process.
pub fn exit_status() -> Option<u8> {
    env::variable("EXIT_CODE").filter(|how| how == "exited")?;
    env::variable("EXIT_STATUS")?.parse().ok()
}

pub fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Reports that the service reloads its configuration; [`ready`] reports the end.
pub fn reloading() {
    notify(&[NotifyState::Reloading]);
}

pub fn stopping(status: &str) {
    notify(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// Sets the service's `STATUS=` line.
pub fn status(status: &str) {
    notify(&[NotifyState::Status(status)]);
}

/// Extends the start timeout to this long from now.
pub fn extend_start(by: Duration) {
    // The crate's own form ends at 71 minutes.
    notify(&[NotifyState::Custom(&format!("EXTEND_TIMEOUT_USEC={}", by.as_micros()))]);
}

/// The watchdog interval (`WatchdogSec=`); `None` if the service has none.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// Sends the watchdog's keep-alive.
pub fn feed_watchdog() {
    notify(&[NotifyState::Watchdog]);
}
