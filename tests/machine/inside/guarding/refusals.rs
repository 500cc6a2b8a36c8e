//! Commands that the guard refuses to run.

use super::{Production, guarded, nothing_left_of_guards, refused};
use crate::suite::{Test, inside};
use crate::support::{configured, event_since, forge, journal_cursor, shell, systemctl};

pub(crate) fn tests() -> Vec<Test> {
    vec![inside!(refused_commands_do_not_run)]
}

fn refused_commands_do_not_run() {
    let web = Production::lasting("web");
    let cursor = journal_cursor();
    refused(&["--unit", "nope"], "the user manager has no unit nope.service");
    refused(&["--system-unit", "web"], "the system manager has no unit web.service");
    refused(&["--refuse-if-active", "web"], "web.service is active");
    refused(&["--refuse-if-active", "dbus"], "is active");
    refused(&["--refuse-if-active", "systemd-journald"], "(system) is active");
    refused(&["--unit", "web@"], "template");
    refused(&["--unit", "a b"], "is not a valid unit name");
    refused(&["--unit", "веб"], "is not a valid unit name");
    refused(&["--freeze-on-pressure", "0"], "1 to 100");
    refused(&["--cpu-weight", "0"], "cpu-weight is 0");
    let event = event_since(&cursor, "guard_refused");
    assert_eq!(event["FORGE_PROGRAM"], "touch");
    {
        let _configuration = configured("[guard]\nunits = ['nope']\n");
        refused(&[], "no unit nope.service");
    }
    {
        let _configuration = configured("[guard]\nunit = ['web']\n");
        refused(&[], "unknown key 'unit'");
    }
    // A unit that is stopping counts as active until it has stopped.
    let slow = Production::start("slow", "ExecStart=/bin/sleep 1000\nExecStop=/bin/sleep 5");
    systemctl(&["--no-block", "stop", &slow.unit]).ok();
    refused(&["--refuse-if-active", "slow"], "is deactivating");
    // A name that neither manager knows may belong to another host.
    let ran =
        forge(&["guard", "run", "--refuse-if-active", "elsewhere", "--unit", &web.unit, "--", "true"]).ok();
    assert!(ran.stderr.contains("neither manager knows elsewhere.service"), "{ran}");
    // A file that is not executable never runs.
    for (command, why) in [("/no/such", "No such file"), ("/etc/passwd", "Permission denied")] {
        let ran = guarded(&web, &[], &[command]).code(125);
        assert!(ran.stderr.contains(why), "{ran}");
    }
    let ran =
        shell("env -u DBUS_SESSION_BUS_ADDRESS XDG_RUNTIME_DIR=/nowhere forge guard run -- true").code(125);
    assert!(ran.stderr.contains("hint:"), "{ran}");
    forge(&["guard", "run"]).code(2);
    nothing_left_of_guards();
}
