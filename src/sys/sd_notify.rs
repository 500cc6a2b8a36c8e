//! This process as the main process of a systemd service: what it tells its manager (`sd_notify(3)`).
//! Outside of a service nobody listens, and nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;

use super::{cgroup, env};

fn notify(states: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(states);
}

/// Whether this very process is the one that the manager started as that unit, and not one that
/// somebody started in it or beside it.
pub fn is_main_process_of(unit: &str) -> bool {
    let own = std::process::id();
    cgroup::of_process(own).is_some_and(|path| path.ends_with(&format!("/{unit}")))
        && env::variable("SYSTEMD_EXEC_PID").is_some_and(|pid| pid == own.to_string())
}

/// The exit status of the service's main process, for what runs after its end; `None` where a signal
/// ended it.
pub fn exit_status() -> Option<u8> {
    env::variable("EXIT_CODE").filter(|how| how == "exited")?;
    env::variable("EXIT_STATUS")?.parse().ok()
}

/// It is up.
pub fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// It reads its configuration again; [`ready`] is the end of that.
pub fn reloading() {
    notify(&[NotifyState::Reloading]);
}

/// It is about to end.
pub fn stopping(status: &str) {
    notify(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// How it is, in one line.
pub fn status(status: &str) {
    notify(&[NotifyState::Status(status)]);
}

/// Its start takes that much longer, counted from now.
pub fn extend_start(by: Duration) {
    // The crate's own form ends at 71 minutes.
    notify(&[NotifyState::Custom(&format!("EXTEND_TIMEOUT_USEC={}", by.as_micros()))]);
}

/// How often the manager wants to hear that it is well; `None`: not at all.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// It is well.
pub fn feed_watchdog() {
    notify(&[NotifyState::Watchdog]);
}
