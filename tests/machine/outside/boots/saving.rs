//! The conversation ids that are saved at shutdown.

use super::{set_up, sh, wait_for_restore, write};
use crate::machine::{Machine, USER};
use crate::suite::Debian;
use crate::suite::{Test, outside};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        outside!(the_resume_ids_are_saved_at_shutdown).limit_s(180),
        outside!(a_program_lives_until_its_id_is_saved).limit_s(180),
        outside!(a_shutdown_is_delayed_for_the_save).only(Debian::Trixie).limit_s(180),
    ]
}

fn the_resume_ids_are_saved_at_shutdown(machine: &mut Machine) {
    set_up(machine);
    sh(machine, "export PATH=$HOME/bin:$PATH; rm -f agent.log; forge spawn printed");
    let spec = ".local/state/forge/sessions/printed.json";
    assert!(!sh(machine, &format!("cat {spec}")).stdout.contains("id-7"));
    machine.reboot();
    // The command that prints the id ran before the boot; now it would fail.
    wait_for_restore(machine);
    let log = sh(machine, "cat agent.log").stdout;
    assert!(log.contains("called: --resume id-7; "), "{log}");
    let saved =
        machine.root(&["journalctl", "-b", "-1", "-t", "forge", "-o", "cat", "FORGE_EVENT=saved"]).ok();
    assert!(saved.stdout.contains("saved printed: resumes with id-7"), "{saved}");
    // `forge save` by hand. A session whose id could not be read keeps the older one.
    sh(machine, "rm id-of-printed");
    let by_hand = machine.user(&["forge", "--json", "save"]).ok().json();
    assert!(by_hand["failed"].to_string().contains("printed"), "{by_hand}");
    machine.power_cut();
    wait_for_restore(machine);
    assert_eq!(sh(machine, "grep -c 'called: --resume id-7; ' agent.log").stdout, "2\n");
    machine.user(&["forge", "stop", "--all"]).ok();
}

/// The command that prints the id needs the running program. When the user manager stops, logind is not
/// involved and delays nothing; the save still runs before the panes end.
fn a_program_lives_until_its_id_is_saved(machine: &mut Machine) {
    set_up(machine);
    write(
        machine,
        USER,
        "/home/ada/.config/forge/forge.toml",
        "[sessions.living]\ncommand = ['sh', '-c', 'echo $$ >~/pid; exec sleep 10000']\n\
         resume = ['sleep', '10000', '{resume_id}']\n\
         resume_id = ['sh', '-c', 'kill -0 $(cat ~/pid) && echo 7']\n",
    );
    sh(machine, "forge spawn living");
    machine.root(&["systemctl", "stop", "user@1000.service"]).ok();
    let spec = machine.root(&["cat", "/home/ada/.local/state/forge/sessions/living.json"]).ok();
    machine.root(&["systemctl", "start", "user@1000.service"]).ok();
    assert!(
        spec.stdout.contains(r#""saved_id": "7""#) || spec.stdout.contains(r#""saved_id":"7""#),
        "{spec}"
    );
    wait_for_restore(machine);
    machine.user(&["forge", "stop", "--all"]).ok();
}

fn a_shutdown_is_delayed_for_the_save(machine: &mut Machine) {
    set_up(machine);
    let inhibitors = machine.user(&["systemd-inhibit", "--list", "--no-legend"]).ok();
    assert!(inhibitors.stdout.contains("forge"), "{inhibitors}");
    sh(machine, "export PATH=$HOME/bin:$PATH; forge spawn printed");
    // Without the delay everything would be killed before anything is saved.
    write(
        machine,
        USER,
        "/home/ada/.config/systemd/user/forge-session-save.service.d/10.conf",
        "[Service]\nExecStop=\n",
    );
    machine.user(&["systemctl", "--user", "daemon-reload"]).ok();
    machine.reboot();
    wait_for_restore(machine);
    let saved =
        machine.root(&["journalctl", "-b", "-1", "-t", "forge", "-o", "cat", "FORGE_EVENT=saved"]).ok();
    assert!(saved.stdout.contains("saved printed: resumes with id-7"), "{saved}");
    sh(machine, "rm -r .config/systemd/user/forge-session-save.service.d");
    machine.user(&["forge", "stop", "--all"]).ok();
}
