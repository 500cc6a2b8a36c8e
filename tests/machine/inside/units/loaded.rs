//! The installed units: `forge units verify`, failure notices, a manager that executes itself again.

use super::Units;
use crate::suite::{Test, inside};
use crate::support::{Session, TestFile, forge, forge_json, run, shell, spawn, wait_until};
use std::path::Path;
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(verify_reports_each_fault),
        inside!(verify_knows_a_unit_by_its_other_name),
        inside!(a_failed_user_service_sends_a_notice),
        inside!(units_survive_daemon_reexec),
    ]
}

fn verify_knows_a_unit_by_its_other_name() {
    shell(
        "forge units install; cd ~/.config/systemd/user; printf '[Unit]\nDescription=mine\n' >my.target; \
         systemctl --user set-default my.target; forge units install",
    )
    .ok();
    let ran = forge(&["units", "verify"]);
    shell("cd ~/.config/systemd/user; rm -rf my.target default.target my.target.wants; systemctl --user daemon-reload").ok();
    assert_eq!(ran.code, 0, "{ran}");
}

fn verify_reports_each_fault() {
    let ran = forge(&["units", "verify"]).code(5);
    assert!(ran.stdout.contains("not-found") && ran.stdout.contains("forge units install"), "{ran}");
    let _units = Units::install();
    let _session = Session("none".into());
    {
        // A user manager has no such target; systemd itself does not report it.
        let _drop_in = TestFile::new(
            ".config/systemd/user/forge-post-boot-sessions.service.d/net.conf",
            "[Unit]\nAfter=network-online.target\n",
        );
        run(&["systemctl", "--user", "daemon-reload"]).ok();
        let ran = forge(&["units", "verify"]).code(5);
        assert!(ran.stdout.contains("names network-online.target, which is not-found"), "{ran}");
    }
    {
        let _drop_in = TestFile::new(
            ".config/systemd/user/forge-tmux-socket-sweep.service.d/circle.conf",
            "[Unit]\nAfter=forge-boot-notify.service\n",
        );
        run(&["systemctl", "--user", "daemon-reload"]).ok();
        let ran = forge(&["units", "verify"]).code(5);
        let circle =
            "forge-boot-notify.service > forge-tmux-socket-sweep.service > forge-post-boot-sessions.service";
        assert!(ran.stdout.contains(circle), "{ran}");
    }
    run(&["systemctl", "--user", "daemon-reload"]).ok();
    forge(&["units", "verify"]).ok();
    shell("sleep 0.01; touch ~/.config/systemd/user/forge-boot-notify.service").ok();
    let ran = forge(&["units", "verify"]).code(5);
    assert!(ran.stdout.contains("changed on disk") && ran.stdout.contains("daemon-reload"), "{ran}");
}

fn a_failed_user_service_sends_a_notice() {
    let _units = Units::install();
    let _config = TestFile::new(
        ".config/forge/forge.toml",
        "[notify]\ncommand = ['sh', '-c', 'cat >>/home/ada/reported.jsonl']\n",
    );
    let _drop_in = TestFile::new(
        ".config/systemd/user/forge-tmux-socket-sweep.service.d/fail.conf",
        "[Service]\nExecStart=\nExecStart=/bin/false\n",
    );
    run(&["systemctl", "--user", "daemon-reload"]).ok();
    run(&["systemctl", "--user", "start", "forge-tmux-socket-sweep.service"]).code(1);
    let reported = Path::new("/home/ada/reported.jsonl");
    wait_until(Duration::from_secs(20), "the notice", || reported.exists());
    wait_until(Duration::from_secs(20), "the whole notice", || {
        std::fs::read_to_string(reported).is_ok_and(|text| text.ends_with('}'))
    });
    let notice: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(reported).unwrap()).expect("JSON");
    assert_eq!(
        (&notice["kind"], &notice["unit"]),
        (&"failure".into(), &"forge-tmux-socket-sweep.service".into())
    );
    let probe = forge(&["--json", "probe"]).code(5).json();
    assert_eq!(probe["units_failed"], serde_json::json!(["forge-tmux-socket-sweep.service"]));
    shell("rm reported.jsonl").ok();
}

fn units_survive_daemon_reexec() {
    let (_session, _) = spawn("stays", &[], &["sleep", "1000"]);
    forge(&["restore"]).ok();
    run(&["systemctl", "--user", "daemon-reexec"]).ok();
    assert_eq!(forge_json(&["restore"])["already"], true, "a restore is once in the life of a manager");
    assert_eq!(forge_json(&["status", "stays"])["state"], "running");
}
