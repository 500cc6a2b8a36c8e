//! The probe for Prometheus.

use std::fmt::Write;

use super::Probe;

impl Probe {
    /// The probe in the text format of Prometheus (version 0.0.4).
    pub fn metrics(&self) -> String {
        let mut text = String::new();
        let mut metric = |name: &str, kind: &str, help: &str, samples: &[(String, Option<u64>)]| {
            let known: Vec<_> =
                samples.iter().filter_map(|(labels, value)| Some((labels, (*value)?))).collect();
            if known.is_empty() {
                return;
            }
            let _ = writeln!(text, "# HELP forge_{name} {help}\n# TYPE forge_{name} {kind}");
            for (labels, value) in known {
                let _ = writeln!(text, "forge_{name}{labels} {value}");
            }
        };
        let one = |value: u64| vec![(String::new(), Some(value))];
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let label = |name: &str, value: &str| format!("{{{name}=\"{value}\"}}");
        metric("healthy", "gauge", "Whether forge found no problem.", &one(u64::from(self.healthy)));
        metric("problems", "gauge", "The number of problems.", &one(count(self.problems.len())));
        let sockets = [
            ("dead", self.sockets_dead),
            ("live", self.sockets_live),
            ("wedged", self.sockets_wedged),
            ("missing", self.sockets_missing),
        ]
        .map(|(state, sockets)| (label("state", state), Some(count(sockets))));
        metric("sockets", "gauge", "tmux sockets by state.", &sockets);
        let sessions: Vec<_> = self
            .sessions
            .iter()
            .map(|(state, sessions)| (label("state", state), Some(count(*sessions))))
            .collect();
        metric("sessions", "gauge", "Sessions by state.", &sessions);
        let activities: Vec<_> = self
            .activity
            .iter()
            .map(|(activity, sessions)| (label("activity", activity), Some(count(*sessions))))
            .collect();
        metric("sessions_by_activity", "gauge", "Sessions whose program runs, by activity.", &activities);
        metric(
            "orphans",
            "gauge",
            "Units and processes that belong to no session.",
            &one(count(self.orphans)),
        );
        metric("units_failed", "gauge", "Units of forge that failed.", &one(count(self.units_failed.len())));
        let sweep = self.last_sweep.as_ref();
        metric(
            "last_sweep_timestamp_seconds",
            "gauge",
            "When the last sweep ended.",
            &[(String::new(), sweep.map(|sweep| sweep.at_us / 1_000_000))],
        );
        metric(
            "last_sweep_removed",
            "gauge",
            "Dead sockets that the last sweep removed.",
            &[(String::new(), sweep.map(|sweep| count(sweep.removed)))],
        );
        let restore = self.last_restore.as_ref();
        metric(
            "last_restore_timestamp_seconds",
            "gauge",
            "When the restore after the boot ended.",
            &[(String::new(), restore.map(|restore| restore.at_us / 1_000_000))],
        );
        metric(
            "last_restore_sessions",
            "gauge",
            "Sessions in the restore after the boot, by result.",
            &[
                (label("result", "restored"), restore.map(|restore| count(restore.restored))),
                (label("result", "failed"), restore.map(|restore| count(restore.failed))),
            ],
        );
        metric("oom_kills_total", "counter", "Out-of-memory kills among the sessions.", &one(self.oom_kills));
        metric(
            "state_free_bytes",
            "gauge",
            "Free disk space for forge's files.",
            &[(String::new(), self.state_free_bytes)],
        );
        metric(
            "linger",
            "gauge",
            "Whether the user manager keeps running without a login.",
            &[(String::new(), self.linger.map(u64::from))],
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::health::HealthFacts;
    use crate::model::session::activity::Activity;

    #[test]
    fn unknown_values_have_no_metric() {
        let text = Probe::of(&HealthFacts {
            live: 3,
            linger: Some(true),
            activities: vec![Activity::Asking],
            ..HealthFacts::default()
        })
        .metrics();
        assert!(text.contains("\nforge_sockets{state=\"live\"} 3\n"), "{text}");
        assert!(text.contains("# TYPE forge_healthy gauge\nforge_healthy 1\n"), "{text}");
        assert!(text.contains("\nforge_sessions_by_activity{activity=\"asking\"} 1\n"), "{text}");
        assert!(!text.contains("last_sweep"), "{text}");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with("forge_") && value.parse::<u64>().is_ok(), "{line}");
        }
    }
}
