//! `forge guard snapshot` and `forge guard check`.

use super::Production;
use crate::suite::{Test, inside};
use crate::support::{TestFile, configured, event_since, forge, journal_cursor, shell, systemctl};
use serde_json::Value;

pub(crate) fn tests() -> Vec<Test> {
    vec![inside!(snapshots_are_compared), inside!(unusable_snapshots_are_reported)]
}

fn snapshots_are_compared() {
    let web = Production::lasting("web");
    let file = "/tmp/snapshot.json";
    let _removed = TestFile::new(file, "");
    let taken = forge(&["--json", "guard", "snapshot", "--unit", "web", "--system-unit", "dbus", "-o", file])
        .ok()
        .json();
    assert_eq!((&taken["version"], taken["units"].as_array().map(Vec::len)), (&1.into(), Some(2)));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(file).expect("it").permissions());
    assert_eq!(mode & 0o777, 0o600);
    let check = || forge(&["--json", "guard", "check", file]);
    let quiet = check().ok().json();
    assert_eq!((&quiet["verdict"], &quiet["rebooted"]), (&"undisturbed".into(), &false.into()));
    systemctl(&["daemon-reload"]).ok();
    check().ok();
    // The unit is killed right before the check, and the manager may not have noticed yet.
    for _ in 0..10 {
        web.is_up();
        forge(&["guard", "snapshot", "--unit", "web", "-o", file]).ok();
        let line = format!("kill -9 {}; forge guard check {file}", web.pid());
        let ran = shell(&line).code(100);
        assert!(ran.stdout.contains("disturbed since the snapshot"), "{ran}");
    }
    let cursor = journal_cursor();
    web.is_up();
    forge(&["guard", "snapshot", "--unit", "web", "-o", file]).ok();
    systemctl(&["restart", "web"]).ok();
    // A broken configuration does not prevent the check.
    let _configuration = configured("[nonsense\n");
    let disturbed = check().code(100).json();
    assert_eq!(disturbed["units"][0]["disturbed"], true);
    assert_eq!(event_since(&cursor, "guard_disturbed")["FORGE_UNIT"], "web.service");
}

fn unusable_snapshots_are_reported() {
    let _web = Production::lasting("web");
    let good = "/tmp/good.json";
    let _good = TestFile::new(good, "");
    forge(&["guard", "snapshot", "--unit", "web", "-o", good]).ok();
    let text = std::fs::read_to_string(good).expect("it");
    let snapshot: Value = serde_json::from_str(&text).expect("JSON");
    let changed = |key: &str, value: Value| {
        let mut changed = snapshot.clone();
        changed[key] = value;
        changed.to_string()
    };
    for (changed, status, message) in [
        (changed("version", 2.into()), 125, "version 2"),
        (changed("machine", "0123".into()), 125, "another machine"),
        (changed("boot", "0123".into()), 100, "booted since"),
        (text[..text.len() / 2].to_owned(), 125, "cannot read"),
        (String::new(), 125, "cannot read"),
        ("[]".to_owned(), 125, "cannot read"),
    ] {
        let file = TestFile::new("/tmp/bad.json", &changed);
        let ran = forge(&["guard", "check", "/tmp/bad.json"]).code(status);
        assert!(format!("{}{}", ran.stdout, ran.stderr).contains(message), "{message}: {ran}");
        drop(file);
    }
    let ran = forge(&["guard", "check", "/tmp/none.json"]).code(125);
    assert!(ran.stderr.contains("does not exist") && ran.stderr.contains("hint:"), "{ran}");
    forge(&["guard", "snapshot", "--unit", "nope", "-o", good]).code(3);
    let ran = forge(&["guard", "snapshot", "-o", good]).code(2);
    assert!(ran.stderr.contains("no unit to guard"), "{ran}");
    assert_eq!(std::fs::read_to_string(good).expect("it"), text);
    // forge does not write into another user's file at the temporary name.
    let ran = forge(&["guard", "snapshot", "--unit", "web", "-o", "/proc/none/x.json"]).code(1);
    assert!(ran.stderr.contains("/proc/none/x.json"), "{ran}");
}
