//! Properties of boots and users that the other tests rely on.

use crate::machine::Machine;
use crate::suite::{Test, outside};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        outside!(a_reboot_is_a_new_boot),
        outside!(a_power_cut_is_a_new_boot),
        outside!(the_other_user_is_another),
        outside!(files_are_reached_from_the_host),
        outside!(a_background_command_can_be_waited_for_and_killed),
    ]
}

fn a_reboot_is_a_new_boot(machine: &mut Machine) {
    let before = machine.boot_id();
    machine.user(&["touch", "kept"]).ok();
    machine.reboot();
    assert_ne!(before, machine.boot_id());
    machine.user(&["test", "-e", "kept"]).ok();
    machine.user(&["systemctl", "--user", "is-active", "default.target"]).ok();
    let boots = machine.user(&["journalctl", "--list-boots", "--no-pager"]).ok();
    assert!(boots.stdout.contains(&before), "{boots}");
}

fn a_power_cut_is_a_new_boot(machine: &mut Machine) {
    let before = machine.boot_id();
    machine.user(&["tmux", "-L", "cut", "new", "-d"]).ok();
    machine.power_cut();
    assert_ne!(before, machine.boot_id());
    machine.user(&["systemctl", "--user", "is-active", "default.target"]).ok();
    assert_ne!(machine.user(&["tmux", "-L", "cut", "ls"]).code, 0);
}

fn the_other_user_is_another(machine: &mut Machine) {
    assert_eq!(machine.user(&["id", "-u"]).ok().stdout, "1000\n");
    assert_eq!(machine.as_user("mallory", &["id", "-u"]).ok().stdout, "1001\n");
    assert_eq!(machine.root(&["id", "-u"]).ok().stdout, "0\n");
    machine.as_user("mallory", &["systemctl", "--user", "is-active", "basic.target"]).ok();
    assert_ne!(machine.as_user("mallory", &["ls", "/run/user/1000"]).code, 0);
}

fn files_are_reached_from_the_host(machine: &mut Machine) {
    machine.user(&["sh", "-c", "echo hullo >/tmp/note"]).ok();
    let note = std::fs::read_to_string(machine.path("/tmp/note")).unwrap();
    assert_eq!(note, "hullo\n");
}

fn a_background_command_can_be_waited_for_and_killed(machine: &mut Machine) {
    let child = machine.spawn_user(&["sh", "-c", "read line </tmp/pipe.$0 || sleep 0.1; echo done", "none"]);
    let ran = child.wait(std::time::Duration::from_secs(10));
    assert_eq!(ran.ok().stdout, "done\n");
    let mut sleeper = machine.spawn_user(&["sleep", "1000"]);
    assert!(sleeper.running());
    sleeper.kill();
    assert!(!sleeper.running());
}
