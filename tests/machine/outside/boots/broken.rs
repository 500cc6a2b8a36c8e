//! Files, directories and disks that are broken or full do not hold up the other sessions.

use super::{events, running, set_up, sh, wait_for_restore, write};
use crate::machine::{Machine, USER};
use crate::suite::{Test, outside};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        outside!(a_missing_directory_does_not_block_the_other_sessions),
        outside!(sessions_that_could_not_be_planned_are_kept),
        outside!(files_of_another_user_are_not_started),
        outside!(a_full_disk_loses_no_session),
        outside!(a_truncated_file_does_not_block_the_other_sessions).limit_s(180),
        outside!(a_broken_configuration_does_not_block_a_restore).limit_s(180),
    ]
}

fn a_missing_directory_does_not_block_the_other_sessions(machine: &mut Machine) {
    sh(
        machine,
        "mkdir gone; forge spawn a --cwd gone -- sleep 10000; forge spawn b -- sleep 10000; rmdir gone",
    );
    machine.power_cut();
    let restored = machine.user(&["forge", "--json", "restore"]).code(1).json();
    assert_eq!(running(machine), ["b"]);
    assert_eq!(restored["failed"][0]["session"], "a");
    assert!(restored["failed"][0]["error"].as_str().expect("why").contains("/home/ada/gone"), "{restored}");
    // The session is not forgotten.
    sh(machine, "mkdir gone; forge restart a");
    assert_eq!(running(machine), ["a", "b"]);
    machine.user(&["forge", "stop", "--all"]).ok();
}

fn sessions_that_could_not_be_planned_are_kept(machine: &mut Machine) {
    sh(machine, "forge units uninstall; mkdir -p .config/forge");
    let config = "/home/ada/.config/forge/forge.toml";
    let good = "[sessions.here]\ncommand = 'sleep 10000'\nboot = true\n\
                [sessions.later]\ncommand = 'sleep 10000'\nboot = true\ncwd = '~/notyet'\n";
    write(machine, USER, config, &format!("{good}[nonsense]\n"));
    machine.power_cut();
    machine.user(&["forge", "restore"]).code(2);
    write(machine, USER, config, good);
    machine.user(&["forge", "restore"]).code(1);
    assert_eq!(running(machine), ["here"]);
    let probe = machine.user(&["forge", "--json", "probe"]).code(5).json();
    assert!(probe["problems"].to_string().contains("later"), "{probe}");
    sh(machine, "mkdir notyet; forge restart later");
    assert_eq!(running(machine), ["here", "later"]);
    machine.user(&["forge", "stop", "--all"]).ok();
    sh(machine, "rm -r .config/forge");
}

/// The state directory may have been writable by everybody at some time.
fn files_of_another_user_are_not_started(machine: &mut Machine) {
    let file = "/home/ada/.local/state/forge/sessions/planted.json";
    sh(
        machine,
        &format!("forge spawn planted -- sleep 1000 && cp {file} /tmp/planted && forge stop planted"),
    );
    let plant = |owner: &str, mode: &str| {
        machine.root(&["install", "-o", owner, "-g", owner, "-m", mode, "/tmp/planted", file]).ok();
    };
    for (owner, mode, why) in [
        ("mallory", "644", "belongs to uid 1001"),
        ("ada", "666", "everybody may write it"),
        ("mallory", "600", ""),
    ] {
        plant(owner, mode);
        let refused = machine.user(&["forge", "restart", "planted"]).code(1);
        assert!(refused.stderr.contains("planted.json") && refused.stderr.contains(why), "{refused}");
        assert_eq!(running(machine), [""; 0], "{owner} {mode}");
    }
    plant("mallory", "644");
    machine.power_cut();
    let restored = machine.user(&["forge", "restore"]).code(1);
    let reported = format!("{}{}", restored.stdout, restored.stderr);
    assert!(reported.contains("planted") && reported.contains("belongs to uid 1001"), "{restored}");
    assert_eq!(running(machine), [""; 0]);
    machine.root(&["sh", "-c", "rm -r /home/ada/.local/state/forge"]).ok();
}

fn a_full_disk_loses_no_session(machine: &mut Machine) {
    sh(machine, "forge units uninstall; mkdir -p .local/state/forge");
    let mount = [
        "mount",
        "-t",
        "tmpfs",
        "-o",
        "size=64k,uid=1000,gid=1000,mode=700",
        "none",
        "/home/ada/.local/state/forge",
    ];
    machine.root(&mount).ok();
    sh(
        machine,
        "forge spawn full-1 -- sleep 10000; forge spawn full-2 -- sleep 10000; \
                 kill -9 $(forge --json list | grep -o '\"server_pid\":[0-9]*' | cut -d: -f2); sleep 0.5; \
                 cat /dev/zero >.local/state/forge/filler || true",
    );
    let probe = machine.user(&["forge", "--json", "probe"]).code(5).json();
    assert!(probe["problems"].to_string().contains("left for forge's files"), "{probe}");
    let restored = machine.user(&["forge", "--json", "restore"]);
    assert_eq!(restored.code, 1, "{restored}");
    assert!(restored.stdout.contains("No space left on device"), "{restored}");
    assert!(running(machine).is_empty());
    sh(machine, "rm .local/state/forge/filler; forge sweep; forge restore");
    assert_eq!(running(machine), ["full-1", "full-2"], "no session is forgotten");
    machine.user(&["forge", "stop", "--all"]).ok();
    machine.root(&["umount", "/home/ada/.local/state/forge"]).ok();
}

fn a_truncated_file_does_not_block_the_other_sessions(machine: &mut Machine) {
    set_up(machine);
    sh(
        machine,
        "for n in 1 2 3 4; do forge spawn f$n -- sleep 10000; done; cd .local/state/forge/sessions; \
                 head -c 40 f1.json >half; mv half f1.json; : >f2.json; ln -sf /etc/passwd f3.json; \
                 echo garbage >configured.json",
    );
    machine.power_cut();
    wait_for_restore(machine);
    assert_eq!(running(machine), ["configured", "f4"]);
    let failed = events(machine, "restore_failed");
    let names: Vec<&str> = failed.iter().filter_map(|event| event["FORGE_SESSION"].as_str()).collect();
    for name in ["f1", "f2", "f3", "configured", "missing"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    assert_eq!(sh(machine, "ls .local/state/forge/set-aside").stdout, "configured.json\nf1.json\nf2.json\n");
    let probe = machine.user(&["forge", "--json", "probe"]).code(5).json();
    assert!(probe["problems"].to_string().contains("set-aside/f1.json"), "{probe}");
    sh(machine, "rm -r .local/state/forge/set-aside .local/state/forge/sessions/f3.json");
    let probe = machine.user(&["forge", "--json", "probe"]).json();
    assert!(!probe["problems"].to_string().contains("set-aside"), "{probe}");
    machine.user(&["forge", "stop", "--all"]).ok();
}

fn a_broken_configuration_does_not_block_a_restore(machine: &mut Machine) {
    set_up(machine);
    sh(machine, "forge spawn adhoc -- sleep 10000; echo '[nonsense' >>.config/forge/forge.toml");
    machine.reboot();
    wait_for_restore(machine);
    let probe = machine.user(&["forge", "--json", "probe"]).code(5).json();
    assert_eq!(probe["sessions"]["running"], 1);
    assert!(probe["problems"].to_string().contains("forge.toml"), "{probe}");
    assert!(probe["units_failed"].to_string().contains("post-boot"), "{probe}");
    machine.user(&["forge", "stop", "--all"]).ok();
}
